"""Operators' tokens and the audit in dicts: for unit tests, and for reading how their stores must behave."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.domain.operators import OperatorToken
from shared.runtime.unavailable import Unavailable
from shared.stores.operator_interfaces import AuditQuery


class MemoryOperatorTokenStore:
    """OperatorTokenStore in a dict. `available = False` makes every call raise Unavailable."""

    def __init__(self) -> None:
        self.available = True
        self.lookups = 0
        self._tokens: dict[str, OperatorToken] = {}

    async def add(self, token: OperatorToken) -> None:
        self._reach()
        self._tokens[token.token_id] = token

    async def find_by_digest(self, digest: str) -> OperatorToken | None:
        self._reach()
        self.lookups += 1
        return next((token for token in self._tokens.values() if token.digest == digest), None)

    async def page(self, after: str | None, limit: int) -> Sequence[OperatorToken]:
        self._reach()
        return [self._tokens[token_id] for token_id in sorted(self._tokens) if token_id > (after or "")][:limit]

    async def revoke(self, token_id: str, at_ms: int) -> OperatorToken | None:
        self._reach()
        token = self._tokens.get(token_id)
        if token is not None and token.revoked_at_ms is None:
            self._tokens[token_id] = msgspec.structs.replace(token, revoked_at_ms=at_ms)
        return token

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryOperatorTokenStore: made unavailable")


class MemoryAuditStore:
    """AuditStore in a dict. `begins = False` and `finishes = False` make these calls raise Unavailable."""

    def __init__(self) -> None:
        self.entries: dict[str, AuditEntry] = {}
        self.begins = True
        self.finishes = True

    async def begin(self, entry: AuditEntry) -> None:
        if not self.begins:
            raise Unavailable("MemoryAuditStore: made unavailable")
        self.entries[entry.audit_id] = entry

    async def finish(
        self,
        audit_id: str,
        outcome: AuditOutcome,
        target: str | None,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
        what: Mapping[str, object] | None = None,
    ) -> None:
        if not self.finishes:
            raise Unavailable("MemoryAuditStore: made unavailable")
        entry = self.entries[audit_id]
        self.entries[audit_id] = msgspec.structs.replace(
            entry, outcome=outcome, target=target, before=before, after=after, what=entry.what if what is None else what
        )

    async def page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        found = [entry for entry in self.entries.values() if _matches(query, entry)]
        found.sort(key=_place, reverse=True)
        return [entry for entry in found if query.after is None or _place(entry) < query.after][: query.limit]

    def only(self) -> AuditEntry:
        """The one entry that there is."""
        (entry,) = self.entries.values()
        return entry


def _place(entry: AuditEntry) -> tuple[int, str]:
    return entry.at_ms, entry.audit_id


def _matches(query: AuditQuery, entry: AuditEntry) -> bool:
    return (
        query.who in (None, entry.who)
        and entry.action.startswith(query.action or "")
        and query.target in (None, entry.target)
        and (query.from_ms is None or entry.at_ms >= query.from_ms)
        and (query.to_ms is None or entry.at_ms < query.to_ms)
    )
