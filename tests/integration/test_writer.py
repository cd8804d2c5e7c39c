"""The writer between a real broker and a real database (design rules 9 and 10)."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest

from attendance_writer.dead_letters import TooManyRejected
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import Record
from shared.kafka.consumer import GroupConsumer
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import Added
from shared.stores.mongo.client import Database
from stack.kafka_part import KafkaPart
from stack.mongo_part import MongoPart
from tests.support.attendance import (
    RECEIVED_MS,
    details_record,
    event_record,
    make_event,
    picture_record,
    with_picture,
)
from tests.support.waiting import eventually
from tests.support.writers import (
    Crash,
    TestWriter,
    dead_letters_with,
    fresh_group,
    opened_database,
    produce,
    running,
    uncommitted,
)


async def assert_stored_once(writer: TestWriter, event: AttendanceEvent) -> None:
    record = await writer.attendance.find(event.event_id)
    assert record is not None
    assert record.event == event
    assert record.has_image is (event.image is not None)
    assert (await writer.pictures.picture(event.event_id) is not None) is (event.image is not None)


Arrange = Callable[[Record, Record], list[Record]]


@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(lambda event, picture: [picture, event], id="picture before event"),
        pytest.param(lambda event, picture: [event, picture], id="event before picture"),
        pytest.param(lambda event, picture: [picture, event] * 2, id="picture before event, each twice"),
        pytest.param(lambda event, picture: [event, picture] * 2, id="event before picture, each twice"),
        pytest.param(lambda event, picture: [event, event, picture, picture], id="both events before both pictures"),
    ],
)
async def test_design_9_event_and_picture_meet_in_whichever_order_they_come(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, arrange: Arrange
) -> None:
    event = with_picture(make_event(sn="meets"))
    group_id = await fresh_group(kafka_settings)
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            for record in arrange(event_record(event), picture_record(event)):
                # one at a time and awaited: the order between two topics is the order of arrival
                before = writer.counts.batches
                await produce(kafka_settings, [record])
                await eventually(lambda before=before: writer.counts.batches > before)
            await assert_stored_once(writer, event)
        assert await database["attendance"].count_documents({}) == 1
        assert await database["pictures"].count_documents({}) == 1
        assert writer.counts.stored == 1
        assert writer.counts.pictures == 1
    assert await uncommitted(kafka_settings, group_id) == 0


CRASH_POINTS = [
    ("pictures", "add_many"),
    ("pictures", "_link"),
    ("pictures", "add_details"),
    ("attendance", "add_many"),
    ("attendance", "_link"),
    ("dead_letters", "send"),
    ("consumer", "commit"),
]


@pytest.mark.parametrize("point", CRASH_POINTS, ids=[".".join(point) for point in CRASH_POINTS])
async def test_design_10_after_a_crash_between_any_two_steps_everything_is_stored_once(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, point: tuple[str, str]
) -> None:
    events = [with_picture(make_event(sn=f"crash-{number % 3}")) for number in range(10)]
    plain = [make_event(sn="crash-plain") for _ in range(3)]
    records = [
        record for event in events for record in (picture_record(event), details_record(event, extra='{"x":1}'))
    ] + [event_record(event) for event in events + plain]
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, records)
    async with opened_database(mongo_settings) as database:
        crashing = TestWriter(kafka_settings, database, group_id)
        crashing.crash_points = [point]
        with pytest.raises(Crash):
            async with asyncio.timeout(30):
                await crashing.run()
        assert await uncommitted(kafka_settings, group_id) == len(records)
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually_committed(kafka_settings, group_id)
            for event in events + plain:
                await assert_stored_once(writer, event)
            extra = await writer.pictures.extra([event.event_id for event in events])  # noqa: S610 - not Django's
            assert extra == {event.event_id: '{"x":1}' for event in events}
        assert await database["attendance"].count_documents({}) == 13
        assert await database["pictures"].count_documents({}) == 10


@pytest.mark.parametrize("late", ["picture", "event"])
async def test_design_9_a_crash_before_the_link_loses_no_link_though_the_other_side_is_long_committed(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, late: str
) -> None:
    event = with_picture(make_event(sn="late"))
    first, second = event_record(event), picture_record(event)
    if late == "event":
        first, second = second, first
    group_id = await fresh_group(kafka_settings)
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)):
            await produce(kafka_settings, [first])
            await eventually_committed(kafka_settings, group_id)
        await produce(kafka_settings, [second])
        crashing = TestWriter(kafka_settings, database, group_id)
        crashing.crash_points = [("pictures" if late == "picture" else "attendance", "_link")]
        with pytest.raises(Crash):
            async with asyncio.timeout(30):
                await crashing.run()
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually_committed(kafka_settings, group_id)
            await assert_stored_once(writer, event)


async def eventually_committed(kafka: KafkaSettings, group_id: str) -> None:
    async def is_so() -> bool:
        return await uncommitted(kafka, group_id) == 0

    await eventually(is_so, seconds=40)


async def test_what_was_committed_is_not_read_again_and_what_was_not_is(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    async with opened_database(mongo_settings) as database:
        first, second = make_event(sn="again"), make_event(sn="again")
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await produce(kafka_settings, [event_record(first)])
            await eventually(lambda: writer.counts.stored == 1)
        await produce(kafka_settings, [event_record(second)])
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually(lambda: writer.counts.stored == 1)
        assert writer.counts.duplicates == 0


async def test_a_resend_counts_as_a_duplicate_and_changes_nothing(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    async with opened_database(mongo_settings) as database:
        event = make_event(sn="resend", temperature=36.5)
        resend = msgspec.structs.replace(event, temperature=39.0)
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await produce(kafka_settings, [event_record(event), event_record(resend), event_record(resend)])
            await eventually(lambda: writer.counts.stored + writer.counts.duplicates == 3)
            assert (writer.counts.stored, writer.counts.duplicates) == (1, 2)
            await assert_stored_once(writer, event)


async def test_f3_a_picture_of_2_9_mb_passes_though_it_is_larger_than_a_fetch(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    large = bytes(range(256)) * 11_328
    event = make_event(sn="large")
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        await produce(kafka_settings, [picture_record(event, large), event_record(event)])
        await eventually(lambda: writer.counts.stored == 1 and writer.counts.pictures == 1)
        picture = await writer.pictures.picture(event.event_id)
        assert picture is not None
        assert picture.data == large


async def test_poison_goes_to_the_dead_letter_topic_with_its_bytes_and_reason_and_the_rest_is_stored(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    event, other = make_event(sn="poison"), make_event(sn="poison")
    value = b"\x00not json" + event.event_id.encode()
    poison = msgspec.structs.replace(event_record(event), value=value)
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await produce(kafka_settings, [poison, event_record(other)])
            await eventually(lambda: writer.counts.stored == 1)
        assert await writer.attendance.find(event.event_id) is None
    assert await uncommitted(kafka_settings, group_id) == 0
    (letter,) = await dead_letters_with(kafka_settings, value)
    assert letter.key == b"poison"
    headers = dict(letter.headers)
    assert headers["ce_id"] == event.event_id.encode()
    assert (headers["dl_reason"], headers["dl_topic"]) == (b"invalid-json", b"attendance.sign-in.v1")
    assert {"dl_partition", "dl_offset", "dl_detail"} <= headers.keys()


async def test_a_document_that_the_database_refuses_is_a_dead_letter_alone(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    # an integer that no BSON type holds; the event's id is right
    refused, good = make_event(sn="refused", type=2**70), [make_event(sn="refused") for _ in range(5)]
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await produce(kafka_settings, [event_record(event) for event in [*good[:2], refused, *good[2:]]])
            await eventually(lambda: writer.counts.stored == 5)
            for event in good:
                await assert_stored_once(writer, event)
        assert writer.counts.dead_letters["refused-by-the-database"] == 1
    assert await uncommitted(kafka_settings, group_id) == 0
    (letter,) = await dead_letters_with(kafka_settings, event_record(refused).value)
    assert dict(letter.headers)["dl_reason"] == b"refused-by-the-database"


async def test_too_much_poison_stops_the_writer_uncommitted(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    poison = [msgspec.structs.replace(event_record(make_event(sn="stops")), value=b"poison") for _ in range(4)]
    await produce(kafka_settings, poison)
    async with opened_database(mongo_settings) as database:
        writer = TestWriter(kafka_settings, database, group_id, max_rejected=3)
        with pytest.raises(TooManyRejected, match="4 of the last 4 records were rejected, more than 3"):
            async with asyncio.timeout(30):
                await writer.run()
    assert await uncommitted(kafka_settings, group_id) == 4


async def test_refusals_of_the_database_count_as_poison_too(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="stops", type=2**70)) for _ in range(4)])
    async with opened_database(mongo_settings) as database:
        writer = TestWriter(kafka_settings, database, group_id, max_rejected=3)
        with pytest.raises(TooManyRejected):
            async with asyncio.timeout(30):
                await writer.run()
    assert await uncommitted(kafka_settings, group_id) == 4


async def test_design_10_while_the_database_hangs_nothing_is_lost_skipped_or_buried_and_membership_is_kept(
    kafka_settings: KafkaSettings,
    mongo_settings: MongoSettings,
    mongo_part: MongoPart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A member that does not poll for so long would leave the group: the outage lasts longer.
    monkeypatch.setattr("shared.kafka.consumer.MAX_POLL_INTERVAL_MS", 3000)
    mongo_settings = mongo_settings.model_copy(update={"timeout_ms": 1000})
    group_id = await fresh_group(kafka_settings)
    events = [make_event(sn=f"hang-{number % 5}") for number in range(300)]
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await produce(kafka_settings, [event_record(events[0])])
            await eventually(lambda: writer.counts.stored == 1)
            revocations = 0
            revoke = writer.loop.on_revoked

            async def count_revocation() -> None:
                nonlocal revocations
                revocations += 1
                await revoke()

            assert writer.consumer is not None
            monkeypatch.setattr(writer.consumer, "_on_revoked", count_revocation)
            mongo_part.suspend()
            try:
                await produce(kafka_settings, [event_record(event) for event in events[1:]])
                await asyncio.sleep(8)
                assert await uncommitted(kafka_settings, group_id) == 299
                assert writer.counts.retries >= 2
            finally:
                mongo_part.resume()
            await eventually(lambda: writer.counts.stored + writer.counts.duplicates >= 300)
            await eventually_committed(kafka_settings, group_id)
            assert revocations == 0
        assert await database["attendance"].count_documents({}) == 300
        assert sum(writer.counts.dead_letters.values()) == 0


async def test_a_writer_that_stops_while_the_database_hangs_leaves_in_time_and_loses_nothing(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, mongo_part: MongoPart
) -> None:
    mongo_settings = mongo_settings.model_copy(update={"timeout_ms": 1000})
    group_id = await fresh_group(kafka_settings)
    events = [make_event(sn="leaves") for _ in range(20)]
    async with opened_database(mongo_settings) as database:
        mongo_part.suspend()
        try:
            async with running(TestWriter(kafka_settings, database, group_id)) as writer:
                await produce(kafka_settings, [event_record(event) for event in events])
                await eventually(lambda: writer.counts.retries > 0)
                began = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - began < 5 + 3
        finally:
            mongo_part.resume()
        assert await uncommitted(kafka_settings, group_id) == 20
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually_committed(kafka_settings, group_id)
        assert await database["attendance"].count_documents({}) == 20


async def absent(database: Database, events: Sequence[AttendanceEvent]) -> dict[str, list[str]]:
    """What is not stored of these events, by kind, as the serial numbers concerned: they say which partitions."""
    marked = {found["_id"]: found["hasImage"] async for found in database["attendance"].find({}, {"hasImage": 1})}
    pictures = {found["_id"] async for found in database["pictures"].find({}, {"_id": 1})}
    return {
        "records": [event.sn for event in events if event.event_id not in marked],
        "pictures": [event.sn for event in events if event.event_id not in pictures],
        "links": [event.sn for event in events if marked.get(event.event_id) is False],
    }


@pytest.mark.timeout(300)
async def test_rebalances_under_load_lose_nothing_and_store_everything_once(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    events: list[AttendanceEvent] = []
    rebalanced = asyncio.Event()

    async def load() -> None:
        # However slow the machine is, each that joins finds work.
        while len(events) < 1500 or not rebalanced.is_set():
            some = [with_picture(make_event(sn=f"load-{number % 40}")) for number in range(50)]
            events.extend(some)
            await produce(
                kafka_settings, [record for event in some for record in (picture_record(event), event_record(event))]
            )
            await asyncio.sleep(0.1)

    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as steady:
            writers = [steady]
            loading = asyncio.ensure_future(load())
            for _ in range(2):  # another joins, works and leaves, twice
                async with running(TestWriter(kafka_settings, database, group_id)) as passing:
                    writers.append(passing)
                    await eventually(lambda passing=passing: passing.counts.stored > 0, seconds=60)
            rebalanced.set()
            await loading
            await eventually_committed(kafka_settings, group_id)
            for event in events[::100]:
                await assert_stored_once(steady, event)
        # All of it in one, so that a failure tells what is missing, and what each writer says that it did.
        counts = [writer.counts for writer in writers]
        assert (await absent(database, events), counts) == ({"records": [], "pictures": [], "links": []}, counts)
        assert [writer.counts.lost + sum(writer.counts.dead_letters.values()) for writer in writers] == [0, 0, 0]
        assert await database["attendance"].count_documents({}) == len(events)
        assert await database["pictures"].count_documents({}) == len(events)


async def test_before_partitions_go_what_was_read_of_them_is_written_and_committed(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    events = [make_event(sn=f"flush-{number}") for number in range(20)]
    async with (
        opened_database(mongo_settings) as database,
        # a batch that would wait for a minute
        running(TestWriter(kafka_settings, database, group_id, records=1000, age_seconds=60)) as patient,
    ):
        await produce(kafka_settings, [event_record(event) for event in events])
        await asyncio.sleep(1)
        assert patient.counts.stored == 0
        async with running(TestWriter(kafka_settings, database, group_id)) as other:
            assert patient.counts.stored == 20
            assert await uncommitted(kafka_settings, group_id) == 0
        assert other.counts.duplicates == 0


async def test_a_writer_that_cannot_store_gives_its_partitions_up_in_time_and_another_stores_what_it_had(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = await fresh_group(kafka_settings)
    events = [make_event(sn=f"stuck-{number}") for number in range(20)]

    async def hang(_events: object) -> None:
        await asyncio.Event().wait()

    async with opened_database(mongo_settings) as database:
        stuck = TestWriter(kafka_settings, database, group_id)
        monkeypatch.setattr(stuck.attendance, "add_many", hang)
        async with running(stuck):
            await produce(kafka_settings, [event_record(event) for event in events])
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
            async with running(TestWriter(kafka_settings, database, group_id)) as other:
                joined = asyncio.get_running_loop().time() - began
                assert joined < 5 + 3, "revoke_seconds and a margin"
                await eventually(lambda: other.counts.stored > 0)
            monkeypatch.setattr(stuck.attendance, "add_many", other.attendance.add_many)
            await eventually_committed(kafka_settings, group_id)
        assert await database["attendance"].count_documents({}) == 20


async def test_the_oldest_record_ages_while_the_database_hangs_also_where_it_is_not_fetched(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = await fresh_group(kafka_settings)
    may_store = asyncio.Event()
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        add_many = writer.attendance.add_many

        async def store_late(events: Sequence[AttendanceEvent]) -> Added:
            await may_store.wait()
            return await add_many(events)

        monkeypatch.setattr(writer.attendance, "add_many", store_late)
        assert writer.consumer is not None
        assert writer.loop.oldest_age_seconds(RECEIVED_MS) == 0
        await produce(kafka_settings, [event_record(make_event(sn="held"))])
        await eventually(lambda: writer.loop.oldest_age_seconds(RECEIVED_MS + 45_000) == 45)
        # Of this one, which the hanging writer does not fetch, only the offsets are known.
        await produce(kafka_settings, [event_record(make_event(sn="not fetched"))])
        writer.loop.oldest.measured(await writer.consumer.offsets(), RECEIVED_MS + 60_000)
        assert writer.loop.oldest_age_seconds(RECEIVED_MS + 75_000) == 75
        assert writer.loop.oldest.age_seconds(None, RECEIVED_MS + 75_000) == 15
        may_store.set()
        await eventually(lambda: writer.counts.stored == 2)
        await eventually(lambda: writer.loop.oldest_age_seconds(RECEIVED_MS + 90_000) == 0)
        assert await lag(writer.consumer) == 0


async def lag(consumer: GroupConsumer) -> int:
    """Records that are not committed."""
    return sum(max(0, end - committed) for committed, end in (await consumer.offsets()).values())


async def test_lag_is_what_is_not_committed(kafka_settings: KafkaSettings, mongo_settings: MongoSettings) -> None:
    group_id = await fresh_group(kafka_settings)
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        assert writer.consumer is not None
        assert await lag(writer.consumer) == 0
        await produce(kafka_settings, [event_record(make_event(sn="lag"))])
        await eventually_committed(kafka_settings, group_id)
        assert await lag(writer.consumer) == 0
        await writer.consumer.stay()
        await produce(kafka_settings, [event_record(make_event(sn="lag")) for _ in range(7)])
        assert await lag(writer.consumer) == 7
        writer.consumer.resume()


async def test_a_commit_without_an_answer_is_unavailable_and_not_lost(
    kafka_settings: KafkaSettings,
    mongo_settings: MongoSettings,
    kafka_part: KafkaPart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.kafka.consumer.COMMIT_SECONDS", 0.5)
    group_id = await fresh_group(kafka_settings)
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        assert writer.consumer is not None
        await produce(kafka_settings, [event_record(make_event(sn="commit"))])
        await eventually_committed(kafka_settings, group_id)
        kafka_part.suspend()
        try:
            await asyncio.sleep(0.2)  # its threads do not stop at the same moment
            with pytest.raises(Unavailable):
                await writer.consumer.commit({("attendance.sign-in.v1", 0): 0})
        finally:
            kafka_part.resume()
