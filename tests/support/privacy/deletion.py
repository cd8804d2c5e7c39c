"""The deletion of a person, and what the databases held before it."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pymongo

from tests.fixtures.stack import RunningStack
from tests.support.operators import Operators
from tests.support.privacy.run import API, Run
from tests.support.privacy.search import mongo_contents, redis_contents
from tests.support.waiting import eventually


async def drive_deletion(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """P-put is deleted, and erased before this returns; what was kept sealed and hashed of the person is noted."""
    described = run.stack.description
    with pymongo.MongoClient[dict[str, Any]](described["mongo"]) as client:
        person = client[described["mongoDatabase"]]["persons"].find_one({"_id": "P-put"})
    assert person is not None
    for member in ("idcardNo", "phone"):
        run.gone(f"sealed {member}", bytes(person[member]))
    for one in person["hashes"]:
        run.gone("hash", one.rpartition(":")[2])
    run.databases = database_contents(run.stack)
    await operators.delete_person("P-put")
    assert await operators.get("/persons/P-put") is None

    async def is_erased() -> bool:
        page = await operators.get("/attendance", personId="P-put")
        return all(item["erased"] for item in page["items"])

    await eventually(is_erased, 30)
    assert len((await operators.get("/attendance", personId="P-put"))["items"]) == 2  # the rows stay
    assert await run.refused(http, "GET", f"{API}/persons/P-put/face") == 404


def database_contents(stack: RunningStack) -> Mapping[str, bytes]:
    """All of MongoDB and of Redis, as of now."""
    described = stack.description
    return {**mongo_contents(described["mongo"], described["mongoDatabase"]), **redis_contents(described["redis"])}
