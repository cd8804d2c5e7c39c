"""The loop over a source and a writer in memory: what is committed, when, and what never is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from aiokafka import TopicPartition

from attendance_writer.batch import Batch, BatchLimits
from attendance_writer.dead_letters import RejectionWindow, TooManyRejected
from attendance_writer.loop import LoopSettings, WriterLoop
from attendance_writer.metrics import WriterCounts
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import SIGN_IN_TOPIC, ConsumedRecord
from shared.kafka.consumer import PartitionsLost, RecordsLost
from shared.runtime.unavailable import Unavailable
from tests.support.attendance import RECEIVED_MS, consumed, event_record, make_event
from tests.support.waiting import eventually

PLACE = (SIGN_IN_TOPIC, 0)


class Topic:
    """A source of one partition that gives a few records a poll, and a log of what happened to them."""

    def __init__(self, count: int) -> None:
        self.records = [consumed(event_record(make_event()), offset) for offset in range(count)]
        self.position = 0
        self.committed = 0
        self.happened: list[str] = []
        self.held = False
        self.poll_faults: list[Exception] = []
        self.commit_faults: list[Exception] = []
        self.before_commit: Callable[[], Awaitable[None]] | None = None

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]:
        if self.poll_faults:
            raise self.poll_faults.pop(0)
        polled = self.records[self.position : self.position + 3]
        self.position += len(polled)
        await asyncio.sleep(0 if polled else timeout_seconds)
        return polled

    async def stay(self) -> None:
        self.held = True
        self.happened.append("stay")

    def resume(self) -> None:
        self.held = False

    async def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        if self.before_commit is not None:
            await self.before_commit()
        if self.commit_faults:
            raise self.commit_faults.pop(0)
        self.committed = next_offsets[PLACE]
        self.happened.append(f"commit {self.committed}")


class Database:
    """A writer that stores by id, or fails, or hangs."""

    def __init__(self, topic: Topic) -> None:
        self.stored: list[int] = []
        self.faults: list[Exception] = []
        self.hangs = False
        self._topic = topic

    async def write(self, batch: Batch) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.faults:
            self._topic.happened.append("fault")
            raise self.faults.pop(0)
        offsets = [record.offset for record, _ in batch.of_kind(AttendanceEvent)]
        self.stored += offsets
        self._topic.happened.append(f"write {offsets[-1] + 1 if offsets else 'nothing'}")


class World:
    """A loop between a topic and a database."""

    def __init__(self, count: int, *, records: int = 5, age_seconds: float = 0.02, max_rejected: int = 0) -> None:
        self.topic = Topic(count)
        self.database = Database(self.topic)
        self.counts = WriterCounts()
        window = RejectionWindow(max_rejected, 1000)
        settings = LoopSettings(BatchLimits(records, 10**9, age_seconds), revoke_seconds=0.2, leave_seconds=0.2)
        self.loop = WriterLoop(settings, self.database, window, self.counts)

    async def run_until(self, is_so: Callable[[], bool]) -> None:
        running = asyncio.ensure_future(self.loop.run(self.topic))
        await eventually(lambda: is_so() or running.done())
        self.loop.stop()
        await running


async def test_everything_is_written_and_each_commit_follows_its_write() -> None:
    world = World(20)
    await world.run_until(lambda: world.topic.committed == 20)
    assert world.database.stored == list(range(20))
    writes = [entry.split() for entry in world.topic.happened]
    assert [kind for kind, _ in writes] == ["write", "commit"] * (len(writes) // 2)
    assert all(writes[n][1] == writes[n + 1][1] for n in range(0, len(writes), 2))


async def test_a_batch_is_written_at_its_count_or_at_its_age() -> None:
    world = World(7, records=5)
    await world.run_until(lambda: world.topic.committed == 7)
    assert [entry for entry in world.topic.happened if "commit" in entry] == ["commit 6", "commit 7"]
    assert world.counts.batches == 2


async def test_what_may_pass_is_tried_again_and_nothing_is_skipped_or_committed_meanwhile() -> None:
    world = World(6, records=6)
    world.database.faults = [Unavailable("away"), Unavailable("away")]
    await world.run_until(lambda: world.topic.committed == 6)
    assert world.topic.happened == ["fault", "stay", "fault", "stay", "write 6", "commit 6"]
    assert world.counts.retries == 2
    assert not world.topic.held


async def test_a_commit_that_fails_is_followed_by_another_write_and_another_commit() -> None:
    world = World(6, records=6)
    world.topic.commit_faults = [Unavailable("no coordinator")]
    await world.run_until(lambda: world.topic.committed == 6)
    assert world.topic.happened == ["write 6", "stay", "write 6", "commit 6"]


async def test_a_poll_that_may_pass_is_tried_again() -> None:
    world = World(3)
    world.topic.poll_faults = [Unavailable("no leader")]
    await world.run_until(lambda: world.topic.committed == 3)
    assert world.database.stored == [0, 1, 2]


@pytest.mark.parametrize(
    ("begin", "lost"), [pytest.param(57, 12, id="deleted"), pytest.param(3, 0, id="a log cut short: read again")]
)
async def test_lost_records_are_counted_and_what_is_left_is_read(begin: int, lost: int) -> None:
    world = World(3)
    world.topic.poll_faults = [RecordsLost(TopicPartition(*PLACE), 45, begin)]
    await world.run_until(lambda: world.topic.committed == 3)
    assert world.counts.lost == lost
    assert world.database.stored == [0, 1, 2]


async def test_what_was_lost_is_passed_over_for_good_though_nothing_comes_after_it() -> None:
    world = World(0)
    world.topic.poll_faults = [RecordsLost(TopicPartition(*PLACE), 45, 57)]
    await world.run_until(lambda: world.counts.lost == 12)
    assert world.topic.happened == ["write nothing", "commit 57"]


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), TimeoutError("a bug"), OSError("a bug")])
async def test_a_fault_that_is_not_known_to_pass_ends_the_loop_uncommitted(fault: Exception) -> None:
    world = World(6)
    world.database.faults = [fault]
    with pytest.raises(type(fault), match="a bug"):
        await world.run_until(lambda: world.topic.committed == 6)
    assert world.topic.committed == 0


async def test_partitions_lost_at_the_commit_drop_the_batch_and_the_loop_goes_on() -> None:
    world = World(12, records=6)
    world.topic.commit_faults = [PartitionsLost("rebalanced")]
    await world.run_until(lambda: world.topic.committed == 12)
    assert world.topic.happened == ["write 6", "write 12", "commit 12"]


async def test_too_much_poison_ends_the_loop_with_a_clear_message_and_commits_none_of_it() -> None:
    world = World(6, records=6, max_rejected=2)
    for offset in (1, 3, 4):
        good = world.topic.records[offset]
        world.topic.records[offset] = ConsumedRecord(good.topic, 0, offset, good.key, b"poison", good.headers)
    with pytest.raises(TooManyRejected, match="3 of the last 5 records were rejected, more than 2"):
        await world.run_until(lambda: world.topic.committed == 6)
    assert world.topic.committed == 0


async def test_stopping_writes_and_commits_what_was_read() -> None:
    world = World(4, records=100, age_seconds=60)
    world.topic.records = world.topic.records[:3]
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    assert world.topic.committed == 0
    world.loop.stop()
    async with asyncio.timeout(3):
        await running
    assert world.topic.happened == ["write 3", "commit 3"]


async def test_stopping_while_the_database_is_away_ends_in_time_and_commits_nothing() -> None:
    world = World(6)
    world.database.hangs = True
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    world.loop.stop()
    async with asyncio.timeout(3):
        await running
    assert world.topic.committed == 0


async def test_a_revocation_writes_and_commits_what_was_read_first() -> None:
    world = World(3, records=100, age_seconds=60)
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    await world.loop.on_revoked()
    assert world.topic.happened == ["write 3", "commit 3"]
    world.loop.stop()
    await running


async def test_a_revocation_waits_for_the_batch_that_is_being_written() -> None:
    world = World(6, records=6)
    released = asyncio.Event()

    async def wait() -> None:
        await released.wait()

    world.topic.before_commit = wait
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    revoking = asyncio.ensure_future(world.loop.on_revoked())
    await asyncio.sleep(0.05)
    assert not revoking.done()
    released.set()
    await revoking
    assert world.topic.committed == 6
    world.loop.stop()
    await running


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_revocation_does_not_outlast_its_time_and_nothing_of_the_lost_partitions_is_committed(
    hangs: bool,
) -> None:
    world = World(6, records=6)
    world.database.hangs = hangs
    world.database.faults = [Unavailable("away")] * 1000
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await world.loop.on_revoked()
    world.database.hangs = False
    world.database.faults = []
    await asyncio.sleep(0.3)
    assert world.topic.committed == 0
    world.topic.position = 0  # as the next assignment does: from the committed offset
    await eventually(lambda: world.topic.committed == 6)
    assert world.database.stored == list(range(6))
    world.loop.stop()
    await running


async def test_a_commit_that_hangs_is_given_up_when_the_partitions_go() -> None:
    world = World(6, records=6)

    async def hang() -> None:
        await asyncio.Event().wait()

    world.topic.before_commit = hang
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await world.loop.on_revoked()
    assert world.topic.committed == 0
    world.loop.stop()
    await running


async def test_stopping_while_a_batch_is_being_given_up_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(6, records=6)
    cancelled = asyncio.Event()

    async def write_that_ends_slowly(batch: Batch) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
            await asyncio.sleep(0.1)

    monkeypatch.setattr(world.database, "write", write_that_ends_slowly)
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    revoking = asyncio.ensure_future(world.loop.on_revoked())
    async with asyncio.timeout(3):
        await cancelled.wait()
        world.loop.stop()
        await revoking
        await running
    assert world.topic.committed == 0


async def test_a_failure_during_a_revocation_ends_the_loop_and_is_not_tried_again() -> None:
    world = World(3, records=100, age_seconds=0.5)
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.05)
    world.database.faults = [RuntimeError("a bug")]
    await world.loop.on_revoked()
    with pytest.raises(RuntimeError, match="a bug"):
        async with asyncio.timeout(3):
            await running
    assert world.topic.happened == ["fault"]


async def test_after_a_failure_a_revocation_commits_nothing() -> None:
    world = World(6, records=100, max_rejected=0)
    good = world.topic.records[1]
    world.topic.records[1] = ConsumedRecord(good.topic, 0, 1, good.key, b"poison", good.headers)
    with pytest.raises(TooManyRejected):
        await world.loop.run(world.topic)
    await world.loop.on_revoked()
    assert world.topic.happened == []


async def test_a_revocation_before_anything_was_read_is_nothing() -> None:
    world = World(0)
    await world.loop.on_revoked()
    assert world.topic.happened == []


async def test_a_poll_that_waits_for_a_rebalance_does_not_keep_the_writer_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attendance_writer.loop.POLL_ENDS_SECONDS", 0.05)
    world = World(0)

    async def wait_for_ever(timeout_seconds: float) -> Sequence[ConsumedRecord]:
        await asyncio.sleep(3600)
        raise AssertionError(timeout_seconds)

    monkeypatch.setattr(world.topic, "poll", wait_for_ever)
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await asyncio.sleep(0.02)
    world.loop.stop()
    async with asyncio.timeout(1):
        await running
    assert world.topic.happened == []


async def test_the_age_of_what_is_held_grows_while_the_database_hangs_and_is_0_when_all_is_committed() -> None:
    world = World(4, records=4)
    world.database.hangs = True
    running = asyncio.ensure_future(world.loop.run(world.topic))
    await eventually(lambda: world.loop.oldest_age_seconds(RECEIVED_MS + 60_000) > 0)
    assert world.loop.oldest_age_seconds(RECEIVED_MS + 60_000) == 60.0
    assert world.loop.oldest_age_seconds(RECEIVED_MS + 90_000) == 90.0
    world.loop.stop()  # given up, uncommitted: of what is not fetched only a measurement tells
    await running
    assert world.loop.oldest_age_seconds(RECEIVED_MS + 90_000) == 0
    world.loop.oldest.measured({PLACE: (0, 4)}, RECEIVED_MS + 90_000)
    assert world.loop.oldest_age_seconds(RECEIVED_MS + 95_000) == 5.0


async def test_a_commit_ends_the_age_of_what_a_measurement_had_seen() -> None:
    world = World(4)
    world.loop.oldest.measured({PLACE: (0, 4)}, RECEIVED_MS)
    await world.run_until(lambda: world.topic.committed == 4)
    assert world.loop.oldest_age_seconds(RECEIVED_MS + 60_000) == 0
