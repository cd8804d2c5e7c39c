"""A thin consumer of a group: poll, commit, pause, revocation, lag. What is read and when is committed is the caller's.

As read in aiokafka 0.14, and relied upon:
1. A poll waits while the group rebalances, and returns nothing of partitions that were revoked. Between the moment it
   takes records and its return there is no await: records are in the caller's hands before a revocation begins.
2. Heartbeats have their own task, and go on while `on_revoked` runs; but a member that has not polled for
   max_poll_interval_ms leaves the group. A caller that is busy for long therefore calls `stay`.
3. JoinGroup is answered when every member has joined, and ends by request_timeout_ms as any other request: that is
   set above the rebalance timeout.
4. An exception in the revocation callback is logged and swallowed: `on_revoked` must keep it itself.
5. With `auto_offset_reset` it skips what retention deleted without a word. So it has none here: `poll` begins at the
   earliest record itself, and says what was lost.
6. A coordinator that refuses to name offsets, as it does while it loads, looks like a group without any: `poll` asks
   once more, since to begin at the earliest record would lose nothing, but store days of records again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from shared.domain.events import ConsumedRecord
from shared.kafka.connection import connection_options
from shared.runtime.lifecycle import cancel_and_wait
from shared.runtime.settings import KafkaSettings
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

RETRY_START_SECONDS = 1.0
CLOSE_SECONDS = 10.0
COMMIT_SECONDS = 5.0
LAG_SECONDS = 5.0
SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 1_000
"""A second member of the group waits one heartbeat of the first (measured: 3 s with the default)."""
MAX_POLL_INTERVAL_MS = 60_000
REQUEST_MARGIN_MS = 5_000
MAX_PARTITION_FETCH_BYTES = 1_048_576
"""While its caller is busy, aiokafka reads ahead so much of every partition, whatever fetch_max_bytes says. A larger
record is given all the same, when its partition comes first in a fetch (KIP-74)."""


class PartitionsLost(Exception):
    """The group has given the partitions to others: nothing of them can be committed, and somebody reads them again."""


class RecordsLost(Exception):
    """The topic no longer had what was to be read next, most likely because retention deleted it: reading goes on at
    the earliest record that is there."""

    def __init__(self, place: TopicPartition, offset: int, begin: int) -> None:
        super().__init__(f"{place.topic}/{place.partition} no longer has offset {offset}; reading goes on at {begin}")
        self.place = (place.topic, place.partition)
        self.begin = begin
        self.count = max(0, begin - offset)


class Offsets(NamedTuple):
    """Of one partition."""

    committed: int
    """The next offset to be read, as the group has it."""
    end: int


class GroupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a group member reads, and its bounds."""

    group_id: str
    topics: Sequence[str]
    max_poll_records: int
    fetch_max_bytes: int
    """Of one fetch of a broker; the first record is given whatever its size."""
    rebalance_timeout_ms: int
    """How long the others wait for `on_revoked`."""


class GroupConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member of a consumer group with manual commits, from the earliest record on. Made by open_consumer."""

    def __init__(
        self, settings: KafkaSettings, client_id: str, options: GroupOptions, on_revoked: Callable[[], Awaitable[None]]
    ) -> None:
        self.is_revoking = False
        self._on_revoked = on_revoked
        self._committed: dict[TopicPartition, int] = {}
        self._consumer = AIOKafkaConsumer(
            **connection_options(settings, client_id)
            | {
                "request_timeout_ms": max(settings.request_timeout_ms, options.rebalance_timeout_ms + REQUEST_MARGIN_MS)
            },
            group_id=options.group_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_poll_records=options.max_poll_records,
            fetch_max_bytes=options.fetch_max_bytes,
            max_partition_fetch_bytes=min(MAX_PARTITION_FETCH_BYTES, options.fetch_max_bytes),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            rebalance_timeout_ms=options.rebalance_timeout_ms,
        )
        self._consumer.subscribe(options.topics, listener=self)

    async def start(self) -> None:
        """Joins the group. Raises KafkaError."""
        await self._consumer.start()

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]:
        """The next records, waiting for the first at most so long. Raises Unavailable, RecordsLost; KafkaError for what
        cannot pass (no rights, a broken record)."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_seconds * 1000))
        except NoOffsetForPartitionError as error:
            await self._seek_to_committed(error.args[0])
            return []
        except OffsetOutOfRangeError as error:
            ((place, offset),) = error.args[0].items()
            raise RecordsLost(place, offset, await self._seek_to_beginning(place)) from error
        except KafkaError as error:
            if not error.retriable:
                raise
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        return [consumed(record) for records in fetched.values() for record in records]

    async def _seek_to_committed(self, place: TopicPartition) -> None:
        """Goes on where the group has committed, else at the beginning. Raises Unavailable."""
        try:
            committed = await self._consumer.committed(place)
            if committed is not None:
                self._consumer.seek(place, committed)
        except KafkaError as error:
            raise Unavailable(f"Kafka: a committed offset is not known: {type(error).__name__}") from error
        if committed is None:
            await self._seek_to_beginning(place)

    async def _seek_to_beginning(self, place: TopicPartition) -> int:
        """Goes on at the earliest record that the partition has; returns its offset. Raises Unavailable: the next poll
        meets the same."""
        try:
            begin = int((await self._consumer.beginning_offsets([place]))[place])
            self._consumer.seek(place, begin)
        except KafkaError as error:
            raise Unavailable(f"Kafka: a partition's beginning is not known: {type(error).__name__}") from error
        return begin

    async def stay(self) -> None:
        """Reads nothing more until `resume`, and shows the group that this member lives. Call it again and again.
        Raises KafkaError for what cannot pass."""
        if not self.is_revoking:  # a poll would wait for the end of the rebalance
            self._consumer.pause(*self._consumer.assignment())
            try:
                await self._consumer.getmany(timeout_ms=0)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError):
                pass  # the next poll meets the same, and can say so
            except KafkaError as error:
                if not error.retriable:
                    raise

    def resume(self) -> None:
        """Ends what `stay` began."""
        self._consumer.resume(*self._consumer.paused())

    async def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """Commits these offsets and no others. Raises Unavailable, PartitionsLost."""
        offsets = {TopicPartition(*place): offset for place, offset in next_offsets.items()}
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            raise PartitionsLost(type(error).__name__) from error
        except TimeoutError as error:
            raise Unavailable("Kafka: commit not answered") from error
        except KafkaError as error:
            raise Unavailable(f"Kafka: commit failed: {type(error).__name__}") from error
        self._committed |= offsets

    async def offsets(self) -> dict[tuple[str, int], Offsets]:
        """How far each assigned partition is committed, and where it ends. Raises Unavailable."""
        places = self._consumer.assignment()
        try:
            async with asyncio.timeout(LAG_SECONDS):
                # One call for all: these share a connection with the fetches, which wait 500 ms each.
                ends = await self._consumer.end_offsets(places)
                unknown = {place: await self._consumer.committed(place) for place in places - self._committed.keys()}
                begin = await self._consumer.beginning_offsets([place for place, at in unknown.items() if at is None])
                for place, offset in unknown.items():
                    self._committed.setdefault(place, begin[place] if offset is None else offset)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka: lag not known: {type(error).__name__}") from error
        # Without a committed offset: the partitions were given anew meanwhile.
        return {
            (place.topic, place.partition): Offsets(self._committed.get(place, ends[place]), ends[place])
            for place in places
        }

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by aiokafka before each rebalance."""
        self.is_revoking = True
        if revoked:
            await self._on_revoked()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by aiokafka after each rebalance."""
        self._committed.clear()
        self.is_revoking = False
        log.info("assigned %d partitions", len(assigned))

    async def close(self) -> None:
        """Leaves the group, within a bound."""
        stopping = spawn(self._consumer.stop(), "consumer-close")
        done, _ = await asyncio.wait([stopping], timeout=CLOSE_SECONDS)
        if not done:
            log.warning("the broker did not let this member leave; its partitions are given away by timeout")
        await cancel_and_wait(stopping)


def consumed(record: ConsumerRecord) -> ConsumedRecord:
    """aiokafka's record as ours."""
    # Kafka allows a header without a value. A list and no generator: this is done for every header of every record.
    headers = tuple([header if header[1] else (header[0], b"") for header in record.headers])
    return ConsumedRecord(
        record.topic, record.partition, record.offset, record.key, record.value, headers, record.timestamp
    )


@asynccontextmanager
async def open_consumer(
    settings: KafkaSettings, client_id: str, options: GroupOptions, on_revoked: Callable[[], Awaitable[None]]
) -> AsyncIterator[GroupConsumer]:
    """A member of the group; waits for the broker and its topics for as long as it takes. Raises KafkaError for what
    cannot pass."""
    while True:
        consumer = GroupConsumer(settings, client_id, options, on_revoked)
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.close()
            missing = isinstance(error, UnknownTopicOrPartitionError)
            if not error.retriable and not missing:
                raise
            hint = " (python -m shared.kafka.topics makes the topics)" if missing else ""
            log.warning("consumer cannot start: %s%s", type(error).__name__, hint)
            await asyncio.sleep(RETRY_START_SECONDS)
            continue
        except BaseException:  # cancelled: nothing of it may stay behind
            await consumer.close()
            raise
        break
    try:
        yield consumer
    finally:
        await consumer.close()
