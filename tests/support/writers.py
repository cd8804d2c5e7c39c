"""A writer on real parts inside the test process, and what a test does to its topics."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from attendance_writer.batch import BatchLimits
from attendance_writer.dead_letters import DeadLetters, RejectionWindow
from attendance_writer.loop import LoopSettings, WriterLoop
from attendance_writer.metrics import WriterCounts
from attendance_writer.writes import BatchWriter
from shared.domain.events import (
    DEAD_LETTER_TOPIC,
    PRESENCE_TOPIC,
    SENSITIVE_TOPIC,
    SIGN_IN_TOPIC,
    SYNTHETIC_TOPIC,
    Record,
)
from shared.kafka.consumer import GroupConsumer, GroupOptions, open_consumer
from shared.kafka.producer import open_producer
from shared.kafka.topics import ensure_topics
from shared.runtime.clock import SystemClock
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.mongo.synthetic_attendance import MongoSyntheticAttendanceStore
from tests.support.waiting import eventually

READ_TOPICS = (SIGN_IN_TOPIC, SENSITIVE_TOPIC, PRESENCE_TOPIC, SYNTHETIC_TOPIC)

_groups = itertools.count(1)


class TestWriter:
    """Everything that wiring.py puts together, at hand for a test to tamper with before `run`."""

    __test__ = False

    def __init__(
        self,
        kafka: KafkaSettings,
        database: Database,
        group_id: str,
        *,
        max_rejected: int = 100,
        records: int = 100,
        age_seconds: float = 0.05,
    ) -> None:
        self.counts = WriterCounts()
        self.attendance = MongoAttendanceStore(database)
        self.pictures = MongoPictureStore(database)
        self.synthetic = MongoSyntheticAttendanceStore(database)
        self.presence = MongoPresenceRecordStore(database)
        self.consumer: GroupConsumer | None = None
        self._kafka = kafka
        self._group_id = group_id
        self._window = RejectionWindow(max_rejected, 1000)
        self._settings = LoopSettings(BatchLimits(records, 1_000_000, age_seconds), revoke_seconds=5, leave_seconds=5)
        self._records = records
        self.dead_letters: DeadLetters
        self.loop: WriterLoop
        self.started = asyncio.Event()
        self.crash_points: list[tuple[str, str]] = []

    async def run(self) -> None:
        """Runs until `stop`, or raises what the loop raised."""
        async with open_producer(self._kafka, "test-writer", 5, [DEAD_LETTER_TOPIC]) as producer:
            self.dead_letters = DeadLetters(producer, SystemClock())
            batches = BatchWriter(
                self.attendance,
                self.pictures,
                self.synthetic,
                self.presence,
                self.dead_letters,
                self._window,
                self.counts,
            )
            self.loop = WriterLoop(self._settings, batches, self._window, self.counts)
            options = GroupOptions(
                group_id=self._group_id,
                topics=READ_TOPICS,
                max_poll_records=self._records,
                fetch_max_bytes=1_000_000,
                rebalance_timeout_ms=10_000,
            )
            async with open_consumer(self._kafka, "test-writer", options, self.loop.on_revoked) as consumer:
                self.consumer = consumer
                for name, method in self.crash_points:
                    crash_at(getattr(self, name), method)
                self.started.set()
                await self.loop.run(consumer)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.loop.stop()


class Crash(BaseException):
    """The process ends here: nothing catches it."""


def crash_at(part: object, method: str) -> None:
    """Calling the method ends the process, so to speak, before it does anything."""

    async def crash(*_arguments: object) -> None:
        raise Crash(method)

    setattr(part, method, crash)


@asynccontextmanager
async def running(writer: TestWriter) -> AsyncIterator[TestWriter]:
    """The writer at work; stopped in good order at the end."""
    task = asyncio.ensure_future(writer.run())
    started = asyncio.ensure_future(writer.started.wait())
    try:
        async with asyncio.timeout(30):
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        yield writer
        if writer.started.is_set():
            writer.stop()
        await task
    finally:
        for each in (task, started):
            each.cancel()
        await asyncio.gather(task, started, return_exceptions=True)


@asynccontextmanager
async def opened_database(settings: MongoSettings) -> AsyncIterator[Database]:
    """The test's own database."""
    async with open_mongo(settings, "test") as database:
        yield database


async def fresh_group(kafka: KafkaSettings) -> str:
    """A group that has committed everything that stands in the topics now: it reads only what the test produces."""
    await ensure_topics(kafka, 60)
    group_id = f"writer-test-{os.getpid()}-{next(_groups)}"
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group_id, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [place for topic in READ_TOPICS for place in await _places(kafka, topic)]
        consumer.assign(places)
        await consumer.commit(await consumer.end_offsets(places))
    finally:
        await consumer.stop()
    return group_id


async def _places(kafka: KafkaSettings, topic: str) -> list[TopicPartition]:
    """All partitions of the topic; a broker that has just made it may list them only in a moment."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(10):
            while True:
                (found,) = await admin.describe_topics([topic])
                if found["partitions"] and not found["error_code"]:
                    return [TopicPartition(topic, entry["partition"]) for entry in found["partitions"]]
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def produce(kafka: KafkaSettings, records: Sequence[Record]) -> None:
    """Sends the records in order and waits for their acknowledgement."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        acks="all",
        enable_idempotence=True,
        max_request_size=kafka.max_message_bytes,
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            )
            for record in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def uncommitted(kafka: KafkaSettings, group_id: str) -> int:
    """How many records of the topics a group of `fresh_group` has not committed."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    await admin.start()
    try:
        offsets = await _committed(admin, group_id)
        consumer.assign(list(offsets))  # else it never asks where these partitions are
        ends = await consumer.end_offsets(list(offsets))
        return sum(ends[place] - committed.offset for place, committed in offsets.items())
    finally:
        await admin.close()
        await consumer.stop()


async def _committed(admin: AIOKafkaAdminClient, group_id: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group has committed, which is something. A coordinator that loads, as after its broker stood still,
    refuses; aiokafka shows that as a group without offsets, and 0 uncommitted would let a test go on too early."""
    async with asyncio.timeout(20):
        while True:
            try:
                offsets: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group_id)
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                if offsets:
                    return offsets
            await asyncio.sleep(0.1)


async def delete_all(kafka: KafkaSettings) -> None:
    """What retention does to a writer that lags: deletes all that stands in the topics now."""
    places = [place for topic in READ_TOPICS for place in await _places(kafka, topic)]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await eventually(lambda: _deleted(admin, places))
    finally:
        await admin.close()


async def _deleted(admin: AIOKafkaAdminClient, places: Sequence[TopicPartition]) -> bool:
    """Whether it was done; a broker that has just made a topic may not be the leader of its partitions yet."""
    try:
        await admin.delete_records({place: RecordsToDelete(before_offset=-1) for place in places})
    except KafkaError as error:
        if not error.retriable:
            raise
        return False
    return True


async def dead_letters_with(kafka: KafkaSettings, value: bytes) -> list[ConsumerRecord]:
    """The dead letters of this value, from the whole topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, max_partition_fetch_bytes=kafka.max_message_bytes, enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = await _places(kafka, DEAD_LETTER_TOPIC)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: list[ConsumerRecord] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record for record in records if record.value == value]
        return found
    finally:
        await consumer.stop()
