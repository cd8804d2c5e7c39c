"""Reads the control stream for as long as the process lives, and keeps true to it what the process holds (rule 4)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from shared.domain.control import ControlEntry
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from shared.stores.interfaces import ControlStream, EndedStore

log = logging.getLogger(__name__)

BLOCK_MS = 500
RETRY_SECONDS = 0.5


class Holder(Protocol):
    """What a process holds that the stream is about, besides the view of the ended set."""

    def empty(self) -> None:
        """Entries may have been missed."""
        ...

    def apply(self, entry: ControlEntry) -> None:
        """Takes one entry."""
        ...

    async def act(self, entries: Sequence[ControlEntry]) -> None:
        """Does what they ask for, once all of them are known. Raises Unavailable."""
        ...


class HoldsNothing:
    """Holder of a process that has the view alone."""

    def empty(self) -> None:
        """Nothing to forget."""

    def apply(self, entry: ControlEntry) -> None:
        """Nothing to change."""

    async def act(self, entries: Sequence[ControlEntry]) -> None:
        """Nothing to do."""


class ControlReader:
    """One reader of the control stream."""

    def __init__(
        self,
        stream: ControlStream,
        ended: EndedStore,
        view: EndedView,
        clock: Clock,
        holder: Holder | None = None,
    ) -> None:
        self.losses = 0
        self._stream = stream
        self._ended = ended
        self._view = view
        self._clock = clock
        self._holder = holder or HoldsNothing()
        self._ended_known = False

    async def run(self) -> None:
        """Reads for ever. Redis out of reach is waited for; the view's grace judges what that means."""
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
            self._holder.empty()
            self._ended_known = False
            entries = ()
        for entry in entries:
            self._view.apply(entry)
            self._holder.apply(entry)
        if not self._ended_known:
            # Read after the stream's place was taken: what is ended from there on comes through the stream.
            self._view.add(await self._ended.load(), began_ms)
            self._ended_known = True
        self._view.up_to_date(began_ms)
        # Last: what it waits for must keep nothing above from being known.
        await self._holder.act(entries)
