"""`persons`: one document a person, or the marker of one who was deleted (design rule 10).

Every write is conditional on `rev`, which every write raises: of two who change one person at once the second does it
again on what the first made of it.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
import pymongo
from bson.binary import Binary
from pymongo.errors import BulkWriteError

from shared.domain.persons import FaceReference, NewPerson, Person, PersonVersions, put_person, with_face
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.absent import is_duplicate_id, raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.person_interfaces import PersonQuery

COLLECTION = "persons"
_UP = pymongo.ASCENDING
INDEXES = [
    pymongo.IndexModel([("siteIds", _UP), ("_id", _UP)]),
    pymongo.IndexModel([("hashes", _UP)], sparse=True),
    pymongo.IndexModel([("unerased", _UP)], sparse=True),
]

_LIVE: Document = {"deletedAtMs": {"$exists": False}}
_FOUND_AT_ONCE = 500
"""Of 10,000 ids in one list the development stand-in looks for each of them in all of it, for minutes."""
_ATTEMPTS = 10
"""Of a write that others keep overtaking."""


class MongoPersonStore:
    """PersonStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._persons = database.get_collection(COLLECTION)

    async def put_many(self, persons: Sequence[NewPerson], now_ms: int) -> Mapping[str, Person | None]:
        before: dict[str, Person | None] = {}
        if not persons:
            return before
        rest = {new.person_id: new for new in persons}
        for _ in range(_ATTEMPTS):
            found = await self._documents(list(rest))
            if any("unerased" in document for document in found.values()):
                raise Unavailable("MongoDB: one of the persons is still being erased")
            writes: list[_Write] = []
            for person_id, new in rest.items():
                document = found.get(person_id)
                person = None if document is None or "deletedAtMs" in document else _person(document)
                before[person_id] = person
                after = put_person(person, document["changes"] if document else 0, new, now_ms)
                writes.append(_Write(document, after, new.hashes_after((document or {}).get("hashes", ()))))
            written = await self._write_many(writes)
            rest = {person_id: new for person_id, new in rest.items() if person_id not in written}
            if not rest:
                return before
        raise Unavailable("MongoDB: persons are being changed by others all the time")

    async def set_face(self, person_id: str, sha256: str | None, size: int, now_ms: int) -> Person | None:
        return await self._change(person_id, lambda person: with_face(person, sha256, size, now_ms))

    async def find(self, person_ids: Sequence[str]) -> dict[str, Person]:
        found: dict[str, Document] = {}
        for start in range(0, len(person_ids), _FOUND_AT_ONCE):
            found |= await self._documents(list(person_ids[start : start + _FOUND_AT_ONCE]))
        return {person_id: _person(document) for person_id, document in found.items() if "deletedAtMs" not in document}

    async def find_by_hash(self, hashes: Sequence[str], limit: int) -> Sequence[Person]:
        return await self._read({"hashes": {"$in": list(hashes)}}, limit)

    async def page(self, query: PersonQuery) -> Sequence[Person]:
        wanted: Document = {"_id": {"$gt": query.after or ""}, **_LIVE}
        if query.site_ids is not None:
            wanted["siteIds"] = {"$in": list(query.site_ids)}
        return await self._read(wanted, query.limit)

    async def at_site(self, site_id: str) -> dict[str, PersonVersions]:
        members = {"nameVersion": True, "face.version": True, "changes": True}
        with mongo_faults():
            found = await self._persons.find({"siteIds": site_id}, members).to_list(None)
        return {
            document["_id"]: PersonVersions(
                document["nameVersion"], (document.get("face") or {}).get("version", 0), document["changes"]
            )
            for document in found
        }

    async def delete(self, person_id: str, now_ms: int) -> Person | None:
        for _ in range(_ATTEMPTS):
            document = (await self._documents([person_id])).get(person_id)
            if document is None or "deletedAtMs" in document:
                return None
            marker = {
                "_id": person_id,
                "rev": document["rev"] + 1,
                "changes": document["changes"],
                "deletedAtMs": now_ms,
                "unerased": True,
            }
            with mongo_faults():
                result = await self._persons.replace_one({"_id": person_id, "rev": document["rev"]}, marker)
            if result.modified_count:
                return _person(document)
        raise Unavailable("MongoDB: the person is being changed by others all the time")

    async def unerased(self, limit: int) -> Sequence[str]:
        with mongo_faults():
            found = await self._persons.find({"unerased": True}, {"_id": True}).limit(limit).to_list(None)
        return [document["_id"] for document in found]

    async def erased(self, person_id: str) -> None:
        with mongo_faults():
            await self._persons.update_one({"_id": person_id, "unerased": True}, {"$unset": {"unerased": ""}})

    async def deleted(self, person_ids: Collection[str]) -> frozenset[str]:
        wanted = {"_id": {"$in": list(person_ids)}, "deletedAtMs": {"$exists": True}}
        with mongo_faults():
            found = await self._persons.find(wanted, {"_id": True}).to_list(None)
        return frozenset(document["_id"] for document in found)

    async def _change(self, person_id: str, change: Callable[[Person], Person]) -> Person | None:
        for _ in range(_ATTEMPTS):
            document = (await self._documents([person_id])).get(person_id)
            if document is None or "deletedAtMs" in document:
                return None
            before = _person(document)
            after = change(before)
            if after == before or await self._write_many([_Write(document, after, document.get("hashes", ()))]):
                return after
        raise Unavailable("MongoDB: the person is being changed by others all the time")

    async def _documents(self, person_ids: list[str]) -> dict[str, Document]:
        with mongo_faults():
            found = await self._persons.find({"_id": {"$in": person_ids}}).to_list(None)
        return {document["_id"]: document for document in found}

    async def _read(self, wanted: Document, limit: int) -> list[Person]:
        with mongo_faults():
            found = await self._persons.find(wanted).sort("_id", _UP).limit(limit).to_list(None)
        return [_person(document) for document in found]

    async def _write_many(self, writes: Sequence["_Write"]) -> frozenset[str]:
        """The ids of those that were written; the others were overtaken."""
        try:
            with mongo_faults():
                await self._persons.bulk_write([write.operation() for write in writes], ordered=False)
        except BulkWriteError as error:
            raise_if_passing(error)
            if not all(is_duplicate_id(fault) for fault in error.details["writeErrors"]):
                raise
        # A condition that did not hold raises nothing: what stands there now tells whose write it was.
        wanted = {write.person_id: write.write_id for write in writes}
        with mongo_faults():
            found = await self._persons.find({"_id": {"$in": list(wanted)}}, {"writeId": True}).to_list(None)
        return frozenset(found["_id"] for found in found if found.get("writeId") == wanted[found["_id"]])


