"""Presence events on their way to Kafka: the newest of each device, in order, until it has them (design rule 6)."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest
from opentelemetry.trace import SpanKind

from shared.domain.events import PRESENCE_TOPIC, Record
from shared.domain.presence import PresenceEvent, PresenceState
from shared.kafka.presence_sender import MAX_A_ROUND, PresenceSender
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from tests.support.presence import make_presence
from tests.support.spans import KeptSpans, attributes, span_id, trace_id

ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED
PARTITIONS = 2


class Kafka:
    """Takes batches, or not."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[PresenceEvent]]] = []
        self.records: list[Record] = []
        self.down: set[int] = set()
        self.meanwhile: Callable[[], None] = lambda: None

    def partition_for(self, topic: str, key: bytes) -> int:
        assert topic == PRESENCE_TOPIC
        return key[-1] % PARTITIONS

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        assert topic == PRESENCE_TOPIC
        self.meanwhile()
        if partition in self.down:
            raise Unavailable("Kafka: not acknowledged within the deadline")
        events = [msgspec.json.decode(record.value, type=PresenceEvent) for record in records]
        assert [record.key.decode() for record in records] == [event.sn for event in events]
        self.batches.append((partition, events))
        self.records += records

    def told(self) -> list[tuple[str, PresenceState, int]]:
        return [(event.sn, event.state, event.epoch) for _, events in self.batches for event in events]


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def sender(kafka: Kafka) -> PresenceSender:
    return PresenceSender(kafka, max_waiting=2000)


async def test_events_go_as_one_batch_a_partition(kafka: Kafka, sender: PresenceSender) -> None:
    for number in range(6):
        sender.put(make_presence(sn=f"sn-{number}"))
    await sender.flush()
    assert [(partition, [event.sn for event in events]) for partition, events in kafka.batches] == [
        (0, ["sn-0", "sn-2", "sn-4"]),
        (1, ["sn-1", "sn-3", "sn-5"]),
    ]
    assert (len(sender), sender.sent) == (0, 6)


async def test_what_kafka_did_not_take_waits_and_the_newest_of_each_device_goes_out(
    kafka: Kafka, sender: PresenceSender
) -> None:
    kafka.down = {0, 1}
    for epoch in (1, 2):
        for state in (ONLINE, OFFLINE):
            sender.put(make_presence(state, epoch, sn="sn-1"))
            with pytest.raises(Unavailable):
                await sender.flush()
    assert len(sender) == 1
    kafka.down.clear()
    await sender.flush()
    assert kafka.told() == [("sn-1", OFFLINE, 2)]


async def test_a_change_before_online_was_told_becomes_part_of_it(kafka: Kafka, sender: PresenceSender) -> None:
    sender.put(make_presence(ONLINE, 1))
    sender.put(make_presence(CHANGED, 1, at="2026-11-24T06:00:09.000Z", device_version="v14"))
    await sender.flush()
    ((_, (event,)),) = kafka.batches
    assert (event.state, event.at, event.device_version) == (ONLINE, "2026-11-24T06:00:00.000Z", "v14")


async def test_an_event_that_comes_while_another_is_under_way_follows_it_as_it_is(
    kafka: Kafka, sender: PresenceSender
) -> None:
    sender.put(make_presence(ONLINE, 1))

    def change() -> None:
        kafka.meanwhile = lambda: None
        sender.put(make_presence(CHANGED, 1))

    kafka.meanwhile = change
    await sender.flush()
    assert [state for _, state, _ in kafka.told()] == [ONLINE, CHANGED]
    assert len(sender) == 0


async def test_a_partition_that_hangs_does_not_keep_the_others_waiting(kafka: Kafka, sender: PresenceSender) -> None:
    for number in range(MAX_A_ROUND):
        sender.put(make_presence(sn=f"first-{2 * number}"))
    for number in range(3):
        sender.put(make_presence(sn=f"then-{2 * number + 1}"))
    kafka.down = {0}
    for _ in range(2):
        with pytest.raises(Unavailable):
            await sender.flush()
    assert [sn for sn, _, _ in kafka.told()] == ["then-1", "then-3", "then-5"]
    assert len(sender) == MAX_A_ROUND


