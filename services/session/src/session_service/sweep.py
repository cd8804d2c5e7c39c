"""Finds devices that went silent without anybody telling: their ingress was killed, or could not tell (design rule 6).

1. One process of several works, under a lock; the work bears being done twice, since a device is taken off line in
   Redis once, and its end has the same id whoever tells it.
2. Redis says who was silent for too long. MongoDB says who is still thought to be on line: whom Redis does not have,
   although it was not flushed for as long as a silent device stays on line, is gone; its event was lost.
3. After Redis was out of reach, ingress comes first: what it could not tell meanwhile is told within a second.
"""

import asyncio
import logging
from typing import Protocol

from session_service.metrics import SessionMetrics
from shared.domain.presence import OfflineReason, Presence, PresenceEvent, offline_event
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import Lock, PresenceRecordStore, PresenceStore

log = logging.getLogger(__name__)

LOCK = "presence-sweep"
MARGIN_MS = 3_000
"""Ingress takes a silent device off line itself; a second later, and it may be slow."""
PAGE = 500
PAUSE_SECONDS = 5.0
"""After Redis was out of reach, once it answers again (rule 3)."""


class EventSink(Protocol):
    """Where events go: shared.kafka.presence_sender.PresenceSender."""

    def put(self, event: PresenceEvent) -> None: ...


class PresenceSweep:
    """The sweep of one process."""

    def __init__(
        self,
        presence: PresenceStore,
        records: PresenceRecordStore,
        lock: Lock,
        events: EventSink,
        clock: Clock,
        metrics: SessionMetrics,
        *,
        silent_ms: int,
    ) -> None:
        self.leads = asyncio.Event()
        """Set while this process holds the lock, as of the last round."""
        self._presence = presence
        self._records = records
        self._lock = lock
        self._events = events
        self._clock = clock
        self._metrics = metrics
        self._silent_ms = silent_ms + MARGIN_MS
        self._reconciled_to: str | None = None

    async def sweep(self) -> None:
        """One round; does nothing where another process holds the lock. Raises Unavailable."""
        if not await self._lock.hold():
            self.leads.clear()
            return
        self.leads.set()
        while silent := await self._presence.take_silent(self._silent_ms, PAGE):
            for device in silent:
                self._tell(device)
        await self._reconcile()

    async def run(self, interval_seconds: float) -> None:
        """Sweeps for ever; a server that is away is waited for."""
        reachable = True
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                if not reachable:
                    await self._lock.hold()  # Redis answers again
                    reachable = True
                    await asyncio.sleep(PAUSE_SECONDS)
                await self.sweep()
            except Unavailable as error:
                if reachable:
                    log.warning("silent devices cannot be looked for: %s", error)
                reachable = False

    async def _reconcile(self) -> None:
        """One page of those that MongoDB has as online; the next round goes on from there."""
        page = await self._records.online_page(self._reconciled_to, PAGE)
        seen = await self._presence.last_seen([device.sn for device in page])
        if not await self._presence.is_whole(self._silent_ms):  # asked last: a flush could come in between
            return
        for device in page:
            if device.sn not in seen:
                self._tell(device)
        self._reconciled_to = page[-1].sn if len(page) == PAGE else None

    def _tell(self, device: Presence) -> None:
        self._metrics.swept += 1
        self._events.put(offline_event(device, self._clock.now_ms(), OfflineReason.INGRESS_LOST))
