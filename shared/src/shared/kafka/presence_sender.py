"""Sends presence events: of each device the newest, in order, until Kafka has it.

What cannot be sent waits and is tried again; a newer event of the device takes the place of one that waits. So what
waits is bounded by the devices that there are, and nobody waits for it: presence never delays a sign-in.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import msgspec

from shared.domain.events import PRESENCE_TOPIC, Record
from shared.domain.presence import PresenceEvent, PresenceState, presence_record
from shared.kafka.record_spans import publish_span, with_traceparent
from shared.runtime.tracing import SampledSpan
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
MAX_A_ROUND = 500
"""An event is less than 2 KiB: a round is far below what a batch may hold."""


class Producer(Protocol):
    """What sends: shared.kafka.producer.BatchProducer."""

    def partition_for(self, topic: str, key: bytes) -> int: ...

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None: ...


class PresenceSender:
    """Events on their way to `device.presence.v1`."""

    def __init__(self, producer: Producer, *, max_waiting: int) -> None:
        self.sent = 0
        self.dropped = 0
        self._producer = producer
        self._max_waiting = max_waiting
        self._waiting: dict[str, PresenceEvent] = {}
        self._causes: dict[str, SampledSpan] = {}
        """Of those that wait: the sampled requests that they follow from."""
        self._under_way: set[str] = set()
        self._there_is_one = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: PresenceEvent, cause: SampledSpan | None = None) -> None:
        """Takes an event that comes after all others of its device; `cause` is the request that it follows from."""
        earlier = self._waiting.get(event.sn)
        if earlier is None and len(self._waiting) >= self._max_waiting:
            self.dropped += 1
            return
        if (
            earlier is not None
            and event.sn not in self._under_way
            and (earlier.state, event.state) == (PresenceState.ONLINE, PresenceState.CHANGED)
            and earlier.epoch == event.epoch
        ):
            # It was not told yet that the device is online, and this is still when it came.
            event = msgspec.structs.replace(event, state=PresenceState.ONLINE, at=earlier.at)
        elif cause is None:
            self._causes.pop(event.sn, None)
        else:
            self._causes[event.sn] = cause
        self._waiting[event.sn] = event
        self._there_is_one.set()

    async def run(self) -> None:
        """Sends for ever. Kafka out of reach is waited for."""
        reachable = True
        while True:
            await self._there_is_one.wait()
            try:
                await self.flush()
                reachable = True
            except Unavailable as error:
                if reachable:
                    log.warning("presence is told later: %s", error)
                reachable = False
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Sends all that waits. Raises Unavailable; what was not acknowledged waits on."""
        while self._waiting:
            await self._send(list(self._waiting.values())[:MAX_A_ROUND])
        self._there_is_one.clear()

    async def _send(self, events: Sequence[PresenceEvent]) -> None:
        by_partition: dict[int, list[PresenceEvent]] = defaultdict(list)
        for event in events:
            by_partition[self._producer.partition_for(PRESENCE_TOPIC, event.sn.encode())].append(event)
        self._under_way = {event.sn for event in events}
        try:
            outcomes = await asyncio.gather(
                *(self._send_partition(*batch) for batch in by_partition.items()), return_exceptions=True
            )
        finally:
            self._under_way = set()
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _send_partition(self, partition: int, events: Sequence[PresenceEvent]) -> None:
        try:
            with ExitStack() as stack:
                records = [self._record(stack, event) for event in events]
                await self._producer.send(PRESENCE_TOPIC, partition, records)
        except Unavailable:
            for event in events:
                self._waiting[event.sn] = self._waiting.pop(event.sn)  # behind those of other partitions
            raise
        self.sent += len(events)
        for event in events:
            if self._waiting[event.sn] is event:
                del self._waiting[event.sn]
                self._causes.pop(event.sn, None)

    def _record(self, stack: ExitStack, event: PresenceEvent) -> Record:
        record = presence_record(event)
        cause = self._causes.get(event.sn)
        if cause is None:
            return record
        return with_traceparent(record, stack.enter_context(publish_span(cause, PRESENCE_TOPIC)))
