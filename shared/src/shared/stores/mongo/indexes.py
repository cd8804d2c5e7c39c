"""`python -m shared.stores.mongo.indexes`: makes the indexes of every collection; harmless when repeated."""

import argparse
import asyncio
import logging
from collections.abc import Mapping, Sequence

import pymongo

from shared.runtime.logging import configure_logging
from shared.runtime.settings import LoggingSettings, MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo import (
    attendance,
    audit,
    campaign_devices,
    campaigns,
    credentials,
    devices,
    faces,
    firmware,
    operators,
    persons,
    pictures,
    retention,
    rosters,
    sites,
    synthetic_attendance,
    tasks,
)
from shared.stores.mongo.client import Database, mongo_faults, open_mongo

log = logging.getLogger(__name__)

INDEXES: Mapping[str, Sequence[pymongo.IndexModel]] = {
    attendance.COLLECTION: attendance.INDEXES,
    audit.COLLECTION: audit.INDEXES,
    campaign_devices.COLLECTION: campaign_devices.INDEXES,
    campaigns.COLLECTION: campaigns.INDEXES,
    credentials.COLLECTION: credentials.INDEXES,
    devices.COLLECTION: devices.INDEXES,
    faces.COLLECTION: faces.INDEXES,
    firmware.COLLECTION: firmware.INDEXES,
    firmware.FILES: firmware.FILE_INDEXES,
    operators.COLLECTION: operators.INDEXES,
    persons.COLLECTION: persons.INDEXES,
    pictures.COLLECTION: pictures.INDEXES,
    retention.COLLECTION: retention.INDEXES,
    rosters.COLLECTION: rosters.INDEXES,
    sites.COLLECTION: sites.INDEXES,
    synthetic_attendance.COLLECTION: synthetic_attendance.INDEXES,
    tasks.COLLECTION: tasks.INDEXES,
}
"""By collection."""

_PAUSE_SECONDS = 1.0


async def make_indexes(database: Database) -> None:
    """Makes what is missing. Raises Unavailable; OperationFailure where an index stands there with other options."""
    for collection, indexes in INDEXES.items():
        if indexes:
            with mongo_faults():
                names = await database.get_collection(collection).create_indexes(list(indexes))
            log.info("%s.%s has its indexes: %s", database.name, collection, ", ".join(names))


async def make_indexes_when_reachable(settings: MongoSettings, wait_seconds: float) -> None:
    """Waits for the server, then makes the indexes. Raises Unavailable where it did not come in time."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_seconds
    async with open_mongo(settings, "indexes") as database:
        while True:
            try:
                return await make_indexes(database)
            except Unavailable as error:
                if loop.time() > give_up_at:
                    raise
                log.info("waiting: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)


def main() -> None:
    """Entry of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait-seconds", type=float, default=60.0, help="how long to wait for MongoDB (default 60)")
    arguments = parser.parse_args()
    configure_logging("indexes", LoggingSettings().level)
    try:
        asyncio.run(make_indexes_when_reachable(MongoSettings(), arguments.wait_seconds))
    except Unavailable as error:
        raise SystemExit(f"indexes were not made: {error}") from error


if __name__ == "__main__":
    main()
