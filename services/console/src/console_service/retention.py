"""Deletes what was kept long enough: pictures with iris data and unknown members, and whole attendances (ADR 0023).

Once a day of UTC, in bounded steps, each of which can be done twice. The floor rises before anything goes, so that
neither a replay nor a terminal brings it back; the audit has an entry for each kind and day on which any went.
"""

from collections.abc import Mapping

from console_service.audit import Auditor
from console_service.metrics import ConsoleMetrics
from shared.domain.attendance import rfc3339
from shared.domain.retention import Kept, floor_of
from shared.runtime.clock import Clock
from shared.stores.interfaces import Lock
from shared.stores.retention_interfaces import RetentionStore

WHO = "retention"
"""Who deletes, as the audit names it."""
STEP = 200
"""Attendances that are deleted from in one call: well within its deadline on a slow server, too."""


class Retention:
    """Carries out how long things are kept: `kept_days` by kind, 0 for ever."""

    def __init__(
        self,
        store: RetentionStore,
        auditor: Auditor,
        clock: Clock,
        metrics: ConsoleMetrics,
        kept_days: Mapping[Kept, int],
    ) -> None:
        self._store = store
        self._auditor = auditor
        self._clock = clock
        self._metrics = metrics
        self._kept_days = kept_days

    async def work(self, lock: Lock) -> None:
        """Deletes what is due, while the lock is held. Raises Unavailable."""
        for kind, days in self._kept_days.items():
            floor_ms = floor_of(self._clock.now_ms(), days)
            if days and (await self._store.floor(kind)).swept_ms < floor_ms:
                await self._carry_out(kind, days, floor_ms, lock)
            self._metrics.oldest_kept_ms[kind] = await self._store.oldest_ms(kind)

    async def _carry_out(self, kind: Kept, days: int, floor_ms: int, lock: Lock) -> None:
        oldest_ms = await self._store.oldest_ms(kind)
        if oldest_ms is not None and oldest_ms < floor_ms:
            await self._delete(kind, days, floor_ms, lock)
            return
        await self._store.raise_floor(kind, floor_ms)
        await self._store.swept(kind, floor_ms)

    async def _delete(self, kind: Kept, days: int, floor_ms: int, lock: Lock) -> None:
        what = {"keptDays": days, "before": rfc3339(floor_ms)}
        async with self._auditor.change(WHO, f"retention.{kind}", None, what) as change:
            await self._store.raise_floor(kind, floor_ms)
            deleted, is_whole = 0, False
            while await lock.hold():
                step = await self._store.delete(kind, floor_ms, STEP)
                deleted += step
                self._metrics.past_retention[kind] += step
                if step == 0:
                    await self._store.swept(kind, floor_ms)
                    is_whole = True
                    break
            change.after = {"deleted": deleted, "whole": is_whole}
