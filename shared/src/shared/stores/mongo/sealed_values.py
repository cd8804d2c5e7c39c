"""Everything that is sealed in MongoDB, page by page, for being sealed anew under another key. No service runs this."""

from collections.abc import Sequence

import msgspec
import pymongo
from bson.binary import Binary

from shared.stores.mongo import credentials, persons
from shared.stores.mongo.client import Database, Document, mongo_faults

PAGE = 500


class SealedSecret(msgspec.Struct, frozen=True):
    """Of a credential."""

    access_id: str
    sealed: bytes


class SealedIdentity(msgspec.Struct, frozen=True):
    """Of a person who is not deleted."""

    person_id: str
    rev: int
    idcard_no: bytes | None
    phone: bytes | None
    hashes: Sequence[str]


class MongoSealedValues:
    """Reads and replaces them. A replacement that somebody's change has overtaken does nothing. Every method may raise
    Unavailable."""

    def __init__(self, database: Database) -> None:
        self._credentials = database.get_collection(credentials.COLLECTION)
        self._persons = database.get_collection(persons.COLLECTION)

    async def secrets(self, after: str) -> Sequence[SealedSecret]:
        """Those that follow in the order of ids; none at the end."""
        found = self._credentials.find({"_id": {"$gt": after}}, {"sealedSecret": True})
        with mongo_faults():
            documents = await found.sort("_id", pymongo.ASCENDING).limit(PAGE).to_list(None)
        return [SealedSecret(document["_id"], bytes(document["sealedSecret"])) for document in documents]

    async def replace_secret(self, before: SealedSecret, sealed: bytes) -> bool:
        """Whether it was still the one before."""
        wanted = {"_id": before.access_id, "sealedSecret": Binary(before.sealed)}
        with mongo_faults():
            result = await self._credentials.update_one(wanted, {"$set": {"sealedSecret": Binary(sealed)}})
        return bool(result.modified_count)

    async def identities(self, after: str) -> Sequence[SealedIdentity]:
        """Those that follow in the order of ids; none at the end."""
        wanted: Document = {"_id": {"$gt": after}, "deletedAtMs": {"$exists": False}}
        found = self._persons.find(wanted, {"rev": True, "idcardNo": True, "phone": True, "hashes": True})
        with mongo_faults():
            documents = await found.sort("_id", pymongo.ASCENDING).limit(PAGE).to_list(None)
        return [
            SealedIdentity(
                document["_id"], document["rev"], document["idcardNo"], document["phone"], document.get("hashes", ())
            )
            for document in documents
        ]

    async def replace_identity(self, before: SealedIdentity, after: SealedIdentity) -> bool:
        """Whether it was still the one before. To terminals and operators nothing has changed."""
        values = {"idcardNo": _binary(after.idcard_no), "phone": _binary(after.phone), "hashes": list(after.hashes)}
        wanted = {"_id": before.person_id, "rev": before.rev}
        with mongo_faults():
            result = await self._persons.update_one(wanted, {"$set": values, "$inc": {"rev": 1}})
        return bool(result.modified_count)


def _binary(sealed: bytes | None) -> Binary | None:
    return None if sealed is None else Binary(sealed)
