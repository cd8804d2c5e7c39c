"""A follower that a test feeds, and the reading of server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from shared.domain.events import ConsumedRecord, Record
from shared.kafka.follower import Positions
from shared.runtime.unavailable import Unavailable

PARTITIONS = 3


class ServerEvent(msgspec.Struct, frozen=True):
    """A block of a stream, as EventSource understands it."""

    name: str | None
    data: str | None
    event_id: str | None
    retry: str | None = None
    comment: bool = False


def read_blocks(text: str) -> list[ServerEvent]:
    """The blocks of text/event-stream, by the rules of the HTML standard as far as we use them."""
    return [_read_block(block) for block in text.split("\n\n")[:-1]]


def _read_block(block: str) -> ServerEvent:
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    return ServerEvent(
        name=fields["event"][-1] if "event" in fields else None,
        data="\n".join(fields["data"]) if "data" in fields else None,
        event_id=fields["id"][-1] if "id" in fields else None,
        retry=fields["retry"][-1] if "retry" in fields else None,
        comment="" in fields,
    )


class ScriptedTopics:
    """Topics in memory: what a test puts is read by every follower from its position on."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[Record]] = {}
        self.is_away = False
        self.open_followers = 0
        self.faults: list[Exception] = []
        """Raised by the next polls, one each."""
        self.has_grown = False

    def put(self, record: Record, partition: int = 0) -> None:
        """Appends a record."""
        self.records.setdefault((record.topic, partition), []).append(record)

    @asynccontextmanager
    async def follow(self, topics: Sequence[str], positions: Positions) -> AsyncIterator["ScriptedFollower"]:
        """As open_follower."""
        if self.is_away:
            raise Unavailable("Kafka: topics cannot be followed: KafkaConnectionError")
        self.open_followers += 1
        try:
            yield ScriptedFollower(self, topics, positions)
        finally:
            self.open_followers -= 1


class ScriptedFollower:
    """shared.kafka.follower.Follower over ScriptedTopics."""

    def __init__(self, topics: ScriptedTopics, names: Sequence[str], positions: Positions) -> None:
        places = [(name, number) for name in names for number in range(PARTITIONS)]
        self.start_positions: Positions = {
            place: positions.get(place, len(topics.records.get(place, ()))) for place in places
        }
        self._topics = topics
        self._next = dict(self.start_positions)

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]:
        """What is there from its positions on."""
        if self._topics.faults:
            raise self._topics.faults.pop(0)
        found = [
            ConsumedRecord(topic, partition, offset, record.key, record.value, record.headers)
            for (topic, partition), start in self._next.items()
            for offset, record in enumerate(self._topics.records.get((topic, partition), ()))
            if offset >= start
        ]
        for record in found:
            self._next[record.topic, record.partition] = record.offset + 1
        if not found:
            await asyncio.sleep(min(timeout_seconds, 0.01))
        return found

    def has_all_partitions(self) -> bool:
        """False where a test says that a topic has grown."""
        return not self._topics.has_grown
