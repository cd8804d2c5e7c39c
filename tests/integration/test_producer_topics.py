"""A producer whose further topic is missing sends to its own all the same, and to that one once it is there."""

import asyncio

from shared.domain.events import Record
from shared.kafka.producer import open_producer
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable
from tests.support.builders import now_ms
from tests.support.topics import make_topic, read_topic, topic_name
from tests.support.waiting import eventually


async def test_a_missing_further_topic_keeps_no_record_from_the_topics_that_are_there(
    kafka_settings: KafkaSettings,
) -> None:
    own, further = topic_name("own"), topic_name("further")
    await make_topic(kafka_settings, own, 1)
    async with open_producer(kafka_settings, "test", 20, [own], also=[further]) as producer:
        async with asyncio.timeout(60):
            await producer.send(own, 0, [Record(own, b"k", b"first", (), now_ms())])

        def is_known() -> bool:
            try:
                return producer.partition_for(further, b"k") == 0
            except Unavailable:
                return False

        assert not is_known()
        await make_topic(kafka_settings, further, 1)
        await eventually(is_known, seconds=60)
        await producer.send(further, 0, [Record(further, b"k", b"second", (), now_ms())])
    for topic, value in ((own, b"first"), (further, b"second")):
        assert [record.value for record in await read_topic(kafka_settings, topic)] == [value]


async def test_a_further_topic_that_is_there_is_known_with_the_first_send(kafka_settings: KafkaSettings) -> None:
    own, further = topic_name("own"), topic_name("further")
    for topic in (own, further):
        await make_topic(kafka_settings, topic, 1)
    async with open_producer(kafka_settings, "test", 20, [own], also=[further]) as producer:
        async with asyncio.timeout(60):
            await producer.send(own, 0, [Record(own, b"k", b"first", (), now_ms())])
        assert producer.partition_for(further, b"k") == 0
