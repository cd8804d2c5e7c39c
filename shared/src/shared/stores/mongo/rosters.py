"""`rosters`: what is known of each device's persons, and which devices are to be planned; `roster_reports`: pages of
reports until their task ends.

1. `state` is a Roster in msgpack: ids and versions of up to 10,000 persons, which nobody searches.
2. `planAtMs`, the earliest that any mark wants, stands there while the device is to be planned. `marks` counts marks,
   so that a planner that read before one and cleared after it does not lose it. `laterAtMs` is the latest that any
   mark wants: a planning before that does not settle it.
"""

from collections.abc import Collection, Sequence

import msgspec
import pymongo
from pymongo.errors import BulkWriteError, DuplicateKeyError

from shared.domain.roster_reports import ReportPage
from shared.domain.rosters import Roster
from shared.runtime.clock import Clock
from shared.stores.interfaces import DeviceStore
from shared.stores.mongo.absent import is_duplicate_id, raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.roster_interfaces import KeptRoster, PagesSeen

COLLECTION = "rosters"
PAGE_COLLECTION = "roster_reports"
"""`_id` is task and page, so that no other index is needed."""
_UP = pymongo.ASCENDING
INDEXES = [
    pymongo.IndexModel([("planAtMs", _UP)], sparse=True),
    pymongo.IndexModel([("open", _UP), ("_id", _UP)], partialFilterExpression={"open": True}),
]

CLOCKS_DIFFER_MS = 3_600_000
"""The site of a device is dated by session's clock."""


class MongoRosterStore:
    """RosterStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._rosters = database.get_collection(COLLECTION)
        self._pages = database.get_collection(PAGE_COLLECTION)

    async def find(self, sns: Sequence[str]) -> dict[str, KeptRoster]:
        with mongo_faults():
            found = await self._rosters.find({"_id": {"$in": list(sns)}}).to_list(None)
        return {sn: KeptRoster(sn=sn) for sn in sns} | {document["_id"]: _kept(document) for document in found}

    async def replace(self, kept: KeptRoster, roster: Roster) -> bool:
        wanted: Document = {"_id": kept.sn, "rev": kept.rev if kept.rev else {"$exists": False}}
        values: Document = {"rev": kept.rev + 1, "state": msgspec.msgpack.encode(roster)}
        update: Document = {"$set": values}
        if roster.open:
            values |= {"open": True, "openTasks": [task.task_id for task in roster.open]}
        else:
            update["$unset"] = {"open": "", "openTasks": ""}
        try:
            with mongo_faults():
                result = await self._rosters.update_one(wanted, update, upsert=not kept.rev)
        except DuplicateKeyError:
            return False
        return bool(result.matched_count or result.upserted_id is not None)

    async def due(self, until_ms: int, limit: int) -> Sequence[str]:
        with mongo_faults():
            found = self._rosters.find({"planAtMs": {"$lte": until_ms}}, {"_id": True}).sort("planAtMs", _UP)
            return [document["_id"] for document in await found.limit(limit).to_list(None)]

    async def planned(self, kept: KeptRoster, next_ms: int | None) -> None:
        wanted: Document = {"_id": kept.sn, "marks": kept.marks if kept.marks else {"$exists": False}}
        update: Document = {"$unset": {"planAtMs": ""}} if next_ms is None else {"$set": {"planAtMs": next_ms}}
        with mongo_faults():
            await self._rosters.update_one(wanted, update)

    async def with_open_tasks(self, after: str | None, limit: int) -> Sequence[tuple[str, Sequence[str]]]:
        wanted = {"open": True, "_id": {"$gt": after or ""}}
        with mongo_faults():
            found = self._rosters.find(wanted, {"openTasks": True}).sort("_id", _UP).limit(limit)
            return [(document["_id"], document["openTasks"]) for document in await found.to_list(None)]

    async def put_page(self, task_id: str, page: ReportPage) -> PagesSeen:
        document = {"page": msgspec.msgpack.encode(page)}
        of_total = {"_id": f"{task_id}:of {page.total}"}
        with mongo_faults():
            result = await self._pages.replace_one({"_id": f"{task_id}:{page.number}"}, document, upsert=True)
            # One document says which there are, so that a long report is not read whole with every page.
            seen = await self._pages.find_one_and_update(
                of_total,
                {"$addToSet": {"numbers": page.number}},
                upsert=True,
                return_document=pymongo.ReturnDocument.AFTER,
            )
        is_news = result.modified_count > 0 or result.upserted_id is not None
        return PagesSeen(len(seen["numbers"]), is_news)

    async def pages(self, task_id: str) -> Sequence[ReportPage]:
        with mongo_faults():
            found = await self._pages.find({**_of_task(task_id), "page": {"$exists": True}}).to_list(None)
        return [msgspec.msgpack.decode(document["page"], type=ReportPage) for document in found]

    async def remove_pages(self, task_id: str) -> None:
        with mongo_faults():
            await self._pages.delete_many(_of_task(task_id))


def _of_task(task_id: str) -> Document:
    return {"_id": {"$gt": f"{task_id}:", "$lt": f"{task_id};"}}


class MongoRosterMarks:
    """RosterMarks in MongoDB."""

    def __init__(self, database: Database, devices: DeviceStore, clock: Clock) -> None:
        self._rosters = database.get_collection(COLLECTION)
        self._devices = devices
        self._clock = clock

    async def mark_sites(self, site_ids: Collection[str], after_ms: int = 0) -> None:
        now_ms = self._clock.now_ms()
        there = [await self._devices.at_site(site_id, now_ms + CLOCKS_DIFFER_MS) for site_id in sorted(set(site_ids))]
        await self.mark_devices({device.sn for devices in there for device in devices}, after_ms)

    async def mark_devices(self, sns: Collection[str], after_ms: int = 0) -> None:
        at_ms = self._clock.now_ms() + after_ms
        update = {"$min": {"planAtMs": at_ms}, "$max": {"laterAtMs": at_ms}, "$inc": {"marks": 1}}
        writes = [pymongo.UpdateOne({"_id": sn}, update, upsert=True) for sn in sorted(set(sns))]
        while writes:
            try:
                with mongo_faults():
                    await self._rosters.bulk_write(writes, ordered=False)
                writes = []
            except BulkWriteError as error:
                raise_if_passing(error)
                faults = error.details["writeErrors"]
                if not all(is_duplicate_id(fault) for fault in faults):
                    raise
                # Another was the first to write this device's document: now there is one to be changed.
                writes = [writes[fault["index"]] for fault in faults]


def _kept(document: Document) -> KeptRoster:
    state = document.get("state")
    return KeptRoster(
        sn=document["_id"],
        roster=Roster() if state is None else msgspec.msgpack.decode(state, type=Roster),
        rev=document.get("rev", 0),
        marks=document.get("marks", 0),
        later_ms=document.get("laterAtMs", 0),
    )
