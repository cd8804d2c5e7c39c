"""`retention`: floors below which nothing is kept or stored anew; and what deletes below them (ADR 0023).

The floor rises first, then what is below it goes. An attendance that outlives its picture is marked `partsDropped`
before: a picture that a terminal sends again is deleted by whoever wrote last, as in erasure.py.
"""

from collections.abc import Collection, Sequence

import msgspec
import pymongo
from bson.datetime_ms import DatetimeMS

from shared.domain.attendance import AttendanceEvent
from shared.domain.retention import DROPPED, Kept
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.mongo.image_links import ATTENDANCE, NOT_ERASED, PICTURES
from shared.stores.retention_interfaces import Floor

COLLECTION = "retention"
INDEXES: list[pymongo.IndexModel] = []

_RECEIVED = [("receivedAt", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)]
_COLLECTIONS = {Kept.PICTURES: PICTURES, Kept.RECORDS: ATTENDANCE}


class Floors(msgspec.Struct, frozen=True):
    """Of both kinds; 0 where there is none."""

    pictures_ms: int
    records_ms: int


async def floors(database: Database) -> Floors:
    """As they are now. Raises Unavailable."""
    with mongo_faults():
        found = {document["_id"]: document["floorMs"] async for document in database[COLLECTION].find()}
    return Floors(found.get(Kept.PICTURES, 0), found.get(Kept.RECORDS, 0))


async def delete_dropped(database: Database, dropped: Collection[str]) -> int:
    """Deletes pictures and details of attendances that have outlived the ones that they had; returns how many. These
    are looked for after they were written: the mark stands before the first ones go, so that either side sees the
    other's. Raises Unavailable."""
    if not dropped:
        return 0
    with mongo_faults():
        deleted = await database[PICTURES].delete_many({"_id": {"$in": list(dropped)}, **NOT_ERASED})
    return int(deleted.deleted_count)


def without_parts(attendance: Document, floor: Floors) -> Document:
    """The new attendance's document; it says so where its picture is past retention, and comes by a replay alone."""
    if attendance["hasImage"] or attendance["receivedAt"] >= DatetimeMS(floor.pictures_ms):
        return attendance
    dropped = {"imageDropped": DROPPED} if "image" in attendance else {}
    return {**{name: value for name, value in attendance.items() if name != "image"}, **dropped, "partsDropped": True}


async def delete_parts_of(database: Database, events: Sequence[AttendanceEvent]) -> None:
    """Deletes pictures and details of attendances that are not stored because they are past retention. Raises
    Unavailable."""
    event_ids = {event.event_id for event in events}
    if not event_ids:
        return
    query = {"_id": {"$in": sorted(event_ids)}}
    with mongo_faults():
        event_ids -= {found["_id"] async for found in database[ATTENDANCE].find(query, {"_id": True})}
        await database[PICTURES].delete_many({"_id": {"$in": sorted(event_ids)}, **NOT_ERASED})


class MongoRetentionStore:
    """RetentionStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._floors = database[COLLECTION]

    async def floor(self, kind: Kept) -> Floor:
        with mongo_faults():
            document = await self._floors.find_one({"_id": kind}) or {}
        return Floor(floor_ms=document.get("floorMs", 0), swept_ms=document.get("sweptMs", 0))

    async def raise_floor(self, kind: Kept, floor_ms: int) -> None:
        with mongo_faults():
            await self._floors.update_one({"_id": kind}, {"$max": {"floorMs": floor_ms}}, upsert=True)

    async def swept(self, kind: Kept, floor_ms: int) -> None:
        with mongo_faults():
            await self._floors.update_one({"_id": kind}, {"$max": {"sweptMs": floor_ms}})

    async def delete(self, kind: Kept, floor_ms: int, limit: int) -> int:
        before = {"$lt": DatetimeMS(floor_ms)}
        query: Document = {"receivedAt": before}
        if kind is Kept.RECORDS:
            query["recordTime"] = before
        with mongo_faults():
            found = self._database[_COLLECTIONS[kind]].find(query, {"_id": True}).sort(_RECEIVED).limit(limit)
            event_ids = [document["_id"] for document in await found.to_list(None)]
            if event_ids:
                await self._delete(kind, event_ids)
        return len(event_ids)

    async def _delete(self, kind: Kept, event_ids: list[str]) -> None:
        of_these: Document = {"_id": {"$in": event_ids}}
        if kind is Kept.PICTURES:
            mark = {"hasImage": False, "partsDropped": True}
            await self._database[ATTENDANCE].update_many(
                {**of_these, "image": {"$exists": True}, **NOT_ERASED},
                {"$set": {**mark, "imageDropped": DROPPED}, "$unset": {"image": ""}},
            )
            await self._database[ATTENDANCE].update_many({**of_these, "image": {"$exists": False}}, {"$set": mark})
        # A tombstone stays: it keeps a deleted person's picture away after the attendance is gone, too.
        await self._database[PICTURES].delete_many({**of_these, **NOT_ERASED})
        if kind is Kept.RECORDS:
            await self._database[ATTENDANCE].delete_many(of_these)

    async def oldest_ms(self, kind: Kept) -> int | None:
        dated = {"receivedAt": {"$gt": DatetimeMS(0)}}  # tombstones have no date
        with mongo_faults():
            found = self._database[_COLLECTIONS[kind]].find(dated, {"receivedAt": True}).sort(_RECEIVED).limit(1)
            documents = await found.to_list(None)
        return int(DatetimeMS(documents[0]["receivedAt"])) if documents else None
