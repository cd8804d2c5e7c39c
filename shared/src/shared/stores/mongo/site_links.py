"""siteId and direction of attendances whose device was assigned only after they had been recorded (design rule 11).

An event says where its terminal stood, or nothing where nobody had said so yet. Device and attendance are stored in
either order, and each side, after its own write, fills in what is missing: whichever of the two writes came last
therefore sees the other's. What is there already is never changed.
"""

from collections.abc import Sequence

from bson.datetime_ms import DatetimeMS
from pymongo import UpdateOne

from shared.domain.attendance import AttendanceEvent
from shared.domain.devices import Direction, SiteSpan, site_at
from shared.stores.mongo import devices
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.mongo.image_links import ATTENDANCE


async def fill_in_events(database: Database, events: Sequence[AttendanceEvent]) -> None:
    """Gives stored events what they lack and their devices' histories know by now. Raises Unavailable."""
    lacking = [event for event in events if event.site_id is None or event.direction is None]
    if not lacking:
        return
    assigned = {"_id": {"$in": sorted({event.sn for event in lacking})}, "siteHistory.0": {"$exists": True}}
    with mongo_faults():
        documents = await database[devices.COLLECTION].find(assigned, {"siteHistory": True}).to_list(None)
    histories = {document["_id"]: devices.site_history(document) for document in documents}
    updates = [
        UpdateOne({"_id": event.event_id, member: {"$exists": False}}, {"$set": {member: value}})
        for event in lacking
        for member, value in _known(*site_at(histories.get(event.sn, ()), event.record_time))
    ]
    if updates:
        with mongo_faults():
            await database[ATTENDANCE].bulk_write(updates, ordered=False)


async def fill_in_device(database: Database, sn: str, history: tuple[SiteSpan, ...]) -> None:
    """Gives the device's stored attendances what they lack and the history knows. Raises Unavailable."""
    for span, following in zip(history, [*history[1:], None], strict=False):
        times: Document = {"$gte": DatetimeMS(span.since_ms)}
        if following is not None:
            times["$lt"] = DatetimeMS(following.since_ms)
        for member, value in _known(span.site_id, span.direction):
            wanted = {"sn": sn, "recordTime": times, member: {"$exists": False}}
            with mongo_faults():
                await database[ATTENDANCE].update_many(wanted, {"$set": {member: value}})


def _known(site_id: str | None, direction: Direction | None) -> list[tuple[str, str]]:
    members = (("siteId", site_id), ("direction", direction))
    return [(member, value) for member, value in members if value is not None]
