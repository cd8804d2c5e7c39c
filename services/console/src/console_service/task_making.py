"""Makes tasks: what operators ask for, and what the planner finds."""

import logging
import secrets
from collections.abc import Mapping, Sequence

from console_service.metrics import ConsoleMetrics
from shared.domain.control import PushCommand
from shared.domain.links import Links
from shared.domain.persons import PersonVersions
from shared.domain.rosters import ROSTER_APICODES, Planned, begun
from shared.domain.tasks import NODE_BITS, Task, TaskIds, task_param
from shared.runtime.clock import Clock
from shared.runtime.tracing import current_traceparent
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import NewTask, PendingTasks, TaskStore
from shared.stores.roster_interfaces import RosterStore, change_roster

log = logging.getLogger(__name__)

TOLD_AT_ONCE = 500
"""Tasks that are listed and pushed in one script, which holds Redis up for all others while it runs."""


class TaskMaker:
    """Stores tasks and tells their devices."""

    def __init__(
        self,
        tasks: TaskStore,
        pending: PendingTasks,
        rosters: RosterStore,
        links: Links,
        clock: Clock,
        metrics: ConsoleMetrics,
    ) -> None:
        self._tasks = tasks
        self._pending = pending
        self._rosters = rosters
        self._links = links
        self._clock = clock
        self._metrics = metrics
        self._ids = TaskIds(clock.now_ms, secrets.randbits(NODE_BITS))

    def next_id(self) -> str:
        """A new task's id."""
        return self._ids.next()

    async def enter(self, task: Task, persons: Mapping[str, PersonVersions]) -> None:
        """Enters an operator's task, which is about to be made, into its device's roster, where it is about that.
        Before it is stored: from then on the device may carry it out. Raises Unavailable."""
        if task.apicode not in ROSTER_APICODES:
            return
        planned = Planned(
            task_id=task.task_id,
            apicode=task.apicode,
            at_ms=task.history[0].at_ms,
            by_planner=False,
            persons=persons,
        )
        roster = (await self._rosters.find([task.sn]))[task.sn].roster
        found = await self._tasks.find([one.task_id for one in roster.open])
        over = {task_id for task_id, one in found.items() if not one.is_open}
        await change_roster(self._rosters, task.sn, lambda roster: begun(roster, planned, over))

    async def store(self, new: Sequence[NewTask]) -> None:
        """Stores tasks, then tells their devices. Raises Unavailable: some may be stored."""
        await self._tasks.add_many(new)
        for start in range(0, len(new), TOLD_AT_ONCE):
            await self._tell([one.task for one in new[start : start + TOLD_AT_ONCE]])

    async def _tell(self, made: Sequence[Task]) -> None:
        now_ms, trace = self._clock.now_ms(), current_traceparent()
        push = [
            PushCommand(task.sn, task.task_id, task.apicode, task_param(task, self._links, now_ms), trace)
            for task in made
            if task.push
        ]
        listed: dict[str, list[str]] = {}
        for task in made:
            listed.setdefault(task.sn, []).append(task.task_id)
        try:
            await self._pending.add_many(listed, push)
        except Unavailable as error:
            # The tasks are made; the index rebuilder of task-api finds what the index lacks, heartbeats list it then.
            self._metrics.tasks_unlisted += len(made)
            log.warning("%d new tasks are not in the pending index yet: %s", len(made), error)
