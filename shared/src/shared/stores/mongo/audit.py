"""`audit`: who changed what and when."""

from collections.abc import Mapping, Sequence

import pymongo
from bson.datetime_ms import DatetimeMS

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.operator_interfaces import AuditQuery

COLLECTION = "audit"
_NEWEST_FIRST = [("at", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)]

# Each ends in the order of a page, `_id` included, so that a page is read from the index and never sorted.
INDEXES = [
    pymongo.IndexModel(_NEWEST_FIRST, name="newest"),
    pymongo.IndexModel([("who", pymongo.ASCENDING), *_NEWEST_FIRST], name="who"),
    pymongo.IndexModel([("target", pymongo.ASCENDING), *_NEWEST_FIRST], name="target"),
]

_PAST_ASCII = "\x7f"


class MongoAuditStore:
    """AuditStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._entries = database.get_collection(COLLECTION)

    async def begin(self, entry: AuditEntry) -> None:
        document = {
            "_id": entry.audit_id,
            "at": DatetimeMS(entry.at_ms),
            "who": entry.who,
            "action": entry.action,
            "target": entry.target,
            "what": dict(entry.what),
            "outcome": entry.outcome,
        }
        with mongo_faults():
            await self._entries.insert_one(document)

    async def finish(
        self,
        audit_id: str,
        outcome: AuditOutcome,
        target: str | None,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
        what: Mapping[str, object] | None = None,
    ) -> None:
        ended: Document = {
            "outcome": outcome,
            "target": target,
            "before": None if before is None else dict(before),
            "after": None if after is None else dict(after),
        }
        if what is not None:
            ended["what"] = dict(what)
        with mongo_faults():
            await self._entries.update_one({"_id": audit_id}, {"$set": ended})

    async def page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        with mongo_faults():
            found = self._entries.find(_filter(query)).sort(_NEWEST_FIRST).limit(query.limit)
            return [_entry(document) for document in await found.to_list(None)]


def _filter(query: AuditQuery) -> Document:
    conditions: list[Document] = []
    for member, value in (("who", query.who), ("target", query.target)):
        if value is not None:
            conditions.append({member: value})
    if query.action is not None:
        # Every action is ASCII: a range finds what begins like this, and a pattern would need escaping
        conditions.append({"action": {"$gte": query.action, "$lt": query.action + _PAST_ASCII}})
    if query.from_ms is not None:
        conditions.append({"at": {"$gte": DatetimeMS(query.from_ms)}})
    if query.to_ms is not None:
        conditions.append({"at": {"$lt": DatetimeMS(query.to_ms)}})
    if query.after is not None:
        at_ms, audit_id = query.after
        at = DatetimeMS(at_ms)
        # The first condition bounds the index range, which $or alone does not.
        conditions += [{"at": {"$lte": at}}, {"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": audit_id}}]}]
    return {"$and": conditions} if conditions else {}


def _entry(document: Document) -> AuditEntry:
    return AuditEntry(
        audit_id=document["_id"],
        at_ms=int(DatetimeMS(document["at"])),
        who=document["who"],
        action=document["action"],
        target=document["target"],
        what=document["what"],
        before=document.get("before"),
        after=document.get("after"),
        outcome=AuditOutcome(document["outcome"]),
    )
