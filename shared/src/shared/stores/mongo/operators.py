"""`operators`: the tokens that open the console, as digests."""

from collections.abc import Sequence

import pymongo

from shared.domain.operators import OperatorToken, Role
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "operators"
INDEXES = [pymongo.IndexModel([("digest", pymongo.ASCENDING)], unique=True)]


class MongoOperatorTokenStore:
    """OperatorTokenStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._tokens = database.get_collection(COLLECTION)

    async def add(self, token: OperatorToken) -> None:
        document = {
            "_id": token.token_id,
            "digest": token.digest,
            "role": token.role.name.lower(),
            "siteIds": None if token.site_ids is None else sorted(token.site_ids),
            "name": token.name,
            "createdAtMs": token.created_at_ms,
            "expiresAtMs": token.expires_at_ms,
            "revokedAtMs": token.revoked_at_ms,
        }
        with mongo_faults():
            await self._tokens.insert_one(document)

    async def find_by_digest(self, digest: str) -> OperatorToken | None:
        with mongo_faults():
            document = await self._tokens.find_one({"digest": digest})
        return None if document is None else _token(document)

    async def page(self, after: str | None, limit: int) -> Sequence[OperatorToken]:
        with mongo_faults():
            found = self._tokens.find({"_id": {"$gt": after or ""}}).sort("_id", pymongo.ASCENDING).limit(limit)
            return [_token(document) for document in await found.to_list(None)]

    async def revoke(self, token_id: str, at_ms: int) -> OperatorToken | None:
        with mongo_faults():
            document = await self._tokens.find_one({"_id": token_id})
            await self._tokens.update_one({"_id": token_id, "revokedAtMs": None}, {"$set": {"revokedAtMs": at_ms}})
        return None if document is None else _token(document)


def _token(document: Document) -> OperatorToken:
    site_ids = document["siteIds"]
    return OperatorToken(
        token_id=document["_id"],
        digest=document["digest"],
        role=Role[document["role"].upper()],
        site_ids=None if site_ids is None else frozenset(site_ids),
        name=document["name"],
        created_at_ms=document["createdAtMs"],
        expires_at_ms=document["expiresAtMs"],
        revoked_at_ms=document["revokedAtMs"],
    )
