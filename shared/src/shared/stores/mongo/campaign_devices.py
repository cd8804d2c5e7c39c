"""`campaign_devices`: one document a device of a campaign.

1. Every write is conditional on `rev`, which every write raises.
2. `busy` stands on a device that is busy in a campaign and holds its sn: being unique, it keeps the device out of two.
"""

from collections.abc import Sequence

import msgspec
import pymongo
from pymongo.errors import BulkWriteError

from shared.domain.campaign_devices import CampaignDevice, Errand, ErrandState
from shared.domain.campaigns import MAX_DEVICES, Tally
from shared.stores.campaign_interfaces import CampaignDeviceQuery
from shared.stores.mongo.absent import DUPLICATE_KEY, raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "campaign_devices"
_UP = pymongo.ASCENDING
INDEXES = [
    pymongo.IndexModel([("campaignId", _UP), ("forward.state", _UP), ("number", _UP)]),
    pymongo.IndexModel([("campaignId", _UP), ("back.state", _UP), ("number", _UP)]),
    pymongo.IndexModel([("busy", _UP)], unique=True, sparse=True),
]

_ADDED_AT_ONCE = 1_000
_WRITTEN_AT_ONCE = 200
"""Each part has a deadline of its own."""


class MongoCampaignDevices:
    """What CampaignStore says of devices, in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._devices = database.get_collection(COLLECTION)

    async def devices(self, query: CampaignDeviceQuery) -> Sequence[CampaignDevice]:
        first, end = query.after + 1, MAX_DEVICES if query.before is None else query.before
        if query.state is None:
            ids = {"$gte": _device_id(query.campaign_id, first), "$lt": _device_id(query.campaign_id, end)}
            return await self._read({"_id": ids}, "_id", query.limit)
        wanted: Document = {"campaignId": query.campaign_id, f"{query.way}.state": query.state.value}
        return await self._read({**wanted, "number": {"$gte": first, "$lt": end}}, "number", query.limit)

    async def not_turned(self, campaign_id: str, limit: int) -> Sequence[CampaignDevice]:
        wanted: Document = {"campaignId": campaign_id, "back.state": None, "busy": {"$exists": False}}
        return await self._read(wanted, "number", limit)

    async def put_devices(self, campaign_id: str, devices: Sequence[CampaignDevice]) -> None:
        for start in range(0, len(devices), _WRITTEN_AT_ONCE):
            await self._put(campaign_id, devices[start : start + _WRITTEN_AT_ONCE])

    async def retry_failed(self, campaign_id: str) -> None:
        failed = {"campaignId": campaign_id, "forward.state": ErrandState.FAILED.value}
        update = {"$set": {"forward": msgspec.to_builtins(Errand())}, "$inc": {"rev": 1}}
        with mongo_faults():
            await self._devices.update_many(failed, update)

    async def tallies(self, campaign_id: str) -> Sequence[Tally]:
        alike = {"stage": "$stage", "forward": "$forward.state", "back": "$back.state"}
        pipeline: list[Document] = [
            {"$match": {"campaignId": campaign_id}},
            {"$group": {"_id": alike, "count": {"$sum": 1}}},
        ]
        with mongo_faults():
            found = await self._devices.aggregate(pipeline).to_list(None)
        return [
            Tally(
                stage=one["_id"]["stage"],
                forward=ErrandState(one["_id"]["forward"]),
                back=ErrandState(back) if (back := one["_id"].get("back")) else None,
                count=one["count"],
            )
            for one in found
        ]

    async def _read(self, wanted: Document, order: str, limit: int) -> list[CampaignDevice]:
        with mongo_faults():
            documents = await self._devices.find(wanted).sort(order, _UP).limit(limit).to_list(None)
        return [msgspec.convert(document, CampaignDevice) for document in documents]

    async def _put(self, campaign_id: str, devices: Sequence[CampaignDevice]) -> None:
        writes = []
        for device in devices:
            document = _document(campaign_id, msgspec.structs.replace(device, rev=device.rev + 1))
            writes.append(pymongo.ReplaceOne({"_id": document["_id"], "rev": device.rev}, document))
        try:
            with mongo_faults():
                await self._devices.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            raise_if_passing(error)
            if any(fault["code"] != DUPLICATE_KEY for fault in error.details["writeErrors"]):
                raise

    async def _add(self, campaign_id: str, devices: Sequence[CampaignDevice]) -> None:
        for start in range(0, len(devices), _ADDED_AT_ONCE):
            documents = [_document(campaign_id, device) for device in devices[start : start + _ADDED_AT_ONCE]]
            with mongo_faults():
                await self._devices.insert_many(documents, ordered=False)


def _device_id(campaign_id: str, number: int) -> str:
    return f"{campaign_id}:{number:06d}"


def _document(campaign_id: str, device: CampaignDevice) -> Document:
    document: Document = msgspec.to_builtins(device)
    document |= {"_id": _device_id(campaign_id, device.number), "campaignId": campaign_id}
    if device.is_busy:
        document["busy"] = device.sn
    return document
