"""The platform's topics: `python -m shared.kafka.topics` makes the missing ones and never changes one it finds."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, TopicAlreadyExistsError, for_code

from shared.domain.events import (
    DEAD_LETTER_TOPIC,
    PRESENCE_TOPIC,
    SENSITIVE_TOPIC,
    SIGN_IN_TOPIC,
    SYNTHETIC_TOPIC,
    TASK_TOPIC,
)
from shared.kafka.connection import connection_options
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable

TOPICS = (SIGN_IN_TOPIC, SENSITIVE_TOPIC, PRESENCE_TOPIC, TASK_TOPIC, DEAD_LETTER_TOPIC, SYNTHETIC_TOPIC)

SYNTHETIC_RETENTION_HOURS = 24
"""At most: a synthetic sign-in is worth nothing once it was measured."""

DEAD_LETTER_ROOM_BYTES = 65_536
"""A dead letter is the largest record and the headers that say why it is one."""

SEGMENT_MS = 86_400_000
"""Kafka deletes whole segments: so much longer than retention a record stays at most, of a deleted person too."""

RETRY_SECONDS = 0.2


class TopicReport(msgspec.Struct, frozen=True):
    """What was made or found of one topic."""

    topic: str
    made: bool
    partitions: int
    wanted_partitions: int

    def __str__(self) -> str:
        text = f"{self.topic}: {'made' if self.made else 'found'} with {self.partitions} partitions"
        if self.partitions < self.wanted_partitions:
            # Adding partitions would move keys between them: a person's decision, not a command's.
            text += f", fewer than the {self.wanted_partitions} of the settings; left as it is"
        return text


async def ensure_topics(settings: KafkaSettings, deadline_seconds: float) -> list[TopicReport]:
    """Makes the topics that are missing. Raises Unavailable when no broker has answered by the deadline, KafkaError
    when it refuses (too few brokers for the replication, no rights)."""
    last = "no answer"
    try:
        async with asyncio.timeout(deadline_seconds):
            while True:
                try:
                    async with _open_admin(settings) as admin:
                        return await _make_missing(admin, settings)
                except (KafkaConnectionError, TimeoutError, OSError) as error:
                    last = type(error).__name__
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    last = type(error).__name__
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise Unavailable(f"Kafka: topics not made within {deadline_seconds:g} s ({last})") from None


@asynccontextmanager
async def _open_admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection_options(settings, "topics"))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _make_missing(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> list[TopicReport]:
    answer = await admin.create_topics([_new_topic(topic, settings) for topic in TOPICS])
    made = set()
    for topic, code, *message in answer.topic_errors:
        error = for_code(code)
        if error is NoError:
            made.add(topic)
        elif error is not TopicAlreadyExistsError:
            raise error(f"{topic}: {message[0] if message else error.__name__}")
    counts = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics(list(TOPICS))}
    # A broker that has just made a topic may not list its partitions yet: it has those that were asked for.
    return [
        TopicReport(topic, topic in made, settings.partitions if topic in made else counts[topic], settings.partitions)
        for topic in TOPICS
    ]


def _new_topic(topic: str, settings: KafkaSettings) -> NewTopic:
    room = DEAD_LETTER_ROOM_BYTES if topic == DEAD_LETTER_TOPIC else 0
    hours = settings.retention_hours
    if topic == SYNTHETIC_TOPIC:
        hours = min(hours, SYNTHETIC_RETENTION_HOURS)
    configs = {
        "cleanup.policy": "delete",
        "retention.ms": str(hours * 3_600_000),
        "segment.ms": str(SEGMENT_MS),
        "min.insync.replicas": str(settings.min_insync_replicas),
        "max.message.bytes": str(settings.max_message_bytes + room),
    }
    return NewTopic(topic, settings.partitions, settings.replication, topic_configs=configs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the topics of KAFKA_*; prints a line for each. Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m shared.kafka.topics", description=main.__doc__)
    parser.add_argument("--wait-seconds", type=float, default=60, help="how long to wait for the broker (default 60)")
    options = parser.parse_args(arguments)
    try:
        reports = asyncio.run(ensure_topics(KafkaSettings(), options.wait_seconds))
    except (Unavailable, KafkaError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{report}\n" for report in reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
