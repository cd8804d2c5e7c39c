"""`device.presence.v1` into `devices`: in order, fenced, beside the attendances (design rules 3, 6, 10)."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.attendance import rfc3339
from shared.domain.presence import PresenceState, presence_record
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.stores.mongo.client import Database
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from tests.support.attendance import event_record, make_event
from tests.support.presence import make_presence
from tests.support.session_values import NOW_MS, make_device
from tests.support.waiting import eventually
from tests.support.writers import TestWriter, dead_letters_with, fresh_group, opened_database, produce, running

ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED
SNS = [f"writer-presence-{number}" for number in range(5)]


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with opened_database(mongo_settings) as database:
        await MongoDeviceStore(database).register([make_device(sn) for sn in SNS])
        yield database


async def test_design_6_presence_events_end_as_what_is_known_of_each_device(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    records = []
    for epoch, sn in enumerate(SNS, start=10):
        records += [
            presence_record(make_presence(ONLINE, epoch, sn=sn, address="192.0.2.1")),
            presence_record(make_presence(CHANGED, epoch, sn=sn, device_version="v14", clock_skew_seconds=-3)),
            presence_record(make_presence(OFFLINE, epoch - 1, sn=sn)),  # of an earlier connection, and late
        ]
    last_seen = rfc3339(NOW_MS + 60_000)
    records.append(presence_record(make_presence(OFFLINE, 10, sn=SNS[0], last_seen_at=last_seen)))
    records.append(presence_record(make_presence(ONLINE, 99, sn="nobody-registered-it")))
    store = MongoPresenceRecordStore(database)
    event = make_event(sn=SNS[0])

    async def all_known() -> bool:
        known = await store.find(SNS)
        return len(known) == len(SNS) and not known[SNS[0]].online

    async with running(TestWriter(kafka_settings, database, await fresh_group(kafka_settings))) as writer:
        for _ in range(2):  # a replay ends the same
            await produce(kafka_settings, [*records, event_record(event)])
            await eventually(all_known)
        await eventually(lambda: writer.counts.presence_events == 2 * len(records))
        known = await store.find([*SNS, "nobody-registered-it"])
        assert {sn: (one.online, one.epoch) for sn, one in known.items()} == {
            sn: (sn != SNS[0], epoch) for epoch, sn in enumerate(SNS, start=10)
        }
        first = known[SNS[0]]
        assert (first.last_seen_ms, first.address, first.device_version, first.clock_skew_seconds) == (
            NOW_MS + 60_000,
            "192.0.2.1",
            "v14",
            -3,
        )
        await eventually(lambda: writer.counts.stored == 1)


async def test_a_presence_event_that_is_none_becomes_a_dead_letter_and_the_next_is_read(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    store = MongoPresenceRecordStore(database)
    good = presence_record(make_presence(ONLINE, 1, sn=SNS[1]))
    wrong = msgspec.structs.replace(good, value=b'{"state":"asleep","sn":"%s"}' % SNS[1].encode())

    async def is_known() -> bool:
        return bool(await store.find([SNS[1]]))

    async with running(TestWriter(kafka_settings, database, await fresh_group(kafka_settings))) as writer:
        await produce(kafka_settings, [wrong, good])
        await eventually(is_known)
        await eventually(lambda: writer.counts.dead_letters["wrong-members"] == 1)
    (letter,) = await dead_letters_with(kafka_settings, wrong.value)
    assert dict(letter.headers)["dl_reason"] == b"wrong-members"
    assert dict(letter.headers)["dl_topic"] == b"device.presence.v1"
