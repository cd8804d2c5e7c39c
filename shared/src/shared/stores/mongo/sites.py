"""`sites`: where terminals stand."""

from collections.abc import Sequence

import pymongo

from shared.domain.sites import Site
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "sites"
INDEXES: list[pymongo.IndexModel] = []
"""By site_id alone, which is `_id`."""


class MongoSiteStore:
    """SiteStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._sites = database.get_collection(COLLECTION)

    async def add(self, site: Site) -> None:
        with mongo_faults():
            await self._sites.insert_one({"_id": site.site_id, "name": site.name, "createdAtMs": site.created_at_ms})

    async def find(self, site_ids: Sequence[str]) -> dict[str, Site]:
        with mongo_faults():
            documents = await self._sites.find({"_id": {"$in": list(set(site_ids))}}).to_list(None)
        return {document["_id"]: _site(document) for document in documents}

    async def page(self, after: str | None, limit: int) -> Sequence[Site]:
        with mongo_faults():
            found = self._sites.find({"_id": {"$gt": after or ""}}).sort("_id", pymongo.ASCENDING).limit(limit)
            return [_site(document) for document in await found.to_list(None)]


def _site(document: Document) -> Site:
    return Site(site_id=document["_id"], name=document["name"], created_at_ms=document["createdAtMs"])
