"""`devices`: which terminals there are, whose they are, and where they stood."""

from collections.abc import Collection, Sequence

import pymongo

from shared.domain.devices import Device, Direction, SiteSpan, site_at, stands_at
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.absent import add_absent
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "devices"
INDEXES = [
    pymongo.IndexModel([("siteHistory.siteId", pymongo.ASCENDING)]),
    pymongo.IndexModel([("disabledAtMs", pymongo.ASCENDING)], sparse=True),
    pymongo.IndexModel(
        [("unsettled", pymongo.ASCENDING), ("changedAtMs", pymongo.ASCENDING)],
        partialFilterExpression={"unsettled": True},
    ),
    # stores/mongo/presence.py
    pymongo.IndexModel(
        [("presence.online", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)],
        partialFilterExpression={"presence.online": True},
    ),
]


class MongoDeviceStore:
    """DeviceStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._devices = database.get_collection(COLLECTION)

    async def find(self, sns: Sequence[str]) -> dict[str, Device]:
        with mongo_faults():
            documents = await self._devices.find({"_id": {"$in": list(set(sns))}}).to_list(None)
        return {document["_id"]: _device(document) for document in documents}

    async def register(self, devices: Sequence[Device]) -> dict[str, Device]:
        if not devices:
            return {}
        outcome = await add_absent(self._devices, [_document(device) for device in devices])
        if outcome.refused:
            raise Unavailable(
                f"MongoDB: {len(outcome.refused)} devices refused: {next(iter(outcome.refused.values()))}"
            )
        earlier = await self.find(list(outcome.present)) if outcome.present else {}
        first_of_each = {device.sn: device for device in reversed(devices)}
        return first_of_each | earlier

    async def page(self, after: str | None, limit: int) -> Sequence[Device]:
        with mongo_faults():
            found = self._devices.find({"_id": {"$gt": after or ""}}).sort("_id", pymongo.ASCENDING).limit(limit)
            return [_device(document) for document in await found.to_list(None)]

    async def page_at_sites(
        self, site_ids: Collection[str], now_ms: int, after: str | None, limit: int
    ) -> Sequence[Device]:
        there_now: list[Device] = []
        while True:
            ever_there: Document = {"siteHistory.siteId": {"$in": list(site_ids)}, "_id": {"$gt": after or ""}}
            with mongo_faults():
                found = self._devices.find(ever_there).sort("_id", pymongo.ASCENDING).limit(limit)
                devices = [_device(document) for document in await found.to_list(None)]
            there_now += [device for device in devices if stands_at(device, now_ms)[0] in site_ids]
            if len(devices) < limit or len(there_now) >= limit:
                return there_now[:limit]
            after = devices[-1].sn

    async def replace(self, earlier: Device, device: Device) -> bool:
        as_read = {"_id": device.sn, "changedAtMs": _or_absent(earlier.changed_at_ms)}
        with mongo_faults():
            result = await self._devices.update_one(as_read, {"$set": {**_set_by_operators(device), "unsettled": True}})
        return bool(result.matched_count)

    async def unsettled(self, changed_until_ms: int, limit: int) -> Sequence[Device]:
        wanted = {"unsettled": True, "changedAtMs": {"$lte": changed_until_ms}}
        with mongo_faults():
            found = self._devices.find(wanted).sort("changedAtMs", pymongo.ASCENDING).limit(limit)
            return [_device(document) for document in await found.to_list(None)]

    async def settle(self, device: Device) -> None:
        with mongo_faults():
            await self._devices.update_one(
                {"_id": device.sn, "changedAtMs": _or_absent(device.changed_at_ms)}, {"$unset": {"unsettled": ""}}
            )

    async def at_site(self, site_id: str, now_ms: int) -> Sequence[Device]:
        with mongo_faults():
            documents = await self._devices.find({"siteHistory.siteId": site_id}).to_list(None)
        ever_there = [_device(document) for document in documents]
        there_now = [device for device in ever_there if site_at(device.site_history, now_ms)[0] == site_id]
        return sorted(there_now, key=lambda device: device.sn)

    async def disabled_since(self, since_ms: int) -> Sequence[Device]:
        with mongo_faults():
            documents = await self._devices.find({"disabledAtMs": {"$gte": since_ms}}).to_list(None)
        return [_device(document) for document in documents]


def _or_absent(value: int | None) -> object:
    return {"$exists": False} if value is None else value


def _document(device: Device) -> Document:
    return {
        "_id": device.sn,
        "vendorId": device.vendor_id,
        "registeredAtMs": device.registered_at_ms,
        **_set_by_operators(device),
    }


def _set_by_operators(device: Device) -> Document:
    document: Document = {
        "name": device.name,
        "disabled": device.disabled,
        "timeWindowSeconds": device.time_window_seconds,
        "siteHistory": [
            {"sinceMs": span.since_ms, "siteId": span.site_id, "direction": span.direction}
            for span in device.site_history
        ],
    }
    # absent, not null, where there is none: the index of disabled ones is sparse
    times = {"disabledAtMs": device.disabled_at_ms, "changedAtMs": device.changed_at_ms}
    return document | {member: value for member, value in times.items() if value is not None}


def site_history(document: Document) -> tuple[SiteSpan, ...]:
    """Of a device as it is stored."""
    return tuple(
        SiteSpan(span["sinceMs"], span["siteId"], Direction(span["direction"]) if span["direction"] else None)
        for span in document["siteHistory"]
    )


def _device(document: Document) -> Device:
    return Device(
        sn=document["_id"],
        vendor_id=document["vendorId"],
        name=document["name"],
        disabled=document["disabled"],
        time_window_seconds=document["timeWindowSeconds"],
        disabled_at_ms=document.get("disabledAtMs"),
        site_history=site_history(document),
        registered_at_ms=document["registeredAtMs"],
        changed_at_ms=document.get("changedAtMs"),
    )
