"""Commands to Redis and MongoDB have spans where the caller has one, and show no value."""

import pytest
from opentelemetry.trace import SpanKind
from pymongo.errors import OperationFailure

from shared.runtime.settings import MongoSettings, RedisSettings
from shared.runtime.tracing import as_current
from shared.stores.mongo.client import open_mongo
from shared.stores.redis.client import open_redis
from shared.stores.redis.sessions import RedisSessionStore
from tests.support.spans import KeptSpans, attributes, span_id

SECRET = "c0ffee00c0ffee00c0ffee00c0ffee00"


async def test_a_mongodb_command_is_a_child_of_the_current_span_and_shows_no_value(
    mongo_settings: MongoSettings,
) -> None:
    kept = KeptSpans()
    async with open_mongo(mongo_settings, "test", traced=True) as database:
        await database["things"].insert_one({"_id": 1})
        assert kept.names == []
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
            await database["things"].find_one({"secret": SECRET})
            await database["things"].insert_one({"secret": SECRET})
        assert kept.names == ["find things", "insert things", "a"]
        find = kept.one("find things")
        assert find.kind is SpanKind.CLIENT
        assert find.parent is not None
        assert find.parent.span_id == span_id(kept.one("a"))
        assert attributes(find) == {
            "db.system.name": "mongodb",
            "db.operation.name": "find",
            "db.collection.name": "things",
            "db.namespace": mongo_settings.database,
        }
        assert SECRET not in find.to_json() + kept.one("insert things").to_json()


async def test_a_mongodb_command_that_is_refused_has_its_code(mongo_settings: MongoSettings) -> None:
    kept = KeptSpans()
    async with open_mongo(mongo_settings, "test", traced=True) as database:
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span), pytest.raises(OperationFailure):
            await database.command("noSuchCommand", 1)
    refused, _ = kept.names
    assert refused == "noSuchCommand"
    assert attributes(kept.one(refused))["error.type"] == "59"  # CommandNotFound in MongoDB's list of codes
    assert not kept.one(refused).status.is_ok


async def test_a_redis_command_is_a_child_of_the_current_span_and_shows_no_argument(
    redis_settings: RedisSettings,
) -> None:
    kept = KeptSpans()
    async with open_redis(redis_settings) as redis:
        sessions = RedisSessionStore(redis)
        assert await sessions.find([SECRET]) == [None]
        assert kept.names == []
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
            assert await sessions.find([SECRET]) == [None]
    assert kept.names == ["MGET", "a"]
    mget = kept.one("MGET")
    assert mget.kind is SpanKind.CLIENT
    assert mget.parent is not None
    assert mget.parent.span_id == span_id(kept.one("a"))
    assert attributes(mget) == {"db.system.name": "redis", "db.operation.name": "MGET"}
    assert SECRET not in mget.to_json()
