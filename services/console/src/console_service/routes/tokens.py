"""Operators' tokens: made, listed, revoked."""

import secrets
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Administering
from console_service.times import Moment, Time
from shared.domain.attendance import rfc3339
from shared.domain.operators import TOKEN_BYTES, TOKEN_PREFIX, OperatorToken, Role, is_token, token_digest
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.interfaces import SiteStore
from shared.stores.operator_interfaces import OperatorTokenStore

LISTED = "tokens"
MAX_SITES = 100
"""Of one token. Every list that it asks for is narrowed to them: of so few, MongoDB merges the ranges of an index in
the list's order, where of more than 200 it would sort."""

RoleName = Literal["viewer", "operator", "admin"]
SiteId = Annotated[str, Field(min_length=1, max_length=64)]


class NewToken(BaseModel):
    """Who is to be let in, and what for."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", str_strip_whitespace=True)

    role: RoleName = Field(examples=["operator"])
    site_ids: list[SiteId] | None = Field(
        None,
        min_length=1,
        max_length=MAX_SITES,
        description="It sees and changes what is at these sites, and nothing else; left out: it is not bound. "
        "An admin is never bound.",
        examples=[["s5f1c2a90b3d4e678"]],
    )
    name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="What it is for.",
        examples=["Site office, West Lake Tower"],
    )
    expires_at: Time = Field(
        None,
        description="From then on it opens nothing; left out: until it is revoked.",
        examples=["2099-12-31T00:00:00+08:00"],
    )


class Token(BaseModel):
    """A token without its text."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    token_id: str = Field(
        description="The audit and the history of tasks name whoever uses it `token:` and this.",
        examples=["t5f1c2a90b3d4e678"],
    )
    role: RoleName
    site_ids: list[str] | None = Field(
        description="The sites that it is bound to; null: it is not.", examples=[["s5f1c2a90b3d4e678"]]
    )
    name: str | None = Field(examples=["Site office, West Lake Tower"])
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None


class IssuedToken(Token):
    """A token with its text, which is shown here and never again."""

    token: str = Field(
        description="What `Authorization: Bearer …` takes.", examples=["op_kq0Ty3oKpQ4Ck1mB3c8gW5vYJd2r9sXfH7uLzE6aNnI"]
    )


class TokenPage(BaseModel):
    """Tokens in order of tokenId."""

    items: list[Token]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def token_routes(store: OperatorTokenStore, sites: SiteStore, auditor: Auditor, clock: Clock) -> APIRouter:
    """The routes under /tokens."""
    router = APIRouter(prefix="/tokens", tags=["operators"])

    @router.post("", status_code=201, summary="Make a token", response_description="The token, shown this once")
    async def create_token(operator: Administering, wish: NewToken) -> IssuedToken:
        """The answer holds the token's text, which is shown this once. Where the answer is 503 revoke what the list
        has of it, and try again."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        now_ms = clock.now_ms()
        token = OperatorToken(
            token_id=f"t{secrets.token_hex(8)}",
            digest=token_digest(text),
            role=Role[wish.role.upper()],
            site_ids=None if wish.site_ids is None else frozenset(wish.site_ids),
            name=wish.name,
            created_at_ms=now_ms,
            expires_at_ms=wish.expires_at,
        )
        answer = _answer(token)
        what = answer.model_dump(by_alias=True, include={"role", "site_ids", "name", "expires_at"})
        async with auditor.change(operator.who, "token.create", token.token_id, what) as change:
            if token.role is Role.ADMIN and token.site_ids is not None:
                raise Problem(422, "an admin is not bound to sites")
            if not token.is_in_force(now_ms):
                raise Problem(422, "expiresAt has passed already")
            if token.site_ids is not None and len(await sites.find(list(token.site_ids))) < len(token.site_ids):
                raise Problem(422, "there is no such site")
            await store.add(token)
            change.after = what
        return IssuedToken(**answer.model_dump(), token=text)

    @router.get("", summary="List tokens")
    async def list_tokens(_operator: Administering, cursor: Cursor = None, limit: Limit = 50) -> TokenPage:
        """In order of tokenId, revoked ones too; never with their text. The token of the setting CONSOLE_ADMIN_TOKEN
        is not among them."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found = await store.page(after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].token_id,)) if len(found) > limit else None
        return TokenPage(items=[_answer(token) for token in found[:limit]], next=following)

    @router.delete("/{tokenId}", status_code=204, summary="Revoke a token")
    async def revoke_token(
        operator: Administering, token_id: Annotated[str, Path(alias="tokenId", min_length=1, max_length=64)]
    ) -> Response:
        """It opens nothing any more, on every process within two seconds. Harmless when repeated."""
        if is_token(token_id):  # its text in place of its id: not even the intent is put into the audit
            raise Problem(404, "no such token")
        async with auditor.change(operator.who, "token.revoke", token_id, {}) as change:
            now_ms = clock.now_ms()
            earlier = await store.revoke(token_id, now_ms)
            if earlier is None:
                raise Problem(404, "no such token")
            before = _answer(earlier).revoked_at
            change.before = {"revokedAt": before}
            change.after = {"revokedAt": before or rfc3339(now_ms)}
        return Response(status_code=204)

    return router


def _answer(token: OperatorToken) -> Token:
    return Token(
        token_id=token.token_id,
        role=role_name(token.role),
        site_ids=None if token.site_ids is None else sorted(token.site_ids),
        name=token.name,
        created_at=rfc3339(token.created_at_ms),
        expires_at=None if token.expires_at_ms is None else rfc3339(token.expires_at_ms),
        revoked_at=None if token.revoked_at_ms is None else rfc3339(token.revoked_at_ms),
    )


def role_name(role: Role) -> RoleName:
    """As the API has it."""
    names: dict[Role, RoleName] = {Role.VIEWER: "viewer", Role.OPERATOR: "operator", Role.ADMIN: "admin"}
    return names[role]
