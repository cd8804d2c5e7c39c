"""Connections that look on: each follows the topics for itself, from the end or from where an earlier one was.

1. An event's id is where the reader is after it, on every topic. So a connection that ends anywhere is gone on with on
   any console process, and nothing is lost or told twice.
2. Kafka holds what a reader has not taken yet: this process holds no more of it than one poll.
3. A fault of Kafka or MongoDB after the beginning is waited for; the connection shows meanwhile that it lives.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from console_service.device_sites import DeviceSites
from console_service.live_events import TOPICS, LiveEvent, LiveKind, event_block, place_block, read_event, retry_block
from console_service.live_positions import pack_positions, unpack_positions
from console_service.metrics import ConsoleMetrics
from console_service.streaming import Slots
from shared.domain.events import ConsumedRecord, InvalidRecord
from shared.kafka.follower import Gap, Positions
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
CHECK_SECONDS = 5.0
"""How often it is asked whether the token is in force still."""
POLL_SECONDS = 1.0
RETRY_MS = (2_000, 5_000)
"""When to come again, drawn anew each time: those of a process that is gone do not come all at once."""

ALL_TOPICS = tuple(TOPICS.values())
"""Their order gives them their numbers in ids."""


class Follower(Protocol):
    """shared.kafka.follower.Follower."""

    start_positions: Positions

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]: ...

    def has_all_partitions(self) -> bool: ...


OpenFollower = Callable[[Sequence[str], Positions], AbstractAsyncContextManager[Follower]]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader wants to see, and may."""

    kinds: frozenset[LiveKind]
    sn: str | None = None
    site_ids: frozenset[str] | None = None
    """Only what is at these sites; None: everything."""


class LiveFeed:
    """Opens streams of events."""

    def __init__(
        self,
        open_follower: OpenFollower,
        sites: DeviceSites,
        metrics: ConsoleMetrics,
        stop: asyncio.Event,
        *,
        max_connections: int,
        notice_seconds: float,
    ) -> None:
        """`stop` says that the process is leaving: its connections then end one by one, over `notice_seconds`."""
        self._open_follower = open_follower
        self._sites = sites
        self._metrics = metrics
        self._stop = stop
        self._notice_seconds = notice_seconds
        self._slots = Slots(max_connections)
        metrics.watch_live(lambda: self._slots.taken)

    async def stream(
        self, wanted: Wanted, last_event_id: str | None, is_in_force: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes]:
        """text/event-stream, until the token is not in force or the process leaves. Raises Problem and Unavailable
        before its first piece, and nothing later."""
        topics = [TOPICS[kind] for kind in LiveKind if kind in wanted.kinds]
        positions = _read_id(last_event_id, topics)
        with self._slots.take("live connections"):
            async with self._open_follower(topics, positions) as follower:
                reader = _Reader(follower, wanted, self._sites, self._metrics)
                yield _retry() + place_block(reader.event_id)
                clock = asyncio.get_running_loop().time
                beat_at, check_at, leave_at = clock() + BEAT_SECONDS, clock() + CHECK_SECONDS, float("inf")
                while clock() < leave_at:
                    if self._stop.is_set():
                        leave_at = min(leave_at, clock() + random.uniform(0, self._notice_seconds))  # noqa: S311  spreads load
                    if clock() >= check_at:
                        if not (follower.has_all_partitions() and await _may_go_on(is_in_force)):
                            break
                        check_at = clock() + CHECK_SECONDS
                    piece = await reader.next()
                    if not piece and clock() >= beat_at:
                        piece = place_block(reader.event_id)
                    if piece:
                        yield piece
                        beat_at = clock() + BEAT_SECONDS
                yield _retry()


def _read_id(last_event_id: str | None, topics: Sequence[str]) -> Positions:
    if not last_event_id:
        return {}
    try:
        positions = unpack_positions(ALL_TOPICS, last_event_id)
    except ValueError:
        raise Problem(400, "Last-Event-ID is none that this stream gave") from None
    return {place: offset for place, offset in positions.items() if place[0] in topics}


async def _may_go_on(is_in_force: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await is_in_force()
    except Unavailable:  # nobody can say, and nobody can have revoked it meanwhile
        return True


def _retry() -> bytes:
    return retry_block(random.randint(*RETRY_MS))  # noqa: S311  spreads load


class _Reader:
    """One connection's way through the topics."""

    def __init__(self, follower: Follower, wanted: Wanted, sites: DeviceSites, metrics: ConsoleMetrics) -> None:
        self._follower = follower
        self._wanted = wanted
        self._sites = sites
        self._metrics = metrics
        self._positions = dict(follower.start_positions)
        self._polled: Sequence[ConsumedRecord] = ()
        self._is_waiting = False

    @property
    def event_id(self) -> str:
        """Where it is."""
        return pack_positions(ALL_TOPICS, self._positions)

    async def next(self) -> bytes:
        """The events of the next records; empty where there is nothing to show for a while."""
        try:
            if not self._polled:
                self._polled = await self._follower.poll(POLL_SECONDS)
            events = await self._seen(self._polled)
        except Gap as gap:
            self._metrics.live_gaps += 1
            self._positions.update(gap.positions)
            kinds = [kind for kind in LiveKind if any(topic == TOPICS[kind] for topic, _ in gap.positions)]
            return event_block("gap", self.event_id, msgspec.json.encode({"types": kinds}))
        except Unavailable as error:
            if not self._is_waiting:
                log.warning("live events are told later: %s", error)
            self._is_waiting = True
            await asyncio.sleep(POLL_SECONDS)
            return b""
        self._is_waiting = False
        blocks = []
        for record, event in zip(self._polled, events, strict=True):
            self._positions[record.topic, record.partition] = record.offset + 1
            if event is not None:
                blocks.append(event_block(event.kind, self.event_id, event.data))
        self._polled = ()
        self._metrics.live_events += len(blocks)
        return b"".join(blocks)

    async def _seen(self, records: Sequence[ConsumedRecord]) -> list[LiveEvent | None]:
        """The event of each record, None where the reader does not see it. Raises Unavailable."""
        events = [self._read(record) for record in records]
        wanted_sites = self._wanted.site_ids
        if wanted_sites is None:
            return events
        elsewhere = {event.sn for event in events if event is not None and event.kind is not LiveKind.SIGN_IN}
        sites = await self._sites.of(elsewhere)
        return [
            event
            if event is not None
            and (event.site_id if event.kind is LiveKind.SIGN_IN else sites[event.sn]) in wanted_sites
            else None
            for event in events
        ]

    def _read(self, record: ConsumedRecord) -> LiveEvent | None:
        if self._wanted.sn is not None and record.key != self._wanted.sn.encode():
            return None
        try:
            return read_event(record)
        except InvalidRecord as error:
            self._metrics.live_unreadable += 1
            log.warning("%s/%d@%d is not shown: %s", record.topic, record.partition, record.offset, error)
            return None
