"""What an idempotent producer does when the broker no longer accepts its numbers: sign-ins in flight are given up as
500_01, the producer is replaced, and the partition goes on (design rule 1). Found out on aiokafka 0.14, Kafka 4.3."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerFenced

from shared.domain.events import Record
from shared.kafka.producer import BatchProducer, open_producer
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable
from tests.support.topics import make_topic, read_topic, topic_name
from tests.support.waiting import eventually


def record(topic: str, value: bytes) -> Record:
    return Record(topic, b"sn", value, (), 1_764_000_000_000)


async def values(settings: KafkaSettings, topic: str) -> list[bytes]:
    return [bytes(got.value or b"") for got in await read_topic(settings, topic)]


async def goes_on(producer: BatchProducer, topic: str, value: bytes) -> None:
    """Returns when a batch was acknowledged by the new producer."""

    async def is_acknowledged() -> bool:
        try:
            await producer.send(topic, 0, [record(topic, value)])
        except Unavailable:
            return False
        return True

    await eventually(is_acknowledged)


async def test_design_1_after_lost_sequence_numbers_the_batch_is_given_up_and_the_producer_replaced(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("out-of-order")
    await make_topic(kafka_settings, topic, 1)
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        await producer.send(topic, 0, [record(topic, b"before")])
        assert producer._producer is not None
        producer._producer._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 1)
        with pytest.raises(Unavailable) as refused:
            await producer.send(topic, 0, [record(topic, b"refused")])
        assert isinstance(refused.value.__cause__, OutOfOrderSequenceNumber)
        assert producer.replacements == 1
        await goes_on(producer, topic, b"after")
    assert await values(kafka_settings, topic) == [b"before", b"after"]


async def test_design_1_a_fenced_epoch_gives_the_batch_up_and_replaces_the_producer(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("fenced")
    await make_topic(kafka_settings, topic, 1)
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        await producer.send(topic, 0, [record(topic, b"before")])
        assert producer._producer is not None
        manager = producer._producer._txn_manager
        epoch = manager.producer_epoch
        # The same producer id in a later epoch, which begins with sequence number 0 again; then the old epoch.
        manager._pid_and_epoch = manager._pid_and_epoch._replace(epoch=epoch + 1)
        manager._sequence_numbers.clear()
        await producer.send(topic, 0, [record(topic, b"later epoch")])
        manager._pid_and_epoch = manager._pid_and_epoch._replace(epoch=epoch)
        with pytest.raises(Unavailable) as refused:
            await producer.send(topic, 0, [record(topic, b"refused")])
        assert isinstance(refused.value.__cause__, ProducerFenced)
        assert producer.replacements == 1
        await goes_on(producer, topic, b"after")
    assert await values(kafka_settings, topic) == [b"before", b"later epoch", b"after"]


async def test_design_1_a_broker_that_forgot_the_producer_goes_on_or_replaces_it_and_loses_nothing_acknowledged(
    kafka_settings: KafkaSettings,
) -> None:
    """As after an unclean election, or where its state has expired: the partition is new, the producer not."""
    topic = topic_name("forgotten")
    await make_topic(kafka_settings, topic, 1)
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        for number in range(3):
            await producer.send(topic, 0, [record(topic, b"before-%d" % number)])
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([topic])
        finally:
            await admin.close()
        await asyncio.sleep(1)  # a topic of the same name can be made once the old one's log is renamed
        await make_topic(kafka_settings, topic, 1)
        await goes_on(producer, topic, b"after")
        for number in range(5):
            await producer.send(topic, 0, [record(topic, b"more-%d" % number)])
    kept = await values(kafka_settings, topic)
    assert kept[-6:] == [b"after", *[b"more-%d" % number for number in range(5)]]
