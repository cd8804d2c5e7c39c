"""An idempotent producer of whole batches that survives a refused batch and a hanging broker (design rule 1, ADR 0003).

1. Success means acks=all. Unavailable means *not known to be stored*: what was given up may still land.
2. At most one batch a partition is inside aiokafka. One that was given up keeps its partition until its outcome is
   known, so nothing overtakes it and nothing piles up; the sum of all of them is bounded.
3. aiokafka retries what may pass by itself, for ever. Whatever reaches a batch's future as an exception is therefore
   final, and leaves a gap in the partition's sequence numbers: every later batch would be refused (tried on 0.14).
   So the producer is replaced, once however many batches failed, and the old one is closed in the background.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from shared.domain.events import Record
from shared.kafka.connection import connection_options
from shared.runtime.lifecycle import cancel_and_wait
from shared.runtime.settings import KafkaSettings
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""aiokafka puts the ready batches of a broker into one request; brokers refuse one above 100 MiB
(socket.request.max.bytes)."""
METADATA_MAX_AGE_MS = 10_000
FIRST_START_SECONDS = 2.0
START_SECONDS = 10.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 2.0
CLOSE_SECONDS = 3.0
GIVE_UP_SECONDS = 0.5


class RecordTooLarge(Exception):
    """A record or batch is larger than the topics take; nothing was sent."""


def record_size(record: Record) -> int:
    """Upper bound of what the record takes in a batch, the batch's own header included."""
    return int(DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers)))


@lru_cache(maxsize=65_536)  # 10 µs of pure Python a key, and a device signs in all day
def _key_hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


