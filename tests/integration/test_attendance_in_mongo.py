"""How attendances and pictures stand in MongoDB, and what its faults become."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from opentelemetry.trace import SpanKind
from pymongo import IndexModel

from shared.domain.attendance import PictureReference
from shared.domain.devices import Direction
from shared.runtime.settings import MongoSettings
from shared.runtime.tracing import as_current
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceQuery, StoredDetails, StoredPicture
from shared.stores.mongo.absent import MAX_DOCUMENT_BYTES, Outcome, add_absent
from shared.stores.mongo.attendance import INDEXES, MongoAttendanceStore
from shared.stores.mongo.client import Collection, Database, Document, open_mongo
from shared.stores.mongo.pictures import MongoPictureStore
from stack.mongo_part import MongoPart
from tests.support.attendance import JPEG, RECEIVED_MS, make_event, with_picture
from tests.support.spans import KeptSpans


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    settings = mongo_settings.model_copy(update={"timeout_ms": 1500})
    async with open_mongo(settings, "test") as opened:
        yield opened


def picture_of(event_id: str) -> StoredPicture:
    return StoredPicture(event_id=event_id, sn="1", content_type="image/png", data=b"png", received_at_ms=RECEIVED_MS)


async def test_times_are_dates_the_id_is_the_events_and_what_terminals_name_is_json_text(database: Database) -> None:
    event = with_picture(
        make_event(
            record_time=1_609_744_974_123,
            sent_at="2021-01-04T07:22:55.000Z",
            received_at="2021-01-04T07:22:56.789Z",
            qr_code_info=msgspec.Raw(b'{"$set":{"a.b":1234567890123456789012345678901}}'),
        )
    )
    await MongoAttendanceStore(database).add_many([event])
    document = await database["attendance"].find_one({})
    assert document == {
        "_id": event.event_id,
        "sn": "1388186",
        "vendorId": "v0123456789abcdef",
        "personId": event.person_id,
        "type": 1,
        "recordTime": datetime(2021, 1, 4, 7, 22, 54, 123_000, UTC),
        "sentAt": datetime(2021, 1, 4, 7, 22, 55, tzinfo=UTC),
        "receivedAt": datetime(2021, 1, 4, 7, 22, 56, 789_000, UTC),
        "qrCodeInfo": '{"$set":{"a.b":1234567890123456789012345678901}}',
        "image": {"sha256": hashlib.sha256(JPEG).hexdigest(), "size": len(JPEG), "contentType": "image/jpeg"},
        "hasImage": False,
    }


async def test_design_9_picture_and_details_are_one_document_outside_attendance(database: Database) -> None:
    event = make_event()
    pictures = MongoPictureStore(database)
    await pictures.add_details(
        [StoredDetails(event_id=event.event_id, sn="1", iris_info="i", extra='{"$set":1}', received_at_ms=1000)]
    )
    await pictures.add_many([picture_of(event.event_id)])
    assert await database["pictures"].find({}).to_list() == [
        {
            "_id": event.event_id,
            "sn": "1",
            "sha256": hashlib.sha256(b"png").hexdigest(),
            "size": 3,
            "contentType": "image/png",
            "data": b"png",
            "irisInfo": "i",
            "extra": '{"$set":1}',
            "receivedAt": datetime.fromtimestamp(RECEIVED_MS / 1000, UTC),
        }
    ]
    assert await database["attendance"].find_one({}) is None


async def test_a_batch_takes_one_call_for_each_thing_that_must_be_known_or_written(
    mongo_settings: MongoSettings,
) -> None:
    kept = KeptSpans()
    there = {"site_id": "s1", "direction": Direction.IN}
    plain, pictured = [make_event(**there) for _ in range(3)], with_picture(make_event(**there))
    async with open_mongo(mongo_settings, "test", traced=True) as database:
        attendance, pictures = MongoAttendanceStore(database), MongoPictureStore(database)
        with kept.tracing.start("plain", SpanKind.CONSUMER) as span, as_current(span):
            await attendance.add_many(plain)
        with kept.tracing.start("picture", SpanKind.CONSUMER) as span, as_current(span):
            await pictures.add_many([picture_of(pictured.event_id)])
            await attendance.add_many([pictured])
    assert kept.names == [
        *("find retention", "insert attendance", "find pictures", "find persons", "plain"),
        *("find retention", "insert pictures", "find attendance"),
        *("find retention", "find pictures", "insert attendance", "find persons", "picture"),
    ]


async def test_design_9_an_event_sent_again_without_its_picture_is_linked_to_the_one_that_was_stored_first(
    database: Database,
) -> None:
    event = make_event()
    await MongoPictureStore(database).add_many([picture_of(event.event_id)])
    await MongoAttendanceStore(database).add_many([event])
    record = await MongoAttendanceStore(database).find(event.event_id)
    assert record is not None
    assert record.has_image
    assert record.event.image == PictureReference(hashlib.sha256(b"png").hexdigest(), 3, "image/png")


async def test_design_9_a_picture_stored_between_the_look_up_and_the_insert_is_linked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = with_picture(make_event())

    async def insert_late(collection: Collection, documents: Sequence[Document]) -> Outcome:
        await MongoPictureStore(database).add_many([picture_of(event.event_id)])
        return await add_absent(collection, documents)

    monkeypatch.setattr("shared.stores.mongo.attendance.add_absent", insert_late)
    await MongoAttendanceStore(database).add_many([event])
    record = await MongoAttendanceStore(database).find(event.event_id)
    assert record is not None
    assert record.has_image


async def test_design_9_a_link_that_an_earlier_attempt_did_not_come_to_is_made_by_the_next(database: Database) -> None:
    event = make_event(image_dropped="not base64")
    attendance = MongoAttendanceStore(database)
    await attendance.add_many([event])
    reference = {"sha256": hashlib.sha256(JPEG).hexdigest(), "size": len(JPEG), "contentType": "image/jpeg"}
    await database["pictures"].insert_one({"_id": event.event_id, **reference, "data": JPEG})
    await attendance.add_many([event])
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.has_image
    assert record.event == with_picture(msgspec.structs.replace(event, image_dropped=None))


async def test_a_document_that_can_never_be_stored_is_named_and_the_others_are_stored(database: Database) -> None:
    documents: list[Document] = [
        {"_id": "first"},
        {"_id": "too large", "data": bytes(MAX_DOCUMENT_BYTES)},
        {"_id": "number", "type": 2**63},
        {"_id": "key", "a\0b": 1},
        {"_id": "surrogate", "text": "\ud800"},
        {"_id": "last"},
    ]
    outcome = await add_absent(database["any"], documents)
    assert outcome.new == {"first", "last"}
    assert outcome.present == set()
    assert outcome.refused.keys() == {"too large", "number", "key", "surrogate"}
    assert await database["any"].count_documents({}) == 2


async def test_design_10_a_duplicate_of_another_unique_index_does_not_count_as_stored(database: Database) -> None:
    await database["any"].create_indexes([IndexModel([("sn", 1)], unique=True)])
    await add_absent(database["any"], [{"_id": "a", "sn": "1"}])
    outcome = await add_absent(database["any"], [{"_id": "a", "sn": "9"}, {"_id": "b", "sn": "1"}])
    assert outcome.present == {"a"}
    assert outcome.refused == {"b": "refused by MongoDB with code 11000"}


async def test_every_query_of_a_page_has_an_index_in_its_order(database: Database) -> None:
    await database["attendance"].create_indexes(INDEXES)
    information = await database["attendance"].index_information()
    keys = {name: [(member, int(order)) for member, order in index["key"]] for name, index in information.items()}
    newest = [("recordTime", -1), ("_id", -1)]
    assert keys == {
        "_id_": [("_id", 1)],
        "site": [("siteId", 1), *newest],
        "person": [("personId", 1), *newest],
        "device": [("sn", 1), *newest],
        "newest": newest,
        "received": [("receivedAt", 1), ("_id", 1)],
    }


async def test_a_database_that_hangs_is_unavailable_for_every_call(database: Database, mongo_part: MongoPart) -> None:
    attendance, pictures = MongoAttendanceStore(database), MongoPictureStore(database)
    event = make_event()
    picture = picture_of(event.event_id)
    details = StoredDetails(event_id=event.event_id, sn="1", extra="{}", received_at_ms=RECEIVED_MS)
    await attendance.add_many([event])
    mongo_part.suspend()
    try:
        for call in (
            attendance.add_many([event]),
            attendance.find(event.event_id),
            attendance.page(AttendanceQuery()),
            pictures.add_many([picture]),
            pictures.add_details([details]),
            pictures.picture(event.event_id),
            pictures.extra([event.event_id]),  # noqa: S610 - not Django's
        ):
            with pytest.raises(Unavailable):
                await call
    finally:
        mongo_part.resume()
    assert (await attendance.add_many([event])).new == 0
