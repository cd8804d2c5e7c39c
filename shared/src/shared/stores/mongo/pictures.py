"""`pictures`: what is biometric or unknown of an event, one document by event id. Never makes an attendance (rule 9).

A document has the picture, the details (iris data, unknown members), or both; the first stored of each wins.
"""

from collections.abc import Sequence

from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, IndexModel, UpdateOne

from shared.stores.interfaces import Added, StoredDetails, StoredPicture
from shared.stores.mongo.absent import add_absent
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.mongo.image_links import (
    NOT_ERASED,
    PICTURES,
    attendances_of,
    image_document,
    mark_has_image,
    stored_references,
)
from shared.stores.mongo.retention import delete_dropped, floors

COLLECTION = PICTURES

INDEXES = [IndexModel([("receivedAt", ASCENDING), ("_id", ASCENDING)], name="received")]
"""For retention. What is past it comes first."""


class MongoPictureStore:
    """PictureStore in MongoDB, as single documents written in bulk (design rule 10)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database[COLLECTION]

    async def add_many(self, pictures: Sequence[StoredPicture]) -> Added:
        """Adds those that are absent and not past retention, then marks their attendances. Raises Unavailable: do it
        all again."""
        floor = await floors(self._database)
        given, pictures = len(pictures), [one for one in pictures if one.received_at_ms >= floor.pictures_ms]
        outcome = await add_absent(self._collection, [_picture_document(picture) for picture in pictures])
        added = await self._add_to_details(pictures, outcome.present)
        # Those present already too: an earlier attempt may have ended between its write and its link.
        attendances = await attendances_of(self._database, outcome.new | outcome.present)
        dropped = await delete_dropped(self._database, attendances.dropped)
        await self._link(attendances.unmarked)
        past = given - len(pictures) + dropped
        return Added(new=max(0, len(outcome.new) + added - dropped), refused=outcome.refused, past_retention=past)

    async def _add_to_details(self, pictures: Sequence[StoredPicture], present: frozenset[str]) -> int:
        """Adds the pictures whose document so far held details alone; returns how many."""
        if not present:
            return 0
        without = present.difference(await stored_references(self._database, present))
        first = {picture.event_id: picture for picture in reversed(pictures) if picture.event_id in without}
        return await self._set_where_absent(
            [(event_id, "contentType", _picture_document(picture)) for event_id, picture in first.items()]
        )

    async def _link(self, unmarked: Sequence[str]) -> None:
        # Most attendances come after their picture: those few that came before are written, and they alone.
        await mark_has_image(self._database, await stored_references(self._database, unmarked))

    async def add_details(self, details: Sequence[StoredDetails]) -> Added:
        """Adds what is absent of each member and not past retention. Raises Unavailable: do it all again."""
        floor = await floors(self._database)
        given, details = len(details), [one for one in details if one.received_at_ms >= floor.pictures_ms]
        outcome = await add_absent(self._collection, [_details_document(item) for item in details])
        # A second record of an event in the batch is not new either: it too may bring a member that was absent.
        firsts = {item.event_id: item for item in reversed(details)}
        rest = [item for item in details if item.event_id in outcome.present or item is not firsts[item.event_id]]
        added = await self._set_where_absent(
            [
                (item.event_id, member, {member: value})
                for item in rest
                if item.event_id not in outcome.refused
                for member, value in (("irisInfo", item.iris_info), ("extra", item.extra))
                if value is not None
            ]
        )
        attendances = await attendances_of(self._database, outcome.new | outcome.present)
        dropped = await delete_dropped(self._database, attendances.dropped)
        past = given - len(details) + dropped
        return Added(new=max(0, len(outcome.new) + added - dropped), refused=outcome.refused, past_retention=past)

    async def _set_where_absent(self, changes: Sequence[tuple[str, str, Document]]) -> int:
        """For each (event id, member, document): sets the document's members where the one named is absent, in
        order, so that the first wins. Never inserts, and brings nothing back that was erased. Returns how many were
        set."""
        if not changes:
            return 0
        updates = [
            UpdateOne({"_id": event_id, member: {"$exists": False}, **NOT_ERASED}, {"$set": _without_id(document)})
            for event_id, member, document in changes
        ]
        with mongo_faults():
            result = await self._collection.bulk_write(updates, ordered=True)
        return int(result.modified_count)

    async def picture(self, event_id: str) -> StoredPicture | None:
        """The picture of an event, where one is stored. Raises Unavailable."""
        with mongo_faults():
            document = await self._collection.find_one({"_id": event_id, "contentType": {"$exists": True}})
        if document is None:
            return None
        return StoredPicture(
            event_id=event_id,
            sn=document["sn"],
            content_type=document["contentType"],
            data=bytes(document["data"]),
            received_at_ms=int(DatetimeMS(document["receivedAt"])),
        )

    async def extra(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Unknown members as JSON text, by event id, where there are any. Raises Unavailable."""
        query = {"_id": {"$in": list(event_ids)}, "extra": {"$exists": True}}
        with mongo_faults():
            return {found["_id"]: found["extra"] async for found in self._collection.find(query, {"extra": 1})}


def _picture_document(picture: StoredPicture) -> Document:
    return {
        "_id": picture.event_id,
        "sn": picture.sn,
        **image_document(picture.reference),
        "data": picture.data,
        "receivedAt": DatetimeMS(picture.received_at_ms),
    }


def _details_document(details: StoredDetails) -> Document:
    members: Document = {
        "_id": details.event_id,
        "sn": details.sn,
        "irisInfo": details.iris_info,
        "extra": details.extra,
        "receivedAt": DatetimeMS(details.received_at_ms),
    }
    return {name: value for name, value in members.items() if value is not None}


def _without_id(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "_id"}
