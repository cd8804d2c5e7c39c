"""`vendors` and `credentials`. Secrets come here sealed and are stored as they come (design rule 8)."""

from collections.abc import Sequence

import pymongo

from shared.domain.credentials import Credential, Vendor
from shared.protocol.signatures import SignForm
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "credentials"
VENDORS_COLLECTION = "vendors"
INDEXES = [
    pymongo.IndexModel([("vendorId", pymongo.ASCENDING)]),
    pymongo.IndexModel([("revokedAtMs", pymongo.ASCENDING)], sparse=True),
]


class MongoCredentialStore:
    """CredentialStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._vendors = database.get_collection(VENDORS_COLLECTION)
        self._credentials = database.get_collection(COLLECTION)

    async def add_vendor(self, vendor: Vendor) -> None:
        with mongo_faults():
            await self._vendors.insert_one(
                {
                    "_id": vendor.vendor_id,
                    "name": vendor.name,
                    "signForm": vendor.sign_form,
                    "timeWindowSeconds": vendor.time_window_seconds,
                    "synthetic": vendor.synthetic,
                    "createdAtMs": vendor.created_at_ms,
                }
            )

    async def vendors(self, after: str | None, limit: int) -> Sequence[Vendor]:
        with mongo_faults():
            found = self._vendors.find({"_id": {"$gt": after or ""}}).sort("_id", pymongo.ASCENDING).limit(limit)
            return [_vendor(document) for document in await found.to_list(None)]

    async def vendor(self, vendor_id: str) -> Vendor | None:
        with mongo_faults():
            document = await self._vendors.find_one({"_id": vendor_id})
        return None if document is None else _vendor(document)

    async def add_credential(self, credential: Credential) -> None:
        document: Document = {
            "_id": credential.access_id,
            "vendorId": credential.vendor_id,
            "accessKey": credential.access_key,
            "sealedSecret": credential.sealed_secret,
            "createdAtMs": credential.created_at_ms,
        }
        # absent, not null, where it is in force: the index of revoked ones is sparse
        if credential.revoked_at_ms is not None:
            document["revokedAtMs"] = credential.revoked_at_ms
        with mongo_faults():
            await self._credentials.insert_one(document)

    async def credentials_of(self, vendor_ids: Sequence[str]) -> dict[str, list[Credential]]:
        by_vendor: dict[str, list[Credential]] = {vendor_id: [] for vendor_id in vendor_ids}
        with mongo_faults():
            async for document in self._credentials.find({"vendorId": {"$in": list(by_vendor)}}):
                by_vendor[document["vendorId"]].append(_credential(document))
        for credentials in by_vendor.values():
            credentials.sort(key=lambda credential: (credential.created_at_ms, credential.access_id))
        return by_vendor

    async def find_credentials(self, access_ids: Sequence[str]) -> dict[str, tuple[Credential, Vendor]]:
        joined = self._credentials.aggregate(
            [
                {"$match": {"_id": {"$in": list(set(access_ids))}}},
                {
                    "$lookup": {
                        "from": VENDORS_COLLECTION,
                        "localField": "vendorId",
                        "foreignField": "_id",
                        "as": "vendor",
                    }
                },
            ]
        )
        with mongo_faults():
            documents = await joined.to_list(None)
        return {
            document["_id"]: (_credential(document), _vendor(document["vendor"][0]))
            for document in documents
            if document["vendor"]
        }

    async def revoke(self, vendor_id: str, access_id: str, at_ms: int) -> Credential | None:
        its_own = {"_id": access_id, "vendorId": vendor_id}
        with mongo_faults():
            await self._credentials.update_one(
                {**its_own, "revokedAtMs": {"$exists": False}}, {"$set": {"revokedAtMs": at_ms}}
            )
            document = await self._credentials.find_one(its_own)
        return None if document is None else _credential(document)

    async def revoked_since(self, since_ms: int) -> Sequence[Credential]:
        with mongo_faults():
            documents = await self._credentials.find({"revokedAtMs": {"$gte": since_ms}}).to_list(None)
        return [_credential(document) for document in documents]


def _vendor(document: Document) -> Vendor:
    sign_form = document["signForm"]
    return Vendor(
        vendor_id=document["_id"],
        name=document["name"],
        sign_form=None if sign_form is None else SignForm(sign_form),
        time_window_seconds=document["timeWindowSeconds"],
        synthetic=document.get("synthetic", False),  # older vendors have none
        created_at_ms=document["createdAtMs"],
    )


def _credential(document: Document) -> Credential:
    return Credential(
        access_id=document["_id"],
        vendor_id=document["vendorId"],
        access_key=document["accessKey"],
        sealed_secret=bytes(document["sealedSecret"]),
        created_at_ms=document["createdAtMs"],
        revoked_at_ms=document.get("revokedAtMs"),
    )
