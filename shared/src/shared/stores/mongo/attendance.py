"""`attendance`: one document an event, `_id` its computed id; the first stored wins for every member."""

from collections.abc import AsyncGenerator, Sequence, Set
from datetime import datetime
from typing import Any

import msgspec
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.domain.attendance import AttendanceEvent, Coordinate, PictureReference, parse_rfc3339, rfc3339
from shared.domain.devices import Direction, SiteSpan
from shared.stores.interfaces import Added, AttendanceQuery, AttendanceRecord
from shared.stores.mongo.absent import add_absent
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.mongo.erasure import erase_events, erase_person
from shared.stores.mongo.image_links import (
    ATTENDANCE,
    attendances_of,
    image_document,
    mark_has_image,
    stored_references,
)
from shared.stores.mongo.retention import delete_parts_of, floors, without_parts
from shared.stores.mongo.site_links import fill_in_device, fill_in_events

COLLECTION = ATTENDANCE

_NEWEST_FIRST = [("recordTime", DESCENDING), ("_id", DESCENDING)]
_AS_RECEIVED = [("receivedAt", ASCENDING), ("_id", ASCENDING)]

# Each ends in the order of a page, `_id` included, so that a page is read from the index and never sorted.
INDEXES = [
    IndexModel([("siteId", ASCENDING), *_NEWEST_FIRST], name="site"),
    IndexModel([("personId", ASCENDING), *_NEWEST_FIRST], name="person"),
    IndexModel([("sn", ASCENDING), *_NEWEST_FIRST], name="device"),
    IndexModel(_NEWEST_FIRST, name="newest"),
    IndexModel(_AS_RECEIVED, name="received"),
]


class MongoAttendanceStore:
    """AttendanceStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database[COLLECTION]

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """Adds those not there yet, links pictures already stored, fills in sites assigned meanwhile and erases what is
        of deleted persons; none that is past retention. Raises Unavailable: do it all again."""
        floor = await floors(self._database)
        past = [event for event in events if event.record_time < floor.records_ms]
        await delete_parts_of(self._database, past)
        events = [event for event in events if event.record_time >= floor.records_ms]
        # Most pictures come before their event: looked up first, they need no second write. Where an event has none,
        # one look afterwards is enough, for the picture of an earlier sending.
        pictured = {event.event_id for event in events if event.image is not None}
        stored = await stored_references(self._database, pictured)
        outcome = await add_absent(
            self._collection,
            [without_parts(to_document(event, stored.get(event.event_id)), floor) for event in events],
        )
        # A picture may have come between look-up and insert; and of those present already, an earlier attempt may
        # have ended between its insert and what follows.
        await self._link((outcome.new - stored.keys()) | outcome.present)
        stored_events = [event for event in events if event.event_id not in outcome.refused]
        await fill_in_events(self._database, stored_events)
        await erase_events(self._database, stored_events)
        return Added(new=len(outcome.new), refused=outcome.refused, past_retention=len(past))

    async def _link(self, event_ids: Set[str]) -> None:
        references = await stored_references(self._database, event_ids)
        attendances = await attendances_of(self._database, references)
        await mark_has_image(self._database, {event_id: references[event_id] for event_id in attendances.unmarked})

    async def fill_in_site(self, sn: str, site_history: tuple[SiteSpan, ...]) -> None:
        """Gives the device's attendances the site and direction that they lack. Raises Unavailable."""
        await fill_in_device(self._database, sn, site_history)

    async def erase_person(self, person_id: str) -> None:
        """Erases what a deleted person's attendances have beyond their rows. Raises Unavailable: do it again."""
        await erase_person(self._database, person_id)

    async def find(self, event_id: str) -> AttendanceRecord | None:
        """The attendance with this id. Raises Unavailable."""
        with mongo_faults():
            document = await self._collection.find_one({"_id": event_id})
        return None if document is None else from_document(document)

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]:
        """At most `limit` of those that the query names, after its cursor. Raises Unavailable."""
        cursor = self._collection.find(_filter(query)).sort(_order(query)).limit(query.limit)
        with mongo_faults():
            return [from_document(document) async for document in cursor]

    async def pages(self, query: AttendanceQuery) -> AsyncGenerator[Sequence[AttendanceRecord]]:
        """All that the query names, `limit` at a time. Raises Unavailable."""
        left_out = {"qrCodeInfo": 0, "healthInfo": 0}
        cursor = self._collection.find(_filter(query), left_out).sort(_order(query)).batch_size(query.limit)
        try:
            while True:
                with mongo_faults():
                    documents = await cursor.to_list(query.limit)
                if not documents:
                    return
                yield [from_document(document) for document in documents]
        finally:
            await cursor.close()


