"""The three real parts: they answer, keep what they must over a kill, stand still and go on."""

import socket

import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from shared.stores.mongo.client import open_mongo
from shared.stores.redis.client import open_redis
from stack.kafka_part import KafkaPart
from stack.mongo_part import MongoPart
from stack.redis_part import RedisPart


async def test_redis_is_empty_for_each_test(redis_settings: RedisSettings) -> None:
    async with open_redis(redis_settings) as redis:
        assert await redis.dbsize() == 0
        await redis.set("left behind", "1")


async def test_redis_is_empty_for_the_next_test_too(redis_settings: RedisSettings) -> None:
    async with open_redis(redis_settings) as redis:
        assert await redis.dbsize() == 0


def test_a_suspended_redis_accepts_and_does_not_answer(redis_part: RedisPart) -> None:
    redis_part.suspend()
    try:
        assert not redis_part.answers()
    finally:
        redis_part.resume()
    assert redis_part.answers()


async def test_mongo_keeps_what_it_acknowledged_over_kill_9(
    mongo_part: MongoPart, mongo_settings: MongoSettings
) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        await database["kept"].insert_one({"_id": 1})
    before = mongo_part.pid
    mongo_part.kill()
    assert not mongo_part.answers()
    mongo_part.restart()
    assert mongo_part.pid != before
    async with open_mongo(mongo_settings, "test") as database:
        assert await database["kept"].find_one({}) == {"_id": 1}


def test_each_test_has_its_own_mongo_database(mongo_settings: MongoSettings) -> None:
    with pymongo.MongoClient[dict[str, object]](mongo_settings.url.get_secret_value()) as client:
        assert client[mongo_settings.database].list_collection_names() == []


async def test_kafka_keeps_what_it_acknowledged_over_kill_9(
    kafka_part: KafkaPart, kafka_settings: KafkaSettings
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("stack.test", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_settings.bootstrap, acks="all") as producer:
        await producer.send_and_wait("stack.test", b"kept")
    kafka_part.kill()
    kafka_part.restart()
    async with AIOKafkaConsumer(
        "stack.test", bootstrap_servers=kafka_settings.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        record = await consumer.getone()
    assert record.value == b"kept"


async def test_f3_kafka_takes_a_record_of_the_largest_frame(kafka_settings: KafkaSettings) -> None:
    largest = b"\xff" * (4 * 1024 * 1024)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("stack.large", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=kafka_settings.bootstrap, acks="all", max_request_size=kafka_settings.max_message_bytes
    ) as producer:
        await producer.send_and_wait("stack.large", largest)
    async with AIOKafkaConsumer(
        "stack.large", bootstrap_servers=kafka_settings.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        record = await consumer.getone()
    assert record.value == largest


@pytest.mark.parametrize("part_name", ["redis_part", "mongo_part", "kafka_part"])
def test_a_part_listens_on_the_loopback_only(part_name: str, request: pytest.FixtureRequest) -> None:
    part = request.getfixturevalue(part_name)
    address = part.bootstrap if part_name == "kafka_part" else part.url.split("/")[2]
    port = int(address.rpartition(":")[2])
    with socket.socket() as other:
        # Bindable on another loopback address only where the part did not take all of them.
        other.bind(("127.0.0.2", port))
