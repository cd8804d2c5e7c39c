"""The writer and synthetic sign-ins: stored apart, as surely as attendances, never in their way (design rule 10)."""

import asyncio

import pytest

from shared.domain.attendance import AttendanceEvent, rfc3339
from shared.domain.events import SYNTHETIC_TOPIC, Record, sign_in_record
from shared.runtime.clock import SystemClock
from shared.runtime.settings import KafkaSettings, MongoSettings
from tests.support.attendance import event_record, make_event, picture_record, with_picture
from tests.support.waiting import eventually
from tests.support.writers import Crash, TestWriter, fresh_group, opened_database, produce, running, uncommitted


def synthetic_event(person: int) -> AttendanceEvent:
    """Of now: what was received long ago is taken away by MongoDB itself."""
    return make_event(sn="SYNTHETIC", person_id=f"p{person}", received_at=rfc3339(SystemClock().now_ms()))


def synthetic_record(event: AttendanceEvent) -> Record:
    return sign_in_record(event, SystemClock().now_ms(), SYNTHETIC_TOPIC)


async def eventually_committed(kafka: KafkaSettings, group_id: str) -> None:
    async def is_so() -> bool:
        return await uncommitted(kafka, group_id) == 0

    await eventually(is_so, seconds=40)


@pytest.mark.parametrize("point", [("synthetic", "add_many"), ("consumer", "commit")], ids=["store", "commit"])
async def test_after_a_crash_synthetic_sign_ins_and_attendances_are_stored_once_each_in_its_place(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, point: tuple[str, str]
) -> None:
    measured = [synthetic_event(number) for number in range(4)]
    real = [with_picture(make_event(sn="beside-synthetic")) for _ in range(3)]
    records = [synthetic_record(event) for event in [*measured, measured[0]]]
    records += [picture_record(event) for event in real] + [event_record(event) for event in real]
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, records)
    async with opened_database(mongo_settings) as database:
        crashing = TestWriter(kafka_settings, database, group_id)
        crashing.crash_points = [point]
        with pytest.raises(Crash):
            async with asyncio.timeout(60):
                await crashing.run()
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually_committed(kafka_settings, group_id)
            for event in measured:
                assert await writer.synthetic.find(event.event_id) == event
                assert await writer.attendance.find(event.event_id) is None
            for event in real:
                stored = await writer.attendance.find(event.event_id)
                assert stored is not None
                assert stored.has_image
                assert await writer.synthetic.find(event.event_id) is None
        assert await database["attendance"].count_documents({}) == 3
        assert await database["synthetic_attendance"].count_documents({}) == 4


async def test_each_is_counted_as_what_it_is(kafka_settings: KafkaSettings, mongo_settings: MongoSettings) -> None:
    group_id = await fresh_group(kafka_settings)
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        await produce(kafka_settings, [synthetic_record(synthetic_event(1)), event_record(make_event(sn="one"))])
        await eventually_committed(kafka_settings, group_id)
        assert (writer.counts.stored, writer.counts.synthetic, writer.counts.duplicates) == (1, 1, 0)
