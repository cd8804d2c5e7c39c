"""`audit`: who changed what and when."""

from datetime import UTC, datetime

import pymongo

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.stores.mongo.client import Database, mongo_faults

COLLECTION = "audit"
INDEXES = [pymongo.IndexModel([("at", pymongo.DESCENDING)])]


class MongoAuditStore:
    """AuditStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._entries = database.get_collection(COLLECTION)

    async def begin(self, entry: AuditEntry) -> None:
        document = {
            "_id": entry.audit_id,
            "at": datetime.fromtimestamp(entry.at_ms / 1000, UTC),
            "who": entry.who,
            "action": entry.action,
            "target": entry.target,
            "what": dict(entry.what),
            "outcome": entry.outcome,
        }
        with mongo_faults():
            await self._entries.insert_one(document)

    async def finish(self, audit_id: str, outcome: AuditOutcome, target: str | None) -> None:
        with mongo_faults():
            await self._entries.update_one({"_id": audit_id}, {"$set": {"outcome": outcome, "target": target}})
