"""`campaigns`: firmware campaigns, one document each without its devices.

Every write is conditional on `rev`, which every write raises. Devices are added before their campaign: what a crash
leaves of them belongs to no campaign and is never looked at.
"""

from collections.abc import Sequence

import msgspec
import pymongo

from shared.domain.campaign_devices import CampaignDevice
from shared.domain.campaigns import Campaign
from shared.stores.mongo.campaign_devices import MongoCampaignDevices
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "campaigns"
_UP, _DOWN = pymongo.ASCENDING, pymongo.DESCENDING
INDEXES = [pymongo.IndexModel([("unsettled", _UP), ("_id", _UP)], partialFilterExpression={"unsettled": True})]


class MongoCampaignStore(MongoCampaignDevices):
    """CampaignStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._campaigns = database.get_collection(COLLECTION)

    async def add(self, campaign: Campaign, devices: Sequence[CampaignDevice]) -> None:
        await self._add(campaign.campaign_id, devices)
        with mongo_faults():
            await self._campaigns.insert_one(_document(campaign))

    async def find(self, campaign_id: str) -> Campaign | None:
        with mongo_faults():
            document = await self._campaigns.find_one({"_id": campaign_id})
        return None if document is None else _campaign(document)

    async def page(self, before: str | None, limit: int) -> Sequence[Campaign]:
        wanted: Document = {} if before is None else {"_id": {"$lt": before}}
        with mongo_faults():
            found = await self._campaigns.find(wanted).sort("_id", _DOWN).limit(limit).to_list(None)
        return [_campaign(document) for document in found]

    async def unsettled(self) -> Sequence[Campaign]:
        with mongo_faults():
            found = await self._campaigns.find({"unsettled": True}).sort("_id", _UP).to_list(None)
        return [_campaign(document) for document in found]

    async def replace(self, campaign: Campaign) -> bool:
        document = _document(msgspec.structs.replace(campaign, rev=campaign.rev + 1))
        with mongo_faults():
            result = await self._campaigns.replace_one({"_id": campaign.campaign_id, "rev": campaign.rev}, document)
        return bool(result.matched_count)


def _document(campaign: Campaign) -> Document:
    document: Document = msgspec.to_builtins(campaign)
    document["_id"] = document.pop("campaignId")
    if not campaign.is_settled:
        document["unsettled"] = True
    return document


def _campaign(document: Document) -> Campaign:
    return msgspec.convert({**document, "campaignId": document["_id"]}, Campaign)