def _order(query: AttendanceQuery) -> list[tuple[str, int]]:
    return _NEWEST_FIRST if query.received_after_ms is None else _AS_RECEIVED


def _filter(query: AttendanceQuery) -> Document:
    conditions: list[Document] = []
    for member, value in (("sn", query.sn), ("personId", query.person_id), ("siteId", query.site_id)):
        if value is not None:
            conditions.append({member: value})
    if query.site_ids is not None:
        conditions.append({"siteId": {"$in": list(query.site_ids)}})
    if query.from_ms is not None:
        conditions.append({"recordTime": {"$gte": DatetimeMS(query.from_ms)}})
    if query.to_ms is not None:
        conditions.append({"recordTime": {"$lt": DatetimeMS(query.to_ms)}})
    if query.received_after_ms is not None:
        conditions.append({"receivedAt": {"$gt": DatetimeMS(query.received_after_ms)}})
    if query.after is not None:
        time_ms, event_id = query.after
        time = DatetimeMS(time_ms)
        member, reach, beyond = (
            ("recordTime", "$lte", "$lt") if query.received_after_ms is None else ("receivedAt", "$gte", "$gt")
        )
        # The first condition bounds the index range, which $or alone does not.
        conditions.append({member: {reach: time}})
        conditions.append({"$or": [{member: {beyond: time}}, {member: time, "_id": {beyond: event_id}}]})
    return {"$and": conditions} if conditions else {}


def to_document(event: AttendanceEvent, stored: PictureReference | None) -> Document:
    """An event as it is stored, with the picture that is stored already."""
    image = stored or event.image
    coordinate = event.coordinate
    document: Document = {
        "_id": event.event_id,
        "sn": event.sn,
        "vendorId": event.vendor_id,
        "personId": event.person_id,
        "type": event.type,
        "recordTime": DatetimeMS(event.record_time),
        "sentAt": DatetimeMS(parse_rfc3339(event.sent_at)),
        "receivedAt": DatetimeMS(parse_rfc3339(event.received_at)),
        "hasImage": stored is not None,
    }
    optional = (
        ("bitType", event.bit_type),
        ("siteId", event.site_id),
        ("direction", event.direction),
        ("temperature", event.temperature),
        ("coordinate", coordinate and {"longitude": coordinate.longitude, "latitude": coordinate.latitude}),
        # As JSON text: a terminal may send names with `$` or `.` and numbers of any length (J5).
        ("qrCodeInfo", _raw_text(event.qr_code_info)),
        ("healthInfo", _raw_text(event.health_info)),
        ("image", image and image_document(image)),
        ("imageDropped", event.image_dropped if stored is None else None),
    )
    for name, value in optional:
        if value is not None:
            document[name] = value
    return document


def from_document(document: Document) -> AttendanceRecord:
    """What was stored by `to_document`."""
    direction = document.get("direction")
    coordinate = document.get("coordinate")
    image = document.get("image")
    event = AttendanceEvent(
        event_id=document["_id"],
        sn=document["sn"],
        vendor_id=document["vendorId"],
        person_id=document["personId"],
        type=document["type"],
        bit_type=document.get("bitType"),
        record_time=_milliseconds(document["recordTime"]),
        sent_at=rfc3339(_milliseconds(document["sentAt"])),
        received_at=rfc3339(_milliseconds(document["receivedAt"])),
        site_id=document.get("siteId"),
        direction=None if direction is None else Direction(direction),
        temperature=document.get("temperature"),
        coordinate=coordinate and Coordinate(coordinate["longitude"], coordinate["latitude"]),
        qr_code_info=_raw(document.get("qrCodeInfo")),
        health_info=_raw(document.get("healthInfo")),
        image=image and PictureReference(image["sha256"], image["size"], image["contentType"]),
        image_dropped=document.get("imageDropped"),
    )
    return AttendanceRecord(event=event, has_image=document["hasImage"], erased=document.get("erased", False))


def _milliseconds(value: datetime) -> int:
    return int(DatetimeMS(value))


def _raw_text(value: msgspec.Raw | None) -> str | None:
    return None if value is None else bytes(value).decode()


def _raw(value: Any) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(value.encode())
