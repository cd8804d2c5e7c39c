"""What heartbeats list: the pending tasks of the devices that this process holds, as ready text (M7, design rule 4).

1. A device's list is read once it is held here, and again whenever the control stream tells that it changed. Reads are
   gathered and done in the background; a heartbeat that comes before its list was read waits for it.
2. A read during which the list changed is void: it is read again.
3. While Redis is out of reach nothing is waited for: heartbeats have what was known last, or nothing. A list that is
   late costs a minute, a heartbeat without an answer a connection.
4. Whoever may have missed entries of the control stream forgets all lists.
5. Where a list changed because of a request that is traced, the first heartbeat that has the new list is a step of that
   trace. Only of devices that are held here one is kept, the newest.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import PendingTasks

log = logging.getLogger(__name__)

NOTHING = "{}"
MAX_A_READ = 1_000
MAX_READS = 3
"""Reads of one list that may be void before a heartbeat is answered without them."""
RETRY_SECONDS = 0.5


class TaskLists:
    """Lists by sn, bounded; the least used go first."""

    def __init__(self, store: PendingTasks, *, size: int, max_ids: int, group_seconds: float) -> None:
        self.reads = 0
        self._store = store
        self._size = size
        self._max_ids = max_ids
        self._group_seconds = group_seconds
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._unread: dict[str, int] = {}  # sn to the number of what made it unread (rule 2)
        self._makers: dict[str, str] = {}  # sn to a traceparent (rule 5)
        self._changes = 0
        self._away = False
        self._work = asyncio.Event()
        self._round: asyncio.Future[None] | None = None  # done when the next read has ended

    def __len__(self) -> int:
        return len(self._texts)

    def held(self, sn: str) -> str | None:
        """The response of a heartbeat; None where the list must be read first."""
        text = self._texts.get(sn)
        if text is not None and sn not in self._unread:
            self._texts.move_to_end(sn)
            return text
        self.want(sn)
        if self._away:
            return NOTHING if text is None else text
        return None

    async def find(self, sn: str) -> str:
        """The same, waited for where it must be (rules 1, 3)."""
        for _ in range(MAX_READS):
            text = self.held(sn)
            if text is not None:
                return text
            if self._round is None:
                self._round = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._round])  # not awaited itself: who gives up must not cancel it for the others
        return self.held(sn) or self._texts.get(sn, NOTHING)

    def want(self, sn: str) -> None:
        """Has the list read where it is not known: its device is held from now on."""
        if sn not in self._texts and sn not in self._unread and len(self._unread) < self._size:
            self._set_unread(sn)

    def changed(self, sn: str, traceparent: str | None = None) -> None:
        """The device's tasks changed, in the trace that is named. Nothing happens where it is not held here."""
        if sn in self._texts or sn in self._unread:
            self._set_unread(sn)
            if traceparent is not None:
                self._makers[sn] = traceparent

    def take_maker(self, sn: str) -> str | None:
        """The traceparent of what changed the list that is held, once (rule 5)."""
        if not self._makers or sn in self._unread:
            return None
        return self._makers.pop(sn, None)

    def empty(self) -> None:
        """Entries may have been missed (rule 4)."""
        self._texts.clear()
        self._makers.clear()
        for sn in self._unread:
            self._set_unread(sn)

    async def run(self) -> None:
        """Reads for ever what is to be read. Redis out of reach is waited for."""
        while True:
            await self._work.wait()
            await asyncio.sleep(self._group_seconds)
            try:
                await self.read_once()
            except Unavailable as error:
                if not self._away:
                    log.warning("heartbeats list the tasks known last: %s", error)
                self._away = True
                self._end_round()
                await asyncio.sleep(RETRY_SECONDS)

    async def read_once(self) -> None:
        """One call for what is to be read. Raises Unavailable."""
        part = list(self._unread.items())[:MAX_A_READ]
        self.reads += 1
        found = await self._store.oldest([sn for sn, _ in part], self._max_ids)
        self._away = False
        for (sn, change), task_ids in zip(part, found, strict=True):
            if self._unread[sn] == change:
                del self._unread[sn]
                self._texts[sn] = _response(task_ids)
                self._texts.move_to_end(sn)
        while len(self._texts) > self._size:
            sn, _ = self._texts.popitem(last=False)
            self._makers.pop(sn, None)
        if not self._unread:
            self._work.clear()
        self._end_round()

    def _set_unread(self, sn: str) -> None:
        self._changes += 1
        self._unread[sn] = self._changes
        self._work.set()

    def _end_round(self) -> None:
        if self._round is not None:
            self._round.set_result(None)
            self._round = None


def _response(task_ids: Sequence[str]) -> str:
    return msgspec.json.encode({"taskids": task_ids}).decode() if task_ids else NOTHING
