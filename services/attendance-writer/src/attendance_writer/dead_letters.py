"""Rejected records, with their reason, to the dead-letter topic; and the bound above which the consumer stops.

The topic has the rights of `attendance.sensitive.v1`: a dead letter may be a picture (design rule 9).
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from attendance_writer.decode import Rejected
from shared.domain.events import DEAD_LETTER_TOPIC, ConsumedRecord, Record
from shared.runtime.clock import Clock


class TooManyRejected(Exception):
    """So much is rejected that the fault is more likely ours or a producer's than a record's: a person must look."""


class RejectionWindow:
    """Counts how many of the last records were rejected."""

    def __init__(self, max_rejected: int, records: int) -> None:
        self._max_rejected = max_rejected
        self._recent: deque[bool] = deque(maxlen=records)
        self._rejected = 0

    def note(self, *, is_rejected: bool) -> None:
        """Takes one record into account. Raises TooManyRejected."""
        if len(self._recent) == self._recent.maxlen:
            self._rejected -= self._recent[0]
        self._recent.append(is_rejected)
        self._rejected += is_rejected
        if self._rejected > self._max_rejected:
            raise TooManyRejected(
                f"{self._rejected} of the last {len(self._recent)} records were rejected, more than "
                f"{self._max_rejected}: see the reasons in {DEAD_LETTER_TOPIC} and in the log"
            )


class Producer(Protocol):
    """What sends: shared.kafka.producer.BatchProducer."""

    def partition_for(self, topic: str, key: bytes) -> int: ...

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None: ...


class DeadLetters:
    """Sends rejected records to their topic."""

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock

    async def send(self, rejected: Sequence[tuple[ConsumedRecord, Rejected]]) -> None:
        """Returns when all of them are acknowledged by all replicas. Raises Unavailable: do it all again."""
        for record, why in rejected:
            letter = dead_letter(record, why, self._clock.now_ms())
            # One a call: a batch of large ones could be above what the producer takes at once.
            await self._producer.send(letter.topic, self._producer.partition_for(letter.topic, letter.key), [letter])


def dead_letter(record: ConsumedRecord, why: Rejected, now_ms: int) -> Record:
    """The record's own bytes, key and headers, and where it came from and why it is here."""
    headers = (
        *record.headers,
        ("dl_reason", str(why.reason).encode()),
        ("dl_detail", why.detail.encode()),
        ("dl_topic", record.topic.encode()),
        ("dl_partition", str(record.partition).encode()),
        ("dl_offset", str(record.offset).encode()),
    )
    return Record(DEAD_LETTER_TOPIC, record.key or b"", record.value or b"", headers, now_ms)
