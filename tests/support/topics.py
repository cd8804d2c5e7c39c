"""Topics for one test, and what stands in them."""

import asyncio
import itertools

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import ConsumerRecord

from shared.runtime.settings import KafkaSettings

_numbers = itertools.count(1)


def topic_name(prefix: str) -> str:
    """A name that no other test of this session uses."""
    return f"{prefix}-{next(_numbers)}"


async def make_topic(settings: KafkaSettings, topic: str, partitions: int, **configs: str) -> None:
    """Makes the topic where it is not there yet; `max_message_bytes` stands for max.message.bytes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        topic_configs = {name.replace("_", "."): value for name, value in configs.items()}
        answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=topic_configs)])
        for _, code, *_rest in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(topic)
    finally:
        await admin.close()


async def read_topic(settings: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """Every record of the topic, by partition, each partition in its order."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        records: list[ConsumerRecord] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                for got in (await consumer.getmany(place, timeout_ms=500)).values():
                    records.extend(got)
        return records
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    """aiokafka learns of a topic's partitions in the background; here it is asked and waited for. A broker that was
    just stopped and resumed is fenced for a moment, and then names neither itself nor leaders."""
    async with asyncio.timeout(10):
        while True:
            try:
                metadata = await consumer._client.fetch_all_metadata()
            except KafkaError:
                partitions = None
            else:
                partitions = metadata.partitions_for_topic(topic)
            if partitions:
                return sorted(partitions)
            await asyncio.sleep(0.1)
