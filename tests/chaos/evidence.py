"""Reads what the platform has, by other ways than its own code: MongoDB by the plain driver, Kafka by a consumer."""

import hashlib
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from shared.domain.events import DEAD_LETTER_TOPIC, SIGN_IN_TOPIC
from shared.runtime.settings import KafkaSettings
from tests.chaos.platform import DATABASE, ChaosPlatform
from tests.chaos.reckoning import ENDED, Kept, Stored, StoredTask
from tests.support.topics import read_topic

READ_MS = 60_000


class Evidence:
    """What MongoDB and Kafka hold; the methods that ask MongoDB block, and raise PyMongoError."""

    def __init__(self, platform: ChaosPlatform) -> None:
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            platform.addresses.mongo, socketTimeoutMS=READ_MS, serverSelectionTimeoutMS=5_000, tz_aware=True
        )
        self._database = self._client[DATABASE]
        self._kafka = KafkaSettings(bootstrap=platform.direct_kafka)

    def close(self) -> None:
        """Closes the connection to MongoDB."""
        self._client.close()

    def missing(self, event_ids: list[str]) -> set[str]:
        """Those of the ids that are not stored."""
        if not event_ids:
            return set()
        found = self._database["attendance"].find({"_id": {"$in": event_ids}}, {"_id": 1})
        return set(event_ids) - {document["_id"] for document in found}

    def are_stored(self, event_ids: list[str]) -> bool:
        """Whether all of them are stored; False too while MongoDB does not answer."""
        try:
            return not self.missing(event_ids)
        except PyMongoError:
            return False

    def open_tasks(self) -> int:
        """How many tasks have not ended."""
        return self._database["tasks"].count_documents({"state": {"$nin": sorted(ENDED)}})

    async def published(self) -> frozenset[str]:
        """Event ids in the topic of sign-ins."""
        records = await read_topic(self._kafka, SIGN_IN_TOPIC)
        return frozenset(dict(record.headers)["ce_id"].decode() for record in records)

    async def dead_letters(self) -> int:
        """Records in the topic of dead letters."""
        return len(await read_topic(self._kafka, DEAD_LETTER_TOPIC))

    def stored(self, prefixes: tuple[str, ...]) -> Kept:
        """What MongoDB holds of terminals whose sn begins with one of the prefixes."""
        attendances = [
            Stored(
                found["_id"],
                found["sn"],
                found["personId"],
                round(found["recordTime"].timestamp() * 1000),
                found["type"],
                found["hasImage"],
                (found.get("image") or {}).get("sha256"),
            )
            for found in self._database["attendance"].find({})
            if found["sn"].startswith(prefixes)
        ]
        pictures = {
            found["_id"]: hashlib.sha256(found["data"]).hexdigest()
            for found in self._database["pictures"].find({"data": {"$exists": True}})
            if found["sn"].startswith(prefixes)
        }
        tasks = [
            StoredTask(found["_id"], found["state"], [change["state"] for change in found["history"]])
            for found in self._database["tasks"].find({})
            if found["sn"].startswith(prefixes)
        ]
        return Kept(attendances, pictures, frozenset(), tasks)


def resident_bytes(platform: ChaosPlatform) -> dict[str, int]:
    """Resident memory of every process that runs now."""
    sizes = {}
    for name, server in platform.servers.items():
        if server.process.alive:
            for line in Path(f"/proc/{server.pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmRSS:"):
                    sizes[name] = int(line.split()[1]) * 1024
    return sizes
