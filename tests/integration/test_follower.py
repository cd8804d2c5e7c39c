"""Topics followed without a group, on a real broker."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from shared.domain.events import ConsumedRecord
from shared.kafka.follower import Follower, Gap, open_follower
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable
from stack.kafka_part import KafkaPart
from tests.support.topics import make_topic, topic_name
from tests.support.waiting import eventually

Place = tuple[str, int]


async def put(settings: KafkaSettings, topic: str, values: Mapping[int, list[bytes]]) -> None:
    """Values by partition."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all")
    await producer.start()
    try:
        for partition, of_partition in values.items():
            for value in of_partition:
                await producer.send_and_wait(topic, value, partition=partition)
    finally:
        await producer.stop()


async def read(follower: Follower, count: int, seconds: float = 10) -> list[ConsumedRecord]:
    records: list[ConsumedRecord] = []
    async with asyncio.timeout(seconds):
        while len(records) < count:
            records += await follower.poll(0.2)
    return records


def values_of(records: list[ConsumedRecord]) -> list[bytes | None]:
    return sorted((record.value for record in records), key=lambda value: value or b"")


async def test_it_begins_at_the_end_and_gives_where_that_is(kafka_settings: KafkaSettings) -> None:
    topic = topic_name("followed")
    await make_topic(kafka_settings, topic, 2)
    await put(kafka_settings, topic, {0: [b"a", b"b"], 1: [b"c"]})
    async with open_follower(kafka_settings, "test", [topic], {}) as follower:
        assert follower.start_positions == {(topic, 0): 2, (topic, 1): 1}
        await put(kafka_settings, topic, {0: [b"d"], 1: [b"e"]})
        assert values_of(await read(follower, 2)) == [b"d", b"e"]
        assert list(await follower.poll(0.3)) == []


async def test_it_begins_where_positions_say_and_a_later_partition_from_its_beginning(
    kafka_settings: KafkaSettings,
) -> None:
    topic, other = topic_name("followed"), topic_name("other")
    await make_topic(kafka_settings, topic, 2)
    await make_topic(kafka_settings, other, 1)
    await put(kafka_settings, topic, {0: [b"a", b"b"], 1: [b"c"]})
    await put(kafka_settings, other, {0: [b"x"]})
    async with open_follower(kafka_settings, "test", [topic, other], {(topic, 0): 1}) as follower:
        assert follower.start_positions == {(topic, 0): 1, (topic, 1): 0, (other, 0): 1}
        assert values_of(await read(follower, 2)) == [b"b", b"c"]


async def test_positions_that_the_broker_has_not_are_a_gap_and_the_rest_is_read(kafka_settings: KafkaSettings) -> None:
    topic = topic_name("followed")
    await make_topic(kafka_settings, topic, 3)
    await put(kafka_settings, topic, {0: [b"a", b"b", b"c"], 1: [b"d"], 2: [b"e"]})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=2)})
    await admin.close()
    start = {(topic, 0): 1, (topic, 1): 0, (topic, 2): 9}  # retention took the first; the last never was
    gaps: dict[Place, int] = {}
    records: list[ConsumedRecord] = []
    async with open_follower(kafka_settings, "test", [topic], start) as follower, asyncio.timeout(10):
        while len(records) < 3:
            try:
                records += await follower.poll(0.2)
            except Gap as gap:
                gaps |= gap.positions
    assert gaps == {(topic, 0): 2, (topic, 2): 0}
    assert values_of(records) == [b"c", b"d", b"e"]


async def test_a_broker_that_hangs_is_waited_for_and_nothing_is_lost(
    kafka_settings: KafkaSettings, kafka_part: KafkaPart
) -> None:
    topic = topic_name("followed")
    await make_topic(kafka_settings, topic, 1)
    async with open_follower(kafka_settings, "test", [topic], {}) as follower:
        kafka_part.suspend()
        try:
            async with asyncio.timeout(10):
                for _ in range(10):  # longer than a request's deadline
                    assert list(await follower.poll(0.5)) == []
        finally:
            kafka_part.resume()
        await put(kafka_settings, topic, {0: [b"a"]})
        assert values_of(await read(follower, 1, 30)) == [b"a"]


async def test_a_topic_that_grows_is_noticed(kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kafka.follower.METADATA_MAX_AGE_MS", 200)
    topic = topic_name("followed")
    await make_topic(kafka_settings, topic, 1)
    async with open_follower(kafka_settings, "test", [topic], {}) as follower:
        assert follower.has_all_partitions()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(2)})
        await admin.close()
        await eventually(lambda: not follower.has_all_partitions())


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", None], ids=["away", "without the topic"])
async def test_what_cannot_be_followed_is_unavailable(kafka_settings: KafkaSettings, bootstrap: str | None) -> None:
    settings = kafka_settings.model_copy(update={"bootstrap": bootstrap} if bootstrap else {})
    with pytest.raises(Unavailable):
        async with open_follower(settings, "test", [topic_name("absent")], {}):
            raise AssertionError("must not open")


async def test_a_broker_that_hangs_does_not_open_and_says_so_in_time(
    kafka_settings: KafkaSettings, kafka_part: KafkaPart
) -> None:
    topic = topic_name("followed")
    await make_topic(kafka_settings, topic, 1)
    kafka_part.suspend()
    try:
        async with asyncio.timeout(9):
            with pytest.raises(Unavailable):
                async with open_follower(kafka_settings, "test", [topic], {}):
                    raise AssertionError("must not open")
    finally:
        kafka_part.resume()
