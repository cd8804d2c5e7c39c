"""The composition root: the one place in which this service's clients are made and closed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from attendance_writer.batch import BatchLimits
from attendance_writer.dead_letters import DeadLetters, RejectionWindow
from attendance_writer.loop import LoopSettings, WriterLoop
from attendance_writer.metrics import WriterCounts, register
from attendance_writer.settings import WriterSettings
from attendance_writer.writes import BatchWriter
from shared.domain.events import DEAD_LETTER_TOPIC, PRESENCE_TOPIC, SENSITIVE_TOPIC, SIGN_IN_TOPIC, SYNTHETIC_TOPIC
from shared.kafka.consumer import CLOSE_SECONDS, GroupConsumer, GroupOptions, open_consumer
from shared.kafka.producer import open_producer
from shared.kafka.topics import DEAD_LETTER_ROOM_BYTES
from shared.runtime.admin import open_admin
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait
from shared.runtime.metrics import ProcessMetrics
from shared.runtime.settings import KafkaSettings, MongoSettings, TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.mongo.synthetic_attendance import MongoSyntheticAttendanceStore

log = logging.getLogger(__name__)

SERVICE = "attendance-writer"
TOPICS = (SIGN_IN_TOPIC, SENSITIVE_TOPIC, PRESENCE_TOPIC, SYNTHETIC_TOPIC)
"""What it reads."""
LAG_INTERVAL_SECONDS = 2.0
REVOKE_MARGIN_SECONDS = 5.0
"""Of the rebalance timeout, what is left for joining again."""


class AllSettings(msgspec.Struct, frozen=True):
    """Everything that the service is set up with."""

    writer: WriterSettings
    kafka: KafkaSettings
    mongo: MongoSettings
    telemetry: TelemetrySettings | None = None


def open_writer(settings: AllSettings) -> OpenService:
    """The service, for run_service."""

    @asynccontextmanager
    async def opened(lifecycle: Lifecycle) -> AsyncIterator[None]:
        writer = settings.writer
        counts = WriterCounts()
        async with AsyncExitStack() as stack:
            metrics = ProcessMetrics(SERVICE)
            stack.callback(metrics.close)
            clock = SystemClock()
            tracing = await stack.enter_async_context(open_telemetry(metrics, settings.telemetry))
            database = await stack.enter_async_context(open_mongo(settings.mongo, SERVICE, traced=tracing.is_on))
            producer = await stack.enter_async_context(
                open_producer(
                    _with_room(settings.kafka), SERVICE, writer.dead_letter_deadline_seconds, [DEAD_LETTER_TOPIC]
                )
            )
            window = RejectionWindow(writer.max_rejected_records, writer.rejection_window_records)
            batches = BatchWriter(
                MongoAttendanceStore(database),
                MongoPictureStore(database),
                MongoSyntheticAttendanceStore(database),
                MongoPresenceRecordStore(database),
                DeadLetters(producer, clock),
                window,
                counts,
                tracing,
            )
            loop = WriterLoop(_loop_settings(writer), batches, window, counts)
            register(
                metrics,
                counts,
                asyncio.get_running_loop().time,
                lambda: loop.oldest_age_seconds(clock.now_ms()),
            )
            port = await stack.enter_async_context(
                open_admin(lifecycle, writer.admin_host, writer.admin_port, metrics.registry)
            )
            log.info("admin port %d", port)
            working = lifecycle.spawn(_work(settings, loop, counts, clock), "writer-loop")
            stack.push_async_callback(_end, loop, working, writer.leave_seconds)
            yield

    return opened


async def _work(settings: AllSettings, loop: WriterLoop, counts: WriterCounts, clock: Clock) -> None:
    options = _group_options(settings.writer)
    async with open_consumer(settings.kafka, SERVICE, options, loop.on_revoked) as consumer:
        measuring = asyncio.ensure_future(_measure_lag(consumer, loop, counts, clock))
        try:
            await loop.run(consumer)
        finally:
            await cancel_and_wait(measuring)


async def _measure_lag(consumer: GroupConsumer, loop: WriterLoop, counts: WriterCounts, clock: Clock) -> None:
    while True:
        try:
            offsets = await consumer.offsets()
            counts.lag = sum(max(0, of_partition.end - of_partition.committed) for of_partition in offsets.values())
            loop.oldest.measured(offsets, clock.now_ms())
        except Unavailable as error:
            log.warning("%s", error)
        await asyncio.sleep(LAG_INTERVAL_SECONDS)


async def _end(loop: WriterLoop, working: asyncio.Task[None], leave_seconds: float) -> None:
    loop.stop()
    if loop.is_running:  # else the consumer still waits for its broker, and nothing is held
        await asyncio.wait([working], timeout=leave_seconds + CLOSE_SECONDS)
    await cancel_and_wait(working)


def _loop_settings(settings: WriterSettings) -> LoopSettings:
    limits = BatchLimits(settings.batch_max_records, settings.batch_max_bytes, settings.batch_max_age_ms / 1000)
    return LoopSettings(limits, settings.rebalance_timeout_seconds - REVOKE_MARGIN_SECONDS, settings.leave_seconds)


def _group_options(settings: WriterSettings) -> GroupOptions:
    return GroupOptions(
        group_id=settings.group_id,
        topics=TOPICS,
        max_poll_records=settings.batch_max_records,
        fetch_max_bytes=settings.batch_max_bytes,
        rebalance_timeout_ms=int(settings.rebalance_timeout_seconds * 1000),
    )


def _with_room(kafka: KafkaSettings) -> KafkaSettings:
    """For dead letters: the largest record, and the headers that say why it is one."""
    return kafka.model_copy(update={"max_message_bytes": kafka.max_message_bytes + DEAD_LETTER_ROOM_BYTES})
