"""The audit: who changed what and when."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.cursors import Cursor, Limit, TimeMs, decode_cursor, encode_cursor
from console_service.operators import Administering
from console_service.times import Moment, Time
from shared.domain import audit
from shared.domain.attendance import rfc3339
from shared.domain.audit import AuditOutcome
from shared.stores.operator_interfaces import AuditQuery, AuditStore


class AuditEntry(BaseModel):
    """One change that somebody asked for. It is written before the change is tried, as `intended`; where it stays so,
    the change may have been done or not. No secret and no identity data is ever among it."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    audit_id: str = Field(examples=["8d1f0c5e7b2a4c3d9e6f1a2b3c4d5e6f"])
    at: Moment
    who: str = Field(
        description="`admin`: with the token from the setting; else `token:` and the tokenId.",
        examples=["token:t5f1c2a90b3d4e678"],
    )
    action: str = Field(
        description="What kind of thing, and what was done to it.", examples=["device.change", "vendor.create"]
    )
    target: str | None = Field(description="The id of what was changed.", examples=["84E0F42C5D1A"])
    what: dict[str, object] = Field(description="What was asked for.", examples=[{"direction": "in"}])
    before: dict[str, object] | None = Field(
        description="What stood there, where there was something to compare.", examples=[{"direction": None}]
    )
    after: dict[str, object] | None = Field(description="What stands there since.", examples=[{"direction": "in"}])
    outcome: AuditOutcome = Field(examples=["done"])


class AuditPage(BaseModel):
    """Changes, newest first."""

    items: list[AuditEntry]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def audit_routes(store: AuditStore) -> APIRouter:
    """The routes under /audit."""
    router = APIRouter(prefix="/audit", tags=["operators"])

    @router.get("", summary="List changes")
    async def list_changes(
        _operator: Administering,
        who: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
        action: Annotated[
            str | None,
            Query(pattern=r"^[\x21-\x7e]{1,64}$", description="How it begins: `vendor.` are all changes of vendors"),
        ] = None,
        target: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        from_ms: Annotated[Time, Query(alias="from", description="At or after")] = None,
        to_ms: Annotated[Time, Query(alias="to", description="Before")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> AuditPage:
        """Newest first. Times are epoch milliseconds or RFC 3339."""
        listed = f"audit {who!r} {action!r} {target!r} {from_ms} {to_ms}"
        after = None if cursor is None else decode_cursor(listed, cursor, tuple[TimeMs, str])
        found = await store.page(
            AuditQuery(
                who=who, action=action, target=target, from_ms=from_ms, to_ms=to_ms, after=after, limit=limit + 1
            )
        )
        shown = found[:limit]
        following = encode_cursor(listed, (shown[-1].at_ms, shown[-1].audit_id)) if len(found) > limit else None
        return AuditPage(items=[_answer(entry) for entry in shown], next=following)

    return router


def _answer(entry: audit.AuditEntry) -> AuditEntry:
    return AuditEntry(
        audit_id=entry.audit_id,
        at=rfc3339(entry.at_ms),
        who=entry.who,
        action=entry.action,
        target=entry.target,
        what=dict(entry.what),
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
        outcome=entry.outcome,
    )
