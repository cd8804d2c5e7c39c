"""`faces`: one JPEG a person, by person id. Whose face it is, and whether it still counts, says `persons`."""

from bson.binary import Binary
from pymongo import IndexModel

from shared.stores.mongo.client import Database, mongo_faults

COLLECTION = "faces"

INDEXES: list[IndexModel] = []


class MongoFaceStore:
    """FaceStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._faces = database.get_collection(COLLECTION)

    async def put(self, person_id: str, data: bytes, sha256: str) -> None:
        face = {"_id": person_id, "data": Binary(data), "sha256": sha256}
        with mongo_faults():
            await self._faces.replace_one({"_id": person_id}, face, upsert=True)

    async def find(self, person_id: str) -> tuple[bytes, str] | None:
        with mongo_faults():
            document = await self._faces.find_one({"_id": person_id})
        return None if document is None else (bytes(document["data"]), document["sha256"])

    async def delete(self, person_id: str) -> None:
        with mongo_faults():
            await self._faces.delete_one({"_id": person_id})
