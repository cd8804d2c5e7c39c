"""Group commit over a sender that a test holds in its hand; the real broker's part stands in tests/integration."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, SYNTHETIC_TOPIC, Record
from shared.kafka.producer import RecordTooLarge, record_size
from shared.runtime.unavailable import Unavailable
from tcp_ingress.group_commit import CommitBounds, GroupCommit

BOUNDS = CommitBounds(
    gather_seconds=0.02,
    batch_records=10,
    batch_bytes=100_000,
    max_in_flight_sign_ins=50,
    max_in_flight_bytes=1_000_000,
)


class HeldSender:
    """Keeps every batch until the test says how it ended."""

    max_batch_bytes = 200_000

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, list[bytes]]] = []
        self.outcomes: list[asyncio.Future[None]] = []
        self.known = True
        self.holds = True

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        self.batches.append((topic, partition, [record.value for record in records]))
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outcomes.append(outcome)
        if self.holds:
            await outcome

    def partition_for(self, _topic: str, key: bytes) -> int:
        if not self.known:
            raise Unavailable("Kafka: partitions not known")
        return key[0] % 2


def record(value: bytes, key: bytes = b"\x00", topic: str = SIGN_IN_TOPIC) -> Record:
    return Record(topic, key, value, (), 0)


def publish(
    commit: GroupCommit, value: bytes, *sensitive: bytes, key: bytes = b"\x00", seconds: float = 5
) -> "asyncio.Task[None]":
    deadline = asyncio.get_running_loop().time() + seconds
    parts = [record(part, key, SENSITIVE_TOPIC) for part in sensitive]

    async def published() -> None:
        await commit.publish(record(value, key), parts, deadline)

    return asyncio.ensure_future(published())


async def some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_design_1_what_comes_within_the_time_is_one_batch_a_partition() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    tasks = [publish(commit, b"a"), publish(commit, b"b", key=b"\x01"), publish(commit, b"c")]
    await some_turns()
    assert sender.batches == []
    await asyncio.sleep(0.03)
    assert sender.batches == [(SIGN_IN_TOPIC, 0, [b"a", b"c"]), (SIGN_IN_TOPIC, 1, [b"b"])]
    assert not any(task.done() for task in tasks)
    for outcome in sender.outcomes:
        outcome.set_result(None)
    await asyncio.gather(*tasks)


async def test_design_1_a_full_batch_goes_at_once_by_count_and_by_bytes() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, msgspec.structs.replace(BOUNDS, gather_seconds=60))
    tasks = [publish(commit, b"%d" % number) for number in range(10)]
    await some_turns()
    assert [len(values) for _, _, values in sender.batches] == [10]
    tasks += [publish(commit, bytes(60_000), key=b"\x01") for _ in range(2)]
    await some_turns()
    # two of 60,000 bytes are more than a batch takes: the first goes, the second follows it
    assert [len(values) for _, _, values in sender.batches] == [10, 1]
    sender.outcomes[1].set_result(None)
    await some_turns()
    assert [len(values) for _, _, values in sender.batches] == [10, 1, 1]
    for outcome in (sender.outcomes[0], sender.outcomes[2]):
        outcome.set_result(None)
    await asyncio.gather(*tasks)


async def test_design_1_the_next_batch_gathers_while_one_is_in_flight() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    tasks = [publish(commit, b"first")]
    await asyncio.sleep(0.03)
    tasks += [publish(commit, b"%d" % number) for number in range(15)]
    await asyncio.sleep(0.05)
    assert len(sender.batches) == 1
    sender.outcomes[0].set_result(None)
    await some_turns()
    assert tasks[0].done()
    assert sender.batches[1:] == [(SIGN_IN_TOPIC, 0, [b"%d" % number for number in range(10)])]
    sender.outcomes[1].set_result(None)
    await some_turns()
    assert sender.batches[2:] == [(SIGN_IN_TOPIC, 0, [b"%d" % number for number in range(10, 15)])]
    sender.outcomes[2].set_result(None)
    await asyncio.gather(*tasks)


async def test_a_synthetic_sign_in_has_batches_of_its_own_and_the_same_acknowledgement() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    deadline = asyncio.get_running_loop().time() + 5
    synthetic = record(b"measured", topic=SYNTHETIC_TOPIC)
    tasks = [publish(commit, b"real"), asyncio.ensure_future(commit.publish(synthetic, (), deadline))]
    await asyncio.sleep(0.06)
    assert sorted(sender.batches) == [(SIGN_IN_TOPIC, 0, [b"real"]), (SYNTHETIC_TOPIC, 0, [b"measured"])]
    real = [topic for topic, _, _ in sender.batches].index(SIGN_IN_TOPIC)
    sender.outcomes[real].set_result(None)
    await some_turns()
    # a synthetic batch that hangs holds up no real one, and is no success
    assert [task.done() for task in tasks] == [True, False]
    sender.outcomes[1 - real].set_result(None)
    await asyncio.gather(*tasks)
    assert (commit.sign_ins.records, commit.synthetic.records) == (1, 1)


async def test_design_9_the_sign_in_is_not_submitted_before_its_sensitive_records_are_acknowledged() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    task = publish(commit, b"event", b"picture", b"details")
    await asyncio.sleep(0.06)
    assert sender.batches == [(SENSITIVE_TOPIC, 0, [b"picture", b"details"])]
    sender.outcomes[0].set_result(None)
    await asyncio.sleep(0.03)
    assert sender.batches[1:] == [(SIGN_IN_TOPIC, 0, [b"event"])]
    assert not task.done()
    sender.outcomes[1].set_result(None)
    await task


async def test_design_9_a_sign_in_whose_picture_was_not_acknowledged_is_never_submitted() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    task = publish(commit, b"event", b"picture")
    await asyncio.sleep(0.03)
    sender.outcomes[0].set_exception(Unavailable("Kafka: MessageSizeTooLargeError"))
    with pytest.raises(Unavailable):
        await task
    await asyncio.sleep(0.03)
    assert [topic for topic, _, _ in sender.batches] == [SENSITIVE_TOPIC]


async def test_e6_at_its_deadline_a_sign_in_is_unavailable_and_what_still_waits_is_taken_out() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    in_flight = publish(commit, b"in flight", seconds=0.1)
    await asyncio.sleep(0.03)
    waiting = publish(commit, b"waiting", seconds=0.1)
    with pytest.raises(Unavailable, match="deadline"):
        await in_flight
    with pytest.raises(Unavailable, match="deadline"):
        await waiting
    assert (commit.in_flight_sign_ins, commit.in_flight_bytes) == (0, 0)
    later = publish(commit, b"later")
    await some_turns()
    sender.outcomes[0].set_result(None)
    await some_turns()
    assert [values for _, _, values in sender.batches] == [[b"in flight"], [b"later"]]
    sender.outcomes[1].set_result(None)
    await later


async def test_a_failed_batch_fails_each_of_its_sign_ins_and_the_next_one_goes() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    failed = [publish(commit, b"a"), publish(commit, b"b")]
    await asyncio.sleep(0.03)
    following = publish(commit, b"c")
    sender.outcomes[0].set_exception(Unavailable("Kafka: NotLeader"))
    outcomes = await asyncio.gather(*failed, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    await some_turns()
    sender.outcomes[1].set_result(None)
    await following


async def test_design_7_at_the_bound_of_count_or_bytes_it_refuses_at_once() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, msgspec.structs.replace(BOUNDS, max_in_flight_sign_ins=2))
    tasks = [publish(commit, b"a"), publish(commit, b"b")]
    await some_turns()
    with pytest.raises(Unavailable, match="too many"):
        await publish(commit, b"c")
    await asyncio.sleep(0.03)
    sender.outcomes[0].set_result(None)
    await asyncio.gather(*tasks)
    sender.holds = False
    await publish(commit, b"d")

    size = record_size(record(bytes(10_000)))
    commit = GroupCommit(sender, sender, msgspec.structs.replace(BOUNDS, max_in_flight_bytes=2 * size))
    sender.holds = True
    tasks = [publish(commit, bytes(10_000)), publish(commit, bytes(10_000))]
    await some_turns()
    with pytest.raises(Unavailable, match="too many"):
        await publish(commit, b"one byte more")
    await asyncio.sleep(0.03)
    sender.outcomes[-1].set_result(None)
    await asyncio.gather(*tasks)


async def test_design_1_a_record_that_is_too_large_is_refused_before_anything_of_it_is_sent() -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    with pytest.raises(RecordTooLarge):
        await publish(commit, bytes(200_000), b"picture")
    with pytest.raises(RecordTooLarge):
        await publish(commit, b"event", bytes(100_000), bytes(100_000))
    await asyncio.sleep(0.03)
    assert sender.batches == []
    assert commit.in_flight_sign_ins == 0


async def test_partitions_not_known_are_unavailable_and_leave_nothing_behind() -> None:
    sender = HeldSender()
    sender.known = False
    commit = GroupCommit(sender, sender, BOUNDS)
    with pytest.raises(Unavailable):
        await publish(commit, b"a", b"picture")
    assert (commit.in_flight_sign_ins, commit.in_flight_bytes) == (0, 0)


async def test_a_defect_in_a_send_does_not_stop_the_partition(caplog: pytest.LogCaptureFixture) -> None:
    sender = HeldSender()
    commit = GroupCommit(sender, sender, BOUNDS)
    lost = publish(commit, b"a", seconds=0.1)
    await asyncio.sleep(0.03)
    sender.outcomes[0].set_exception(RuntimeError("a defect"))
    with pytest.raises(Unavailable):
        await lost
    assert "a defect" in caplog.text
    following = publish(commit, b"b")
    await asyncio.sleep(0.03)
    sender.outcomes[1].set_result(None)
    await following
