"""What the entries of the control stream are to this process: what it holds follows them, commands are pushed."""

from collections.abc import Sequence

from shared.domain.control import ControlEntry, PushCommand, TasksChanged
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.push import Pusher
from tcp_ingress.task_lists import TaskLists


class ControlEntries:
    """Holder of an ingress: shared.stores.control_reader."""

    def __init__(self, cache: DeviceCache, task_lists: TaskLists, pusher: Pusher) -> None:
        self._cache = cache
        self._task_lists = task_lists
        self._pusher = pusher

    def empty(self) -> None:
        """Entries may have been missed."""
        self._cache.empty()
        self._task_lists.empty()

    def apply(self, entry: ControlEntry) -> None:
        """Takes one entry."""
        match entry:
            case TasksChanged(sn=sn, traceparent=traceparent):
                self._task_lists.changed(sn, traceparent)
            case _:
                self._cache.apply(entry)

    async def act(self, entries: Sequence[ControlEntry]) -> None:
        """Pushes what is to be pushed. Raises Unavailable."""
        await self._pusher.push([entry for entry in entries if isinstance(entry, PushCommand)])
