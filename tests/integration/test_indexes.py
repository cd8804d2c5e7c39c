"""The command that makes MongoDB's indexes."""

import importlib
import pkgutil

import pymongo
import pytest

from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores import mongo
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import INDEXES, make_indexes, make_indexes_when_reachable


def test_every_store_module_with_indexes_is_in_the_list() -> None:
    modules = [
        importlib.import_module(f"{mongo.__name__}.{found.name}") for found in pkgutil.iter_modules(mongo.__path__)
    ]
    named = {module.COLLECTION: module.INDEXES for module in modules if hasattr(module, "COLLECTION")}
    named |= {module.FILES: module.FILE_INDEXES for module in modules if hasattr(module, "FILE_INDEXES")}
    assert named.keys() >= {"attendance", "credentials", "devices", "pictures"}
    assert named == INDEXES


async def test_indexes_are_made_and_made_again_without_harm(mongo_settings: MongoSettings) -> None:
    await make_indexes_when_reachable(mongo_settings, 10)
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        keys = sorted([list(index["key"]) async for index in database["credentials"].list_indexes()])
    assert keys == [["_id"], ["revokedAtMs"], ["vendorId"]]


async def test_a_server_that_does_not_come_is_given_up_after_the_wait(mongo_settings: MongoSettings) -> None:
    nobody = MongoSettings.model_validate({"url": "mongodb://127.0.0.1:1/?directConnection=true", "timeout_ms": 50})
    with pytest.raises(Unavailable):
        await make_indexes_when_reachable(nobody, 0.1)


async def test_the_index_of_revoked_credentials_leaves_out_those_in_force(mongo_settings: MongoSettings) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        names = await database["credentials"].index_information()
    assert names["revokedAtMs_1"]["key"] == [("revokedAtMs", pymongo.ASCENDING)]
    assert names["revokedAtMs_1"]["sparse"] is True
