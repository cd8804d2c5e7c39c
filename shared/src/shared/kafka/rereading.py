"""What a person does with whole topics: has a group read them again, or reads one to its end. No service runs this."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, UnknownMemberIdError

from shared.domain.events import ConsumedRecord
from shared.kafka.connection import connection_options
from shared.kafka.consumer import consumed
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable

POLL_MS = 500


class GroupAtWork(Exception):
    """The group has members, whose offsets nobody else may set."""


async def rewind(
    settings: KafkaSettings, client_id: str, group_id: str, topics: Sequence[str], since_ms: int | None
) -> Mapping[str, int]:
    """Sets the group's offsets to the first records received at `since_ms` or later, or to the earliest (None); returns
    how many records of each topic the group reads then. Raises GroupAtWork, Unavailable."""
    async with _consumer(settings, client_id, topics, group_id) as consumer:
        places = [place for topic in topics for place in _places(consumer, topic)]
        ends = await consumer.end_offsets(places)
        if since_ms is None:
            begins = await consumer.beginning_offsets(places)
        else:
            found = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
            begins = {place: ends[place] if found[place] is None else found[place].offset for place in places}
        consumer.assign(places)
        try:
            await consumer.commit(begins)
        except (CommitFailedError, UnknownMemberIdError, IllegalGenerationError) as error:
            raise GroupAtWork(f"group {group_id} has members: stop them, and wait until it is left") from error
        return {topic: sum(ends[place] - begins[place] for place in places if place.topic == topic) for topic in topics}


async def read_topic(settings: KafkaSettings, client_id: str, topic: str) -> AsyncIterator[ConsumedRecord]:
    """All records that the topic holds now, of no group. Raises Unavailable."""
    async with _consumer(settings, client_id, [topic], None) as consumer:
        places = _places(consumer, topic)
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            fetched = await consumer.getmany(timeout_ms=POLL_MS)
            for record in (record for records in fetched.values() for record in records):
                if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                    yield consumed(record)


@asynccontextmanager
async def _consumer(
    settings: KafkaSettings, client_id: str, topics: Sequence[str], group_id: str | None
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **connection_options(settings, client_id),
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=settings.max_message_bytes,
    )
    try:
        await consumer.start()
        # Has the client learn the partitions of topics that it has not heard of.
        await consumer.end_offsets([TopicPartition(topic, 0) for topic in topics])
        yield consumer
    except KafkaError as error:
        raise Unavailable(f"Kafka: {type(error).__name__}") from error
    finally:
        await consumer.stop()


def _places(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
