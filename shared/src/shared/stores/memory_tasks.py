"""Tasks, their pending index and a lock in dicts: for unit tests, and for reading how their stores must behave.
`available = False` makes every call of a store raise Unavailable."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from shared.domain.control import PushCommand, TasksChanged
from shared.domain.tasks import TRANSITIONS, HistoryEntry, Outcome, Task
from shared.runtime.tracing import current_traceparent
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import ControlStream, NewTask, TaskQuery, Unrelayed


class MemoryTaskStore:
    """TaskStore in dicts."""

    def __init__(self) -> None:
        self.available = True
        self._tasks: dict[str, Task] = {}
        self._person_ids: dict[str, tuple[str, ...] | None] = {}
        self._relayed: dict[str, int] = {}

    async def add_many(self, new: Sequence[NewTask]) -> None:
        self._reach()
        for one in new:
            if one.task.task_id in self._tasks:
                raise Unavailable("MemoryTaskStore: a task id is taken")
            self._tasks[one.task.task_id] = one.task
            self._person_ids[one.task.task_id] = one.person_ids
            self._relayed[one.task.task_id] = 0

    async def find(self, task_ids: Sequence[str]) -> dict[str, Task]:
        self._reach()
        return {task_id: self._tasks[task_id] for task_id in task_ids if task_id in self._tasks}

    async def person_ids(self, task_id: str) -> Sequence[str] | None:
        self._reach()
        return self._person_ids.get(task_id)

    async def person_ids_page(self, task_id: str, start: int, length: int) -> Sequence[str]:
        self._reach()
        return (self._person_ids.get(task_id) or ())[start : start + length]

    async def change(
        self, task_ids: Sequence[str], entry: HistoryEntry, *, sn: str | None = None, outcome: Outcome | None = None
    ) -> int:
        self._reach()
        found = [self._tasks[task_id] for task_id in dict.fromkeys(task_ids) if task_id in self._tasks]
        changed = [task for task in found if entry.state in TRANSITIONS[task.state] and sn in (None, task.sn)]
        for task in changed:
            self._tasks[task.task_id] = msgspec.structs.replace(
                task, history=(*task.history, entry), outcome=outcome or task.outcome
            )
        return len(changed)

    async def page(self, query: TaskQuery) -> Sequence[Task]:
        self._reach()
        found = [
            task
            for task in self._by_id(reverse=True)
            if (query.sns is None or task.sn in query.sns)
            and query.state in (None, task.state)
            and query.apicode in (None, task.apicode)
            and (query.before is None or task.task_id < query.before)
        ]
        return found[: query.limit]

    async def open_of(self, sn: str) -> Sequence[Task]:
        self._reach()
        return [task for task in self._by_id() if task.is_open and task.sn == sn]

    async def open_ids(self, after: str | None, limit: int) -> Sequence[tuple[str, str]]:
        self._reach()
        found = [(task.task_id, task.sn) for task in self._by_id() if task.is_open and task.task_id > (after or "")]
        return found[:limit]

    async def overdue(self, now_ms: int, limit: int) -> Sequence[Task]:
        self._reach()
        due = [
            (task.expires_at_ms, task)
            for task in self._by_id()
            if task.is_open and task.expires_at_ms is not None and task.expires_at_ms <= now_ms
        ]
        return [task for _, task in sorted(due, key=lambda one: one[0])][:limit]

    async def unrelayed(self, limit: int) -> Sequence[Unrelayed]:
        self._reach()
        found = [task for task in self._by_id() if self._relayed[task.task_id] < len(task.history)]
        sns = {task.sn for task in found[:limit]}
        return [Unrelayed(task, self._relayed[task.task_id]) for task in found if task.sn in sns]

    async def mark_relayed(self, counts: Mapping[str, int]) -> None:
        self._reach()
        for task_id, count in counts.items():
            self._relayed[task_id] = max(self._relayed[task_id], count)

    def _by_id(self, *, reverse: bool = False) -> Iterable[Task]:
        return [self._tasks[task_id] for task_id in sorted(self._tasks, reverse=reverse)]

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryTaskStore: made unavailable")


class MemoryPendingTasks:
    """PendingTasks in sets; `flush` is what FLUSHALL would have done."""

    def __init__(self, control: ControlStream) -> None:
        self.available = True
        self._control = control
        self._ids: dict[str, set[str]] = {}
        self._whole = False
        self._marks = 0
        self._mark: str | None = None

    def flush(self) -> None:
        """Forgets everything."""
        self._ids.clear()
        self._whole = False
        self._mark = None

    async def add_many(self, task_ids: Mapping[str, Sequence[str]], push: Sequence[PushCommand] = ()) -> int:
        self._reach()
        trace = current_traceparent()
        new = sum([await self._change(sn, self._ids.get(sn, set()) | set(ids), trace) for sn, ids in task_ids.items()])
        for command in push:
            await self._control.publish(command)
        return new

    async def remove_many(self, task_ids: Mapping[str, Sequence[str]]) -> int:
        self._reach()
        return sum([await self._change(sn, self._ids.get(sn, set()) - set(ids)) for sn, ids in task_ids.items()])

    async def oldest(self, sns: Sequence[str], limit: int) -> Sequence[Sequence[str]]:
        self._reach()
        return [sorted(self._ids.get(sn, ()))[:limit] for sn in sns]

    async def is_whole(self) -> bool:
        self._reach()
        return self._whole

    async def begin_rebuild(self) -> str:
        self._reach()
        self._marks += 1
        self._mark = str(self._marks)
        return self._mark

    async def end_rebuild(self, mark: str) -> bool:
        self._reach()
        if self._mark != mark:
            return False
        self._mark, self._whole = None, True
        return True

    async def _change(self, sn: str, ids: set[str], traceparent: str | None = None) -> int:
        changed = len(self._ids.get(sn, set()) ^ ids)
        self._ids[sn] = ids
        if changed:
            await self._control.publish(TasksChanged(sn, traceparent))
        return changed

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryPendingTasks: made unavailable")


class MemoryPushedTasks:
    """PushedTasks in a set."""

    def __init__(self) -> None:
        self.available = True
        self.task_ids: set[str] = set()

    async def add_many(self, task_ids: Sequence[str]) -> None:
        self._reach()
        self.task_ids.update(task_ids)

    async def oldest(self, limit: int) -> Sequence[str]:
        self._reach()
        return sorted(self.task_ids)[:limit]

    async def remove_many(self, task_ids: Sequence[str]) -> None:
        self._reach()
        self.task_ids.difference_update(task_ids)

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryPushedTasks: made unavailable")


class MemoryLock:
    """Lock that a test gives to another by `held_elsewhere`."""

    def __init__(self) -> None:
        self.held_elsewhere = False
        self.releases = 0

    async def hold(self) -> bool:
        return not self.held_elsewhere

    async def release(self) -> None:
        self.releases += 1
