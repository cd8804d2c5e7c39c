"""Puts every change into the audit: first that it is intended, then how it ended.

In this order nothing changes that the audit does not show: where the audit cannot be written, the change is not tried.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from console_service.metrics import ConsoleMetrics
from shared.domain.audit import AuditEntry, AuditOutcome
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable
from shared.stores.operator_interfaces import AuditStore

log = logging.getLogger(__name__)


class Change:
    """A change while it is done. Set `target` where it becomes known only then; `before` and `after` where there is
    something to compare, without secrets and identity data."""

    def __init__(self, target: str | None) -> None:
        self.target = target
        self.before: Mapping[str, object] | None = None
        self.after: Mapping[str, object] | None = None


class Auditor:
    """Wraps changes."""

    def __init__(self, store: AuditStore, clock: Clock, metrics: ConsoleMetrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics

    @asynccontextmanager
    async def change(
        self, who: str, action: str, target: str | None, what: Mapping[str, object]
    ) -> AsyncIterator[Change]:
        """The change is done inside. A Problem means that it was refused; after any other exception nobody knows
        whether it was done, and the entry stays `intended`. Of what does not exist (404, 422) what was asked for does
        not stay: a token or an identity number may have been taken for an id. Raises Unavailable before anything was
        changed."""
        audit_id = secrets.token_hex(16)
        entry = AuditEntry(
            audit_id=audit_id, at_ms=self._clock.now_ms(), who=who, action=action, target=target, what=what
        )
        await self._store.begin(entry)
        change = Change(target)
        try:
            yield change
        except Problem as problem:
            if problem.status == HTTPStatus.NOT_FOUND:
                change.target = None
            mistyped = problem.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
            await self._finish(audit_id, AuditOutcome.REFUSED, change, {"members": sorted(what)} if mistyped else None)
            raise
        await self._finish(audit_id, AuditOutcome.DONE, change)

    async def _finish(
        self, audit_id: str, outcome: AuditOutcome, change: Change, what: Mapping[str, object] | None = None
    ) -> None:
        try:
            await self._store.finish(audit_id, outcome, change.target, change.before, change.after, what)
        except Unavailable as error:
            # The change is done, and its answer may hold a secret that is shown once: it must reach the operator.
            self._metrics.audit_unfinished += 1
            log.warning("audit entry %s stays intended, though it is %s: %s", audit_id, outcome, error)
