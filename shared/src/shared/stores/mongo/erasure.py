"""Erasure of deleted persons from `attendance` and `pictures`: for good, whatever Kafka or a terminal brings afterwards
(design rule 10). The rows stay, because wages are computed from them.

A tombstone `{_id, erased: true}` takes the place of picture and details: what comes later finds a document there, and
adds nothing. Marker and attendance are stored in either order, and each side, after its own write, erases: whichever
of the two writes came last therefore sees the other's.
"""

from collections.abc import Sequence

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from shared.domain.attendance import AttendanceEvent
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.absent import is_duplicate_id, raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.mongo.image_links import ATTENDANCE, NOT_ERASED, PICTURES
from shared.stores.mongo.persons import COLLECTION as PERSONS

CHUNK = 500

ERASED_MEMBERS = ("image", "imageDropped", "temperature", "coordinate", "qrCodeInfo", "healthInfo")
"""Of an attendance: what tells more of the worker than when which terminal let whom through."""


async def erase_person(database: Database, person_id: str) -> None:
    """Erases what the attendances of a marker have beyond their rows. Raises Unavailable: do it again."""
    with mongo_faults():
        found = await database[ATTENDANCE].find({"personId": person_id, **NOT_ERASED}, {"_id": True}).to_list(None)
    event_ids = [document["_id"] for document in found]
    for start in range(0, len(event_ids), CHUNK):
        await _erase(database, event_ids[start : start + CHUNK])


async def erase_events(database: Database, events: Sequence[AttendanceEvent]) -> None:
    """Erases those of the stored events that are of deleted persons, or of before a person's deletion where the person
    was put again. Raises Unavailable."""
    if not events:
        return
    wanted: Document = {
        "_id": {"$in": sorted({event.person_id for event in events})},
        "$or": [{"deletedAtMs": {"$exists": True}}, {"erasedBeforeMs": {"$exists": True}}],
    }
    with mongo_faults():
        found = await database[PERSONS].find(wanted, {"deletedAtMs": True, "erasedBeforeMs": True}).to_list(None)
    until = {document["_id"]: None if "deletedAtMs" in document else document["erasedBeforeMs"] for document in found}
    event_ids = [
        event.event_id
        for event in events
        if event.person_id in until and _is_before(event.record_time, until[event.person_id])
    ]
    if event_ids:
        await _erase(database, event_ids)


def _is_before(record_time_ms: int, until_ms: int | None) -> bool:
    return until_ms is None or record_time_ms < until_ms


async def _erase(database: Database, event_ids: Sequence[str]) -> None:
    # The tombstones first: an attendance that says that it is erased is not looked at again.
    tombstones = [
        ReplaceOne({"_id": event_id}, {"_id": event_id, "erased": True}, upsert=True) for event_id in event_ids
    ]
    try:
        with mongo_faults():
            await database[PICTURES].bulk_write(tombstones, ordered=False)
    except BulkWriteError as error:
        raise_if_passing(error)
        if all(is_duplicate_id(fault) for fault in error.details["writeErrors"]):
            raise Unavailable("MongoDB: a picture came while it was erased") from error
        raise
    update = {"$set": {"erased": True, "hasImage": False}, "$unset": dict.fromkeys(ERASED_MEMBERS, "")}
    with mongo_faults():
        await database[ATTENDANCE].update_many({"_id": {"$in": list(event_ids)}}, update)
