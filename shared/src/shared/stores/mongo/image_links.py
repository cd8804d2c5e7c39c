"""hasImage and image: the link between `attendance` and `pictures`, stored in either order (design rule 9).

Each side, after its own write, marks the attendances whose picture is stored, by an update that does not insert.
Whichever of the two writes came last therefore sees the other's.
"""

from collections.abc import Collection as Ids
from collections.abc import Mapping
from typing import NamedTuple

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from shared.domain.attendance import PictureReference
from shared.stores.mongo.absent import raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults

ATTENDANCE = "attendance"
PICTURES = "pictures"

NOT_ERASED: Document = {"erased": {"$exists": False}}
"""Of both collections: what was erased with its person stays so (erasure.py)."""

LINKABLE: Document = {**NOT_ERASED, "partsDropped": {"$exists": False}}
"""Of attendances: those that have outlived their picture get none any more (retention.py)."""

_REFERENCE = {"sha256": 1, "size": 1, "contentType": 1}
_MARKS = {"hasImage": 1, "erased": 1, "partsDropped": 1}


class Attendances(NamedTuple):
    """Ids of stored attendances, by what becomes of a picture that is stored for them; those that need nothing are in
    neither."""

    unmarked: list[str]
    """That say that no picture is stored."""
    dropped: list[str]
    """That have outlived their picture: it goes (retention.py)."""


async def stored_references(database: Database, event_ids: Ids[str]) -> dict[str, PictureReference]:
    """Of those of the ids that have a picture stored: what it is."""
    if not event_ids:
        return {}
    query = {"_id": {"$in": list(event_ids)}, "sha256": {"$exists": True}}
    with mongo_faults():
        return {
            found["_id"]: PictureReference(found["sha256"], found["size"], found["contentType"])
            async for found in database[PICTURES].find(query, _REFERENCE)
        }


async def attendances_of(database: Database, event_ids: Ids[str]) -> Attendances:
    """What is stored of these attendances."""
    attendances = Attendances([], [])
    if not event_ids:
        return attendances
    with mongo_faults():
        stored = await database[ATTENDANCE].find({"_id": {"$in": list(event_ids)}}, _MARKS).to_list(None)
    for found in stored:
        if found.get("partsDropped"):
            attendances.dropped.append(found["_id"])
        elif not found["hasImage"] and not found.get("erased"):
            attendances.unmarked.append(found["_id"])
    return attendances


async def mark_has_image(database: Database, references: Mapping[str, PictureReference]) -> None:
    """Says in each attendance which picture is stored, which need not be the one that its event came with: the first
    picture wins. The reason why one was dropped is then untrue (J6)."""
    if references:
        updates = [
            UpdateOne(
                {"_id": event_id, **LINKABLE},
                {"$set": {"hasImage": True, "image": image_document(reference)}, "$unset": {"imageDropped": ""}},
            )
            for event_id, reference in references.items()
        ]
        try:
            with mongo_faults():
                await database[ATTENDANCE].bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            raise_if_passing(error)
            raise


def image_document(reference: PictureReference) -> Document:
    """A reference as it stands in an attendance, and among the members of a picture."""
    return {"sha256": reference.sha256, "size": reference.size, "contentType": reference.content_type}