class _Write:
    """A person as it is to stand, in place of the document that was read."""

    def __init__(self, earlier: Document | None, after: Person, hashes: Sequence[str]) -> None:
        self.person_id = after.person_id
        self.write_id = secrets.token_hex(8)
        self._rev = None if earlier is None else earlier["rev"]
        self._document = {
            "rev": (self._rev or 0) + 1,
            "writeId": self.write_id,
            "name": after.name,
            "siteIds": list(after.site_ids),
            "idcardNo": None if after.idcard_no is None else Binary(after.idcard_no),
            "phone": None if after.phone is None else Binary(after.phone),
            "hashes": list(hashes),
            "face": None if after.face is None else msgspec.to_builtins(after.face),
            "changes": after.changes,
            "nameVersion": after.name_version,
            "createdAtMs": after.created_at_ms,
            "changedAtMs": after.changed_at_ms,
        }
        if earlier is not None and "deletedAtMs" in earlier:
            # What terminals still send of the time before is the earlier person's (erasure.py).
            self._document["erasedBeforeMs"] = after.created_at_ms

    def operation(self) -> pymongo.InsertOne[Document] | pymongo.UpdateOne:
        """Changes nothing where another was faster; where there was none, that is a duplicate `_id`."""
        if self._rev is None:
            return pymongo.InsertOne({"_id": self.person_id, **self._document})
        update = {"$set": self._document, "$unset": {"deletedAtMs": ""}}
        return pymongo.UpdateOne({"_id": self.person_id, "rev": self._rev}, update)


def _person(document: Document) -> Person:
    return Person(
        person_id=document["_id"],
        name=document["name"],
        site_ids=tuple(document["siteIds"]),
        idcard_no=document["idcardNo"],
        phone=document["phone"],
        face=msgspec.convert(document["face"], FaceReference | None),
        changes=document["changes"],
        name_version=document["nameVersion"],
        created_at_ms=document["createdAtMs"],
        changed_at_ms=document["changedAtMs"],
    )
