"""What the console asks of the stores of operators' tokens and of the audit. Every method may raise Unavailable, as in
interfaces.py."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.domain.operators import OperatorToken


class OperatorTokenStore(Protocol):
    """`operators`."""

    async def add(self, token: OperatorToken) -> None: ...

    async def find_by_digest(self, digest: str) -> OperatorToken | None:
        """Also one that is revoked or has expired."""
        ...

    async def page(self, after: str | None, limit: int) -> Sequence[OperatorToken]:
        """In order of token_id, after `after`."""
        ...

    async def revoke(self, token_id: str, at_ms: int) -> OperatorToken | None:
        """Marks it revoked (once; the first time stays) and gives it as it was before; None where there is none."""
        ...


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries, newest first; times in milliseconds, [from, to)."""

    who: str | None = None
    action: str | None = None
    """How the action begins: `vendor.` are all changes of vendors."""
    target: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    after: tuple[int, str] | None = None
    """The last one of the earlier page: (at_ms, audit_id)."""
    limit: int = 50


class AuditStore(Protocol):
    """`audit`: every change, written before it is tried."""

    async def begin(self, entry: AuditEntry) -> None:
        """Adds an entry."""
        ...

    async def finish(
        self,
        audit_id: str,
        outcome: AuditOutcome,
        target: str | None,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
        what: Mapping[str, object] | None = None,
    ) -> None:
        """Sets how it ended, what it was done to, which a creation knows only now, and what it changed; and, where
        given, something else in place of what was asked for."""
        ...

    async def page(self, query: AuditQuery) -> Sequence[AuditEntry]: ...
