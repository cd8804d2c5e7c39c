"""Group commit: the sign-ins of all connections become one batch a partition every few milliseconds (design rule 1).

1. Sensitive records are acknowledged before their sign-in's record is submitted (design rule 9).
2. One batch a partition is in flight; the next one gathers meanwhile, so that a partition keeps its order.
3. A sign-in's outcome is known by its deadline, whatever the broker does: what still waits then is taken out.
4. Sign-ins and bytes between receipt and outcome are bounded; at the bound publish refuses at once (design rule 7).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, SYNTHETIC_TOPIC, Record
from shared.kafka.producer import RecordTooLarge, record_size
from shared.kafka.record_spans import TRACEPARENT_BYTES, publish_span, with_traceparent
from shared.runtime.tasks import spawn
from shared.runtime.tracing import SampledSpan
from shared.runtime.unavailable import Unavailable
from tcp_ingress.deadlines import Deadlines


class BatchSender(Protocol):
    """What group commit asks of shared.kafka.producer.BatchProducer."""

    max_batch_bytes: int

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None: ...

    def partition_for(self, topic: str, key: bytes) -> int: ...


class CommitBounds(msgspec.Struct, frozen=True, kw_only=True):
    """When a batch is full, and how much may be under way."""

    gather_seconds: float
    batch_records: int
    batch_bytes: int
    max_in_flight_sign_ins: int
    max_in_flight_bytes: int


class _Waiting(NamedTuple):
    records: Sequence[Record]
    size: int
    outcome: asyncio.Future[None]


class _Lane:
    """What waits for one partition."""

    __slots__ = ("busy", "bytes", "queue")

    def __init__(self) -> None:
        self.queue: deque[_Waiting] = deque()
        self.bytes = 0
        self.busy = False


class TopicCommit:
    """Gathers the records of one topic and sends them, one batch a partition at a time."""

    def __init__(self, sender: BatchSender, topic: str, bounds: CommitBounds) -> None:
        self.batches = 0
        self.records = 0
        self.topic = topic
        self._sender = sender
        self._bounds = bounds
        self._lanes: dict[int, _Lane] = {}
        self._gathering: asyncio.TimerHandle | None = None

    def put(self, records: Sequence[Record], size: int, outcome: "asyncio.Future[None]") -> None:
        """The records go into one batch, and `outcome` is theirs; where it is done before they left, they never do.
        Raises Unavailable while the topic's partitions are not known."""
        partition = self._sender.partition_for(self.topic, records[0].key)
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane()
        lane.queue.append(_Waiting(records, size, outcome))
        lane.bytes += size
        if lane.busy:
            return
        if lane.bytes >= self._bounds.batch_bytes or len(lane.queue) >= self._bounds.batch_records:
            self._submit(partition, lane)
        elif self._gathering is None:
            # One timer for all partitions: batches submitted together share one request to the broker.
            self._gathering = outcome.get_loop().call_later(self._bounds.gather_seconds, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        for partition, lane in self._lanes.items():
            if lane.queue and not lane.busy:
                self._submit(partition, lane)

    def _submit(self, partition: int, lane: _Lane) -> None:
        lane.busy = True
        spawn(self._send_queue(partition, lane), f"commit-{self.topic}-{partition}")

    async def _send_queue(self, partition: int, lane: _Lane) -> None:
        try:
            while batch := self._take(lane):
                await self._send(partition, batch)
        finally:
            lane.busy = False

    def _take(self, lane: _Lane) -> list[_Waiting]:
        """The next batch: what fits, without what its waiters gave up."""
        batch: list[_Waiting] = []
        size = 0
        queue = lane.queue
        while queue and len(batch) < self._bounds.batch_records:
            waiting = queue[0]
            if not waiting.outcome.done():
                if batch and size + waiting.size > self._bounds.batch_bytes:
                    break
                batch.append(waiting)
                size += waiting.size
            queue.popleft()
            lane.bytes -= waiting.size
        return batch

    async def _send(self, partition: int, batch: list[_Waiting]) -> None:
        records = [record for waiting in batch for record in waiting.records]
        self.batches += 1
        self.records += len(records)
        try:
            await self._sender.send(self.topic, partition, records)
        except (Unavailable, RecordTooLarge) as error:
            for waiting in batch:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(Unavailable(str(error)))
        else:
            for waiting in batch:
                if not waiting.outcome.done():
                    waiting.outcome.set_result(None)


class GroupCommit:
    """Makes sign-ins durable."""

    def __init__(self, sign_ins: BatchSender, sensitive: BatchSender, bounds: CommitBounds) -> None:
        self.in_flight_sign_ins = 0
        self.in_flight_bytes = 0
        self.sign_ins = TopicCommit(sign_ins, SIGN_IN_TOPIC, bounds)
        self.synthetic = TopicCommit(sign_ins, SYNTHETIC_TOPIC, bounds)
        self.sensitive = TopicCommit(sensitive, SENSITIVE_TOPIC, bounds)
        self._bounds = bounds
        self._deadlines = Deadlines("Kafka: not acknowledged within the deadline")
        self._max_batch_bytes = min(sign_ins.max_batch_bytes, sensitive.max_batch_bytes)

    def publish(
        self, sign_in: Record, sensitive: Sequence[Record], deadline: float, span: SampledSpan | None = None
    ) -> "asyncio.Future[None]":
        """The outcome, done once every record is acknowledged: Unavailable where that is not known by the deadline,
        which is of the loop's clock. Cancelling it takes out what still waits. `span` is the sign-in's.

        Raises Unavailable where too much is under way; RecordTooLarge where the topics do not take a record of this
        size. Nothing is sent then.
        """
        header = 0 if span is None else TRACEPARENT_BYTES
        sign_in_size = record_size(sign_in) + header
        sensitive_size = sum(map(record_size, sensitive)) + header * len(sensitive)
        if max(sign_in_size, sensitive_size) > self._max_batch_bytes:
            raise RecordTooLarge(f"{max(sign_in_size, sensitive_size)} bytes")
        size = sign_in_size + sensitive_size
        if (
            self.in_flight_sign_ins >= self._bounds.max_in_flight_sign_ins
            or self.in_flight_bytes + size > self._bounds.max_in_flight_bytes
        ):
            raise Unavailable("too many sign-ins under way")
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        commit = self.synthetic if sign_in.topic == SYNTHETIC_TOPIC else self.sign_ins
        if sensitive:
            stored: asyncio.Future[None] = outcome.get_loop().create_future()
            _put(self.sensitive, sensitive, sensitive_size, stored, span)
            stored.add_done_callback(partial(_publish_next, commit, sign_in, sign_in_size, outcome, span))
            outcome.add_done_callback(lambda _ended: stored.cancel())  # what was given up is not sent (rule 3)
        else:
            _put(commit, (sign_in,), sign_in_size, outcome, span)
        self.in_flight_sign_ins += 1
        self.in_flight_bytes += size
        outcome.add_done_callback(partial(self._ended, size))
        self._deadlines.watch(outcome, deadline)
        return outcome

    def _ended(self, size: int, _outcome: "asyncio.Future[None]") -> None:
        self.in_flight_sign_ins -= 1
        self.in_flight_bytes -= size


def _publish_next(
    commit: TopicCommit,
    sign_in: Record,
    size: int,
    outcome: "asyncio.Future[None]",
    span: SampledSpan | None,
    stored: "asyncio.Future[None]",
) -> None:
    """The sensitive records are acknowledged, or never will be (rule 1)."""
    error = None if stored.cancelled() else stored.exception()
    if outcome.done():
        return
    if error is None:
        _put(commit, (sign_in,), size, outcome, span)
    else:
        outcome.set_exception(error)


def _put(
    commit: TopicCommit,
    records: Sequence[Record],
    size: int,
    outcome: "asyncio.Future[None]",
    span: SampledSpan | None,
) -> None:
    if span is not None:
        publishing = publish_span(span, commit.topic)
        outcome.add_done_callback(partial(_end_span, publishing))
        records = [with_traceparent(record, publishing) for record in records]
    try:
        commit.put(records, size, outcome)
    except Unavailable as error:
        outcome.set_exception(error)


def _end_span(span: SampledSpan, outcome: "asyncio.Future[None]") -> None:
    if outcome.cancelled():
        span.fail("CancelledError")
    elif (error := outcome.exception()) is not None:
        span.fail(type(error).__name__)
    span.end()
