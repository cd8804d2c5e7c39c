"""The last known presence of each device, in `devices` under `presence`: written by the writer alone, from events.

An update says in its condition which earlier state it may follow, so that a stale or repeated event changes nothing.
It never inserts: a device is there because session registered it.
"""

from collections import Counter
from collections.abc import Sequence

import pymongo
from pymongo.errors import BulkWriteError

from shared.domain.attendance import parse_rfc3339
from shared.domain.presence import Presence, PresenceEvent, PresenceState
from shared.stores.mongo import credentials, devices
from shared.stores.mongo.absent import raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults

_FACTS = ("address", "device_version", "device_ip", "clock_skew_seconds")


class MongoPresenceRecordStore:
    """PresenceRecordStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._devices = database.get_collection(devices.COLLECTION)
        self._vendors = database.get_collection(credentials.VENDORS_COLLECTION)

    async def apply(self, events: Sequence[PresenceEvent]) -> None:
        if not events:
            return
        try:
            with mongo_faults():
                await self._devices.bulk_write([update for event in events for update in _updates(event)], ordered=True)
        except BulkWriteError as error:
            raise_if_passing(error)
            raise

    async def find(self, sns: Sequence[str]) -> dict[str, Presence]:
        known = {"_id": {"$in": list(set(sns))}, "presence": {"$exists": True}}
        with mongo_faults():
            documents = await self._devices.find(known, _MEMBERS).to_list(None)
        return {document["_id"]: _presence(document) for document in documents}

    async def online_page(self, after: str | None, limit: int) -> Sequence[Presence]:
        online = {"presence.online": True, "_id": {"$gt": after or ""}}
        with mongo_faults():
            found = self._devices.find(online, _MEMBERS).sort("_id", pymongo.ASCENDING).limit(limit)
            return [_presence(document) for document in await found.to_list(None)]

    async def count_by_site(self) -> dict[tuple[str | None, bool], int]:
        """How many devices that are not disabled there are, by where they stand and whether they are online; those of
        synthetic vendors are none. Raises Unavailable."""
        # in this form, since the development stand-in takes no path through an array
        last_span = {"$arrayElemAt": ["$siteHistory", -1]}
        stands_at = {"$let": {"vars": {"last": last_span}, "in": "$$last.siteId"}}
        alike = {"site": stands_at, "online": "$presence.online"}
        with mongo_faults():
            measuring = await self._vendors.find({"synthetic": True}, {"_id": True}).to_list(None)
            of_sites = {"disabled": {"$ne": True}, "vendorId": {"$nin": [vendor["_id"] for vendor in measuring]}}
            pipeline: list[Document] = [{"$match": of_sites}, {"$group": {"_id": alike, "count": {"$sum": 1}}}]
            found = await self._devices.aggregate(pipeline).to_list(None)
        counts: Counter[tuple[str | None, bool]] = Counter()
        for one in found:  # what was never online is off line as well
            counts[one["_id"].get("site"), bool(one["_id"].get("online"))] += one["count"]
        return dict(counts)


_MEMBERS = {"vendorId": 1, "presence": 1}


def _updates(event: PresenceEvent) -> list[pymongo.UpdateOne]:
    """In this order, one for each state that the event may follow: an `$or` beside `_id` is a scan of all devices to
    the development stand-in."""
    seen_ms = parse_rfc3339(event.last_seen_at)
    members = {"epoch": event.epoch, "online": event.state is not PresenceState.OFFLINE, "lastSeenMs": seen_ms}
    for fact in _FACTS:
        if (value := getattr(event, fact)) is not None:
            members[_camel(fact)] = value
    change = {"$set": {f"presence.{name}": value for name, value in members.items()}}
    return [pymongo.UpdateOne({"_id": event.sn, **earlier}, change) for earlier in _may_follow(event, seen_ms)]


def _may_follow(event: PresenceEvent, seen_ms: int) -> list[Document]:
    # `$not` holds also where no presence is known yet.
    if event.state is PresenceState.OFFLINE:
        return [{"presence.epoch": {"$not": {"$gt": event.epoch}}}]
    earlier_connection = {"presence.epoch": {"$not": {"$gte": event.epoch}}}
    same_connection = {
        "presence.epoch": event.epoch,
        "presence.online": True,
        "presence.lastSeenMs": {"$lte": seen_ms},
    }
    return [earlier_connection, same_connection]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _presence(document: Document) -> Presence:
    known = document["presence"]
    return Presence(
        sn=document["_id"],
        vendor_id=document["vendorId"],
        online=known["online"],
        epoch=known["epoch"],
        last_seen_ms=known["lastSeenMs"],
        **{fact: known.get(_camel(fact)) for fact in _FACTS},
    )
