"""`synthetic_attendance`: what synthetic vendors' terminals signed in, away from `attendance`, for a day (ADR 0022)."""

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel

from shared.domain.attendance import AttendanceEvent
from shared.stores.interfaces import Added
from shared.stores.mongo.absent import add_absent
from shared.stores.mongo.attendance import from_document, to_document
from shared.stores.mongo.client import Database, mongo_faults

COLLECTION = "synthetic_attendance"
KEPT_SECONDS = 86_400
INDEXES = [IndexModel([("receivedAt", ASCENDING)], name="kept", expireAfterSeconds=KEPT_SECONDS)]


class MongoSyntheticAttendanceStore:
    """SyntheticAttendanceStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._collection = database[COLLECTION]

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """Adds those not there yet. Raises Unavailable: do it all again."""
        outcome = await add_absent(self._collection, [to_document(event, None) for event in events])
        return Added(new=len(outcome.new), refused=outcome.refused)

    async def find(self, event_id: str) -> AttendanceEvent | None:
        """The sign-in with this id. Raises Unavailable."""
        with mongo_faults():
            document = await self._collection.find_one({"_id": event_id})
        return None if document is None else from_document(document).event