async def test_design_7_what_waits_is_bounded_and_a_newer_event_of_a_device_still_finds_room(kafka: Kafka) -> None:
    sender = PresenceSender(kafka, max_waiting=2)
    for number in range(3):
        sender.put(make_presence(sn=f"sn-{number}"))
    sender.put(make_presence(OFFLINE, sn="sn-1"))
    assert (len(sender), sender.dropped) == (2, 1)
    await sender.flush()
    assert sorted(kafka.told()) == [("sn-0", ONLINE, 1), ("sn-1", OFFLINE, 1)]


async def test_it_goes_on_after_kafka_was_away(
    kafka: Kafka, sender: PresenceSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.kafka.presence_sender.RETRY_SECONDS", 0.001)
    task = spawn(sender.run(), "sender")
    kafka.down = {0, 1}
    sender.put(make_presence())
    await asyncio.sleep(0.02)
    assert kafka.told() == []
    kafka.down.clear()
    await asyncio.sleep(0.02)
    task.cancel()
    assert [state for _, state, _ in kafka.told()] == [ONLINE]


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def traceparents(kafka: Kafka) -> list[str | None]:
    """Of all records that Kafka took."""
    headers = [dict(record.headers).get("traceparent") for record in kafka.records]
    return [None if value is None else value.decode() for value in headers]


async def test_an_event_of_a_sampled_request_carries_the_span_that_publishes_it_and_others_carry_nothing(
    kafka: Kafka, sender: PresenceSender
) -> None:
    kept = KeptSpans()
    with kept.tracing.start("frame", SpanKind.SERVER) as frame:
        sender.put(make_presence(sn="sn-1"), frame)
    sender.put(make_presence(sn="sn-3"))
    await sender.flush()
    published = kept.one(f"{PRESENCE_TOPIC} publish")
    assert published.kind is SpanKind.PRODUCER
    assert published.parent is not None
    assert published.parent.span_id == frame.context.span_id
    assert traceparents(kafka) == [f"00-{trace_id(published):032x}-{span_id(published):016x}-01", None]
    sender.put(make_presence(CHANGED, sn="sn-1"))
    await sender.flush()
    assert traceparents(kafka)[2:] == [None]


async def test_a_newer_event_does_not_inherit_the_trace_of_one_that_waited_but_what_becomes_part_of_it_does(
    kafka: Kafka, sender: PresenceSender
) -> None:
    kept = KeptSpans()
    with kept.tracing.start("frame", SpanKind.SERVER) as frame:
        for sn in ("gone", "changed"):
            sender.put(make_presence(ONLINE, 1, sn=sn), frame)
    sender.put(make_presence(OFFLINE, 1, sn="gone"))
    sender.put(make_presence(CHANGED, 1, sn="changed"))
    await sender.flush()
    traced = {record.key: "traceparent" in dict(record.headers) for record in kafka.records}
    assert traced == {b"gone": False, b"changed": True}


async def test_what_kafka_did_not_take_marks_its_span_and_is_traced_when_it_goes_out(
    kafka: Kafka, sender: PresenceSender
) -> None:
    kept = KeptSpans()
    with kept.tracing.start("frame", SpanKind.SERVER) as frame:
        sender.put(make_presence(), frame)
    kafka.down = {0, 1}
    with pytest.raises(Unavailable):
        await sender.flush()
    kafka.down = set()
    await sender.flush()
    failed, sent = kept.all(f"{PRESENCE_TOPIC} publish")
    assert attributes(failed)["error.type"] == "Unavailable"
    assert sent.status.is_unset
    assert traceparents(kafka) == [f"00-{trace_id(sent):032x}-{span_id(sent):016x}-01"]
