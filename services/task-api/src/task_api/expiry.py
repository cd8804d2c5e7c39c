"""Ends tasks whose time has passed (T5: expired)."""

from shared.domain.rosters import ROSTER_APICODES
from shared.domain.tasks import PLATFORM, HistoryEntry, TaskState
from shared.runtime.clock import Clock
from shared.stores.interfaces import Lock, PendingTasks, TaskStore
from shared.stores.person_interfaces import RosterMarks
from task_api.metrics import TaskApiMetrics

PAGE = 500


class Expiry:
    """Looks for open tasks whose expiresAt has come."""

    def __init__(
        self,
        tasks: TaskStore,
        pending: PendingTasks,
        marks: RosterMarks,
        lock: Lock,
        clock: Clock,
        metrics: TaskApiMetrics,
    ) -> None:
        self._tasks = tasks
        self._pending = pending
        self._marks = marks
        self._lock = lock
        self._clock = clock
        self._metrics = metrics

    async def work(self) -> None:
        """Ends all that are overdue. Raises Unavailable."""
        while True:
            now_ms = self._clock.now_ms()
            overdue = await self._tasks.overdue(now_ms, PAGE)
            if not overdue:
                return
            by_sn: dict[str, list[str]] = {}
            for task in overdue:
                by_sn.setdefault(task.sn, []).append(task.task_id)
            # The index first: where this process dies in between, the tasks are found again.
            await self._pending.remove_many(by_sn)
            entry = HistoryEntry(at_ms=now_ms, state=TaskState.EXPIRED, actor=PLATFORM, reason="expiresAt passed")
            self._metrics.expired += await self._tasks.change([task.task_id for task in overdue], entry)
            await self._marks.mark_devices({task.sn for task in overdue if task.apicode in ROSTER_APICODES})
            if len(overdue) < PAGE or not await self._lock.hold():
                return
