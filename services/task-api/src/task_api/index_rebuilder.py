"""Keeps the pending index of Redis whole: after a flush, and where a task's maker died before it was added."""

import logging

from shared.runtime.clock import Clock
from shared.stores.interfaces import Lock, PendingTasks, TaskStore
from task_api.metrics import TaskApiMetrics

log = logging.getLogger(__name__)

PAGE = 10_000
"""Ids that are read at once: each page costs a sort where the server does not take it from the index (measured)."""
PART = 1_000
"""Ids that are added in one script, which holds Redis up for all others while it runs."""


class IndexRebuilder:
    """Adds what the index lacks. What it holds too much leaves it when its device asks for it (T6)."""

    def __init__(
        self,
        tasks: TaskStore,
        pending: PendingTasks,
        lock: Lock,
        clock: Clock,
        metrics: TaskApiMetrics,
        heal_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._pending = pending
        self._lock = lock
        self._clock = clock
        self._metrics = metrics
        self._heal_ms = int(heal_seconds * 1000)
        self._healed_at_ms: int | None = None

    async def work(self) -> None:
        """Rebuilds an index that is not whole; else adds, at an interval, what is missing. Raises Unavailable."""
        now_ms = self._clock.now_ms()
        if not await self._pending.is_whole():
            mark = await self._pending.begin_rebuild()
            if not await self._add_missing() or not await self._pending.end_rebuild(mark):
                return  # flushed again meanwhile, or another process has taken over
            self._metrics.index_rebuilds += 1
            log.info("the pending index of tasks was rebuilt")
        elif self._healed_at_ms is None or now_ms - self._healed_at_ms >= self._heal_ms:
            if not await self._add_missing():
                return
        else:
            return
        self._healed_at_ms = now_ms

    async def _add_missing(self) -> bool:
        """False where the lock was lost on the way."""
        after: str | None = None
        while True:
            page = await self._tasks.open_ids(after, PAGE)
            for start in range(0, len(page), PART):
                by_sn: dict[str, list[str]] = {}
                for task_id, sn in page[start : start + PART]:
                    by_sn.setdefault(sn, []).append(task_id)
                self._metrics.index_additions += await self._pending.add_many(by_sn)
            if len(page) < PAGE:
                return True
            after = page[-1][0]
            if not await self._lock.hold():
                return False
