"""Reads the control stream for as long as the process lives, and keeps true to it what this process holds."""

import asyncio
import logging

from shared.domain.control import PushCommand, TasksChanged
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import ControlStream, EndedStore
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.push import Pusher
from tcp_ingress.task_lists import TaskLists

log = logging.getLogger(__name__)

BLOCK_MS = 500
RETRY_SECONDS = 0.5


class ControlReader:
    """One reader of the control stream."""

    def __init__(
        self,
        stream: ControlStream,
        ended: EndedStore,
        cache: DeviceCache,
        task_lists: TaskLists,
        pusher: Pusher,
        clock: Clock,
    ) -> None:
        self.losses = 0
        self._stream = stream
        self._ended = ended
        self._cache = cache
        self._task_lists = task_lists
        self._pusher = pusher
        self._clock = clock
        self._ended_known = False

    async def run(self) -> None:
        """Reads for ever. Redis out of reach is waited for; the cache's grace judges what that means."""
        reachable = True
        while True:
            try:
                await self.read_once()
            except Unavailable as error:
                if reachable:
                    log.warning("control stream cannot be read: %s", error)
                reachable = False
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if not reachable:
                    log.info("control stream is read again")
                reachable = True

    async def read_once(self) -> None:
        """Applies what came. Raises Unavailable."""
        began_ms = self._clock.now_ms()
        entries = await self._stream.read(BLOCK_MS)
        if entries is None:
            self.losses += 1
            self._cache.empty()
            self._task_lists.empty()
            self._ended_known = False
        commands: list[PushCommand] = []
        for entry in entries or ():
            match entry:
                case TasksChanged(sn=sn):
                    self._task_lists.changed(sn)
                case PushCommand():
                    commands.append(entry)
                case _:
                    self._cache.apply(entry)
        if not self._ended_known:
            # Read after the stream's place was taken: what is ended from there on comes through the stream.
            self._cache.add_ended(await self._ended.load(), began_ms)
            self._ended_known = True
        self._cache.up_to_date(began_ms)
        # Last: what it waits for must keep nothing above from being known.
        await self._pusher.push(commands)
