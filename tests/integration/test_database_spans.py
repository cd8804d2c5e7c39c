"""Commands to Redis and MongoDB have spans where the caller has one, and show no value."""

from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from shared.runtime.settings import MongoSettings, RedisSettings
from shared.runtime.tracing import as_current
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import open_mongo
from shared.stores.redis.client import open_redis
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.sessions import RedisSessionStore
from stack.redis_part import RedisPart
from tests.support.spans import KeptSpans, attributes, span_id

SECRET = "c0ffee00c0ffee00c0ffee00c0ffee00"


def reached(url: SecretStr) -> dict[str, object]:
    """Where the server is."""
    parts = urlsplit(url.get_secret_value())
    return {"server.address": parts.hostname, "server.port": parts.port}


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
            **reached(mongo_settings.url),
        }
        assert SECRET not in find.to_json() + kept.one("insert things").to_json()


async def test_a_mongodb_command_that_is_refused_has_its_code(mongo_settings: MongoSettings) -> None:
    kept = KeptSpans()
    async with open_mongo(mongo_settings, "test", traced=True) as database:
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span), pytest.raises(OperationFailure):
            await database.command("noSuchCommand", 1)
    refused, _ = kept.names
    assert refused == "noSuchCommand"
    failed = attributes(kept.one(refused))
    # CommandNotFound in MongoDB's list of codes
    assert (failed["error.type"], failed["db.response.status_code"]) == ("59", "59")
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
    assert attributes(mget) == {
        "db.system.name": "redis",
        "db.operation.name": "MGET",
        "db.namespace": "0",
        **reached(redis_settings.url),
    }
    assert SECRET not in mget.to_json()


async def test_a_script_is_called_by_its_name_and_shows_neither_key_nor_value(redis_settings: RedisSettings) -> None:
    kept = KeptSpans()
    async with open_redis(redis_settings) as redis:
        sessions = RedisSessionStore(redis)
        await sessions.renew([(SECRET, "1388186")])
        assert kept.names == []
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
            await sessions.renew([(SECRET, "1388186")])
    assert kept.names == ["EVALSHA", "a"]
    called = kept.one("EVALSHA")
    assert called.parent is not None
    assert called.parent.span_id == span_id(kept.one("a"))
    assert attributes(called) == {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": "renew",
        "db.namespace": "0",
        **reached(redis_settings.url),
    }
    assert SECRET not in called.to_json()


async def test_what_is_sent_to_redis_together_is_one_span_with_its_size(redis_settings: RedisSettings) -> None:
    kept = KeptSpans()
    async with open_redis(redis_settings) as redis:
        pending = RedisPendingTasks(redis)
        assert await pending.oldest([SECRET], 50) == [[]]
        assert kept.names == []
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
            assert await pending.oldest([SECRET, "1388186"], 50) == [[], []]
            async with redis.pipeline() as nothing:
                assert await nothing.execute() == []
    assert kept.names == ["PIPELINE", "a"]
    together = kept.one("PIPELINE")
    assert together.kind is SpanKind.CLIENT
    assert together.parent is not None
    assert together.parent.span_id == span_id(kept.one("a"))
    assert attributes(together) == {
        "db.system.name": "redis",
        "db.operation.name": "PIPELINE",
        "db.operation.batch.size": 2,
        "db.namespace": "0",
        **reached(redis_settings.url),
    }
    assert SECRET not in together.to_json()


async def test_a_redis_that_does_not_answer_marks_the_span_by_the_class_of_the_error(
    redis_settings: RedisSettings, redis_part: RedisPart
) -> None:
    kept = KeptSpans()
    async with open_redis(redis_settings.model_copy(update={"timeout_ms": 200})) as redis:
        sessions, pending = RedisSessionStore(redis), RedisPendingTasks(redis)
        assert await sessions.find([SECRET]) == [None]
        redis_part.suspend()
        try:
            with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
                for ask in (sessions.find([SECRET]), pending.oldest([SECRET], 50)):
                    with pytest.raises(Unavailable):
                        await ask
        finally:
            redis_part.resume()
    for name in ("MGET", "PIPELINE"):
        assert attributes(kept.one(name))["error.type"] == "TimeoutError"
        assert not kept.one(name).status.is_ok
        assert SECRET not in kept.one(name).to_json()
