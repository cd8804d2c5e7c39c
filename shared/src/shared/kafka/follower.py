"""Follows whole topics without a group, from the end or from positions that the caller kept.

As read in aiokafka 0.14, and relied upon:
1. Asking for the end of a partition that the client has not heard of has it learn the topic's partitions.
2. With auto_offset_reset "none" a position outside what the broker has is told by the poll, for each partition until
   it is sought anew; the other partitions are read meanwhile.
3. What is not polled is not fetched on: besides what is in its hands already, a follower that waits costs nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from shared.domain.events import ConsumedRecord
from shared.kafka.connection import connection_options
from shared.kafka.consumer import consumed
from shared.runtime.lifecycle import cancel_and_wait
from shared.runtime.settings import KafkaSettings
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

Positions = Mapping[tuple[str, int], int]
"""(topic, partition) to the offset of the record that is read next."""

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 3.0
METADATA_MAX_AGE_MS = 30_000
"""How soon new partitions are heard of."""
MAX_POLL_RECORDS = 100
FETCH_MAX_BYTES = 1_048_576
MAX_PARTITION_FETCH_BYTES = 131_072
"""aiokafka reads ahead so much of every partition, and there may be many followers in a process, each with dozens. It
asks for a partition again when the fetch of the others has ended, half a second later where these have nothing: this
is also the pace of a partition that alone has much."""


class Gap(Exception):
    """Records that were to be read are gone. Reading goes on with the earliest that are left, at these positions."""

    def __init__(self, positions: Positions) -> None:
        super().__init__(f"{len(positions)} partitions")
        self.positions = positions


class Follower:
    """Reads every partition of its topics. Made by open_follower."""

    def __init__(self, settings: KafkaSettings, client_id: str, topics: Sequence[str]) -> None:
        self.start_positions: Positions = {}
        self._topics = topics
        self._consumer = AIOKafkaConsumer(
            **connection_options(settings, client_id),
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_bytes=FETCH_MAX_BYTES,
            max_partition_fetch_bytes=MAX_PARTITION_FETCH_BYTES,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )

    async def start(self, positions: Positions) -> None:
        """Begins where `positions` say. Of a topic that is not among them: at its end; of a further partition of one
        that is: at its beginning, for the partition was made since. Raises KafkaError."""
        await self._consumer.start()
        await self._consumer.end_offsets([TopicPartition(topic, 0) for topic in self._topics])
        ends = await self._consumer.end_offsets(self._partitions())
        followed = {topic for topic, _ in positions}
        self.start_positions = {
            (place.topic, place.partition): positions.get(tuple(place), 0 if place.topic in followed else end)
            for place, end in ends.items()
        }
        self._consumer.assign(list(ends))
        self._seek(self.start_positions)

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]:
        """The next records, waiting for the first at most so long; none while the broker is away. Raises Gap, and
        Unavailable for what it refuses."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_seconds * 1000), max_records=MAX_POLL_RECORDS)
        except OffsetOutOfRangeError as error:
            raise Gap(await self._go_to_earliest(list(error.args[0]))) from error
        except KafkaError as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        return [consumed(record) for records in fetched.values() for record in records]

    def has_all_partitions(self) -> bool:
        """False where a topic was given more partitions since this began."""
        return all((place.topic, place.partition) in self.start_positions for place in self._partitions())

    async def close(self) -> None:
        """Ends it, within a bound."""
        stopping = spawn(self._consumer.stop(), "follower-close")
        await asyncio.wait([stopping], timeout=CLOSE_SECONDS)
        await cancel_and_wait(stopping)

    def _partitions(self) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]

    async def _go_to_earliest(self, places: Sequence[TopicPartition]) -> Positions:
        try:
            earliest = await self._consumer.beginning_offsets(places)
        except KafkaError as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        positions = {(place.topic, place.partition): offset for place, offset in earliest.items()}
        self._seek(positions)
        return positions

    def _seek(self, positions: Positions) -> None:
        for place, offset in positions.items():
            self._consumer.seek(TopicPartition(*place), offset)


@asynccontextmanager
async def open_follower(
    settings: KafkaSettings, client_id: str, topics: Sequence[str], positions: Positions
) -> AsyncIterator[Follower]:
    """A follower of the topics. Raises Unavailable where the broker does not answer within the deadline, or does not
    have the topics."""
    follower = Follower(settings, client_id, topics)
    try:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await follower.start(positions)
        except (KafkaError, TimeoutError, OSError) as error:
            raise Unavailable(f"Kafka: topics cannot be followed: {type(error).__name__}") from error
        yield follower
    finally:
        await follower.close()