class BatchProducer:
    """Sends batches of records, one a partition at a time. Made by open_producer."""

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        deadline_seconds: float,
        topics: Sequence[str],
        also: Sequence[str] = (),
    ) -> None:
        self.max_batch_bytes = settings.max_message_bytes
        self.replacements = 0
        self.in_flight_bytes = 0
        self._settings = settings
        self._client_id = client_id
        self._deadline_seconds = deadline_seconds
        self._topics = topics
        self._also = also
        self._partition_counts: dict[str, int] = {}
        self._unresolved: dict[TopicPartition, asyncio.Future[Any]] = {}
        self._producer: AIOKafkaProducer | None = None
        self._started = asyncio.Event()
        self._starting = spawn(self._start(), f"{client_id}-start")
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Returns when all records are acknowledged by all in-sync replicas. Call it for one batch a partition at a
        time. Raises RecordTooLarge, and Unavailable when that was not known within the deadline."""
        size = sum(map(record_size, records))
        if size > self.max_batch_bytes:
            raise RecordTooLarge(f"{size} bytes, at most {self.max_batch_bytes} are taken")
        try:
            async with asyncio.timeout(self._deadline_seconds):
                outcome = await self._submit(TopicPartition(topic, partition), records, size)
                await asyncio.wait([outcome])
        except TimeoutError:
            raise Unavailable("Kafka: not acknowledged within the deadline") from None
        if (error := outcome.exception()) is not None:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error

    def partition_for(self, topic: str, key: bytes) -> int:
        """The partition that Java's default partitioner gives the key. Raises Unavailable while the topic's
        partitions are not known."""
        if self._producer is not None:
            known = self._producer.client.cluster.partitions_for_topic(topic)
            if known:
                self._partition_counts[topic] = len(known)
            else:
                self._producer.client.add_topic(topic)
        count = self._partition_counts.get(topic)
        if count is None:
            raise Unavailable(f"Kafka: partitions of {topic} not known")
        return _key_hash(key) % count

    async def _submit(self, place: TopicPartition, records: Sequence[Record], size: int) -> asyncio.Future[Any]:
        while (given_up := self._unresolved.get(place)) is not None:
            await asyncio.wait([given_up])
        await self._started.wait()
        producer = self._producer
        if self.in_flight_bytes + size > MAX_IN_FLIGHT_BYTES:
            raise Unavailable("Kafka: too many bytes in flight")
        if producer is None:  # replaced between the event and now
            raise Unavailable("Kafka: producer is being replaced")
        batch = producer.create_batch()
        for record in records:
            appended = batch.append(
                timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers)
            )
            if appended is None:
                raise RecordTooLarge("the records do not fit one batch")
        batch.close()
        try:
            outcome: asyncio.Future[Any] = await producer.send_batch(batch, place.topic, partition=place.partition)
        except (UnknownTopicOrPartitionError, TopicAuthorizationFailedError, ProducerClosed) as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        except KafkaError as error:
            self._replace(producer, error)
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        self._unresolved[place] = outcome
        self.in_flight_bytes += size
        outcome.add_done_callback(partial(self._resolved, place, size, producer))
        return outcome

    def _resolved(
        self, place: TopicPartition, size: int, producer: AIOKafkaProducer, outcome: asyncio.Future[Any]
    ) -> None:
        del self._unresolved[place]
        self.in_flight_bytes -= size
        if (error := outcome.exception()) is not None:
            self._replace(producer, error)

    def _replace(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        if producer is not self._producer:
            return
        self.replacements += 1
        log.error("producer %s is replaced after %s", self._client_id, type(error).__name__)
        self._producer = None
        self._started.clear()
        self._starting = spawn(self._start(), f"{self._client_id}-start")
        closing = spawn(_close(producer), f"{self._client_id}-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _start(self) -> None:
        """Starts a producer, for as long as it takes; partitions of the topics are known before the first send."""
        pause = FIRST_RETRY_SECONDS
        while True:
            producer = self._new_producer()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await producer.start()
                    producer.client.set_topics([*self._topics, *self._also])
                    for topic in self._topics:
                        await producer.partitions_for(topic)
            except (KafkaError, TimeoutError, OSError) as error:
                if pause == FIRST_RETRY_SECONDS:
                    log.warning("producer %s cannot start, tried again: %s", self._client_id, type(error).__name__)
                await _close(producer)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
            except asyncio.CancelledError:
                await _close(producer)
                raise
            else:
                if pause > FIRST_RETRY_SECONDS:
                    log.info("producer %s has started", self._client_id)
                self._producer = producer
                self._started.set()
                return

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **connection_options(self._settings, self._client_id),
            enable_idempotence=True,
            acks="all",
            max_batch_size=self.max_batch_bytes,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )

    async def wait_started(self, seconds: float) -> None:
        """Waits until the producer has started, or the time has passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._started.wait(), seconds)

    async def close(self) -> None:
        """Lets what is in flight land within a bound, and closes."""
        await cancel_and_wait(self._starting)
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)
        await asyncio.gather(*self._closing)


async def _close(producer: AIOKafkaProducer) -> None:
    """Closes a producer: flushes for CLOSE_SECONDS, then gives up what still hangs. Never raises."""
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait([stopping], timeout=CLOSE_SECONDS)
    if not done:
        # stop() waits for every batch, however long the broker hangs, and aiokafka has no public way to give them up.
        # The sender first, since it stumbles over batches that end under its hands; cancelled once it waits for its
        # requests, which the closed client ends, and cancelled again it ends them.
        sender = producer._sender.sender_task
        await producer.client.close()
        for _ in range(2):
            sender.cancel()
            await asyncio.wait([sender], timeout=GIVE_UP_SECONDS)
        producer._message_accumulator.fail_all(ProducerClosed())
        await asyncio.wait([stopping], timeout=GIVE_UP_SECONDS)
    await cancel_and_wait(stopping)
    await producer.client.close()


@asynccontextmanager
async def open_producer(
    settings: KafkaSettings,
    client_id: str,
    deadline_seconds: float,
    topics: Sequence[str] = (),
    also: Sequence[str] = (),
) -> AsyncIterator[BatchProducer]:
    """A producer whose sends end within the deadline. A broker that is away does not stop this from opening; nor does
    a topic of `also` that is not there keep it from sending to the others."""
    producer = BatchProducer(settings, client_id, deadline_seconds, topics, also)
    await producer.wait_started(FIRST_START_SECONDS)
    try:
        yield producer
    finally:
        await producer.close()
