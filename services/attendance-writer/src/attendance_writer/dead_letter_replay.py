"""`python -m attendance_writer.dead_letter_replay`: lists dead letters, and stores those that can be stored by now.

It writes into MongoDB as the writer does and sends nothing to a topic: there the record stands already.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence

from attendance_writer.batch import Batch, BatchLimits
from attendance_writer.dead_letters import DeadLetters, RejectionWindow
from attendance_writer.decode import Rejected, decode
from attendance_writer.metrics import WriterCounts
from attendance_writer.settings import WriterSettings
from attendance_writer.wiring import SERVICE
from attendance_writer.writes import BatchWriter
from shared.domain.events import DEAD_LETTER_TOPIC, ConsumedRecord, Record
from shared.kafka.rereading import read_topic
from shared.runtime.clock import SystemClock
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.mongo.synthetic_attendance import MongoSyntheticAttendanceStore


class _RefusedAgain:
    """Where a second rejection goes: it is counted, and stays the dead letter that it is."""

    count = 0

    def partition_for(self, _topic: str, _key: bytes) -> int:
        return 0

    async def send(self, _topic: str, _partition: int, records: Sequence[Record]) -> None:
        self.count += len(records)


def original(letter: ConsumedRecord) -> ConsumedRecord:
    """The record that was rejected, as it stood in its topic."""
    headers = dict(letter.headers)
    topic, partition, offset = (headers[name].decode() for name in ("dl_topic", "dl_partition", "dl_offset"))
    own = tuple((name, value) for name, value in letter.headers if not name.startswith("dl_"))
    return ConsumedRecord(topic, int(partition), int(offset), letter.key, letter.value, own, letter.timestamp_ms)


def is_dead_letter(record: ConsumedRecord) -> bool:
    """Whether a writer put it there: it says where it stood."""
    names = {name for name, _ in record.headers}
    return {"dl_topic", "dl_partition", "dl_offset"} <= names


def lines(letters: Sequence[ConsumedRecord]) -> Iterator[str]:
    """One a letter: where it stood, why it was rejected, and what it would be now. Nothing of its content."""
    for letter in letters:
        record, reason = original(letter), dict(letter.headers).get("dl_reason", b"").decode()
        now = decode(record)
        outcome = f"is rejected still: {now.detail}" if isinstance(now, Rejected) else "can be stored"
        yield f"{record.topic}/{record.partition} offset {record.offset}: {reason}: {outcome}\n"


async def store(letters: Sequence[ConsumedRecord], writer: WriterSettings, mongo: MongoSettings) -> tuple[int, int]:
    """Stores what can be stored; how many were tried, and how many of them the database refused again. Raises
    Unavailable."""
    refused, window, tried = _RefusedAgain(), RejectionWindow(len(letters), len(letters) or 1), 0
    limits = BatchLimits(writer.batch_max_records, writer.batch_max_bytes, writer.batch_max_age_ms / 1000)
    async with open_mongo(mongo, SERVICE) as database:
        batches = BatchWriter(
            MongoAttendanceStore(database),
            MongoPictureStore(database),
            MongoSyntheticAttendanceStore(database),
            MongoPresenceRecordStore(database),
            DeadLetters(refused, SystemClock()),
            window,
            WriterCounts(),
        )
        batch = Batch(limits)
        for record in map(original, letters):
            decoded = decode(record)
            if isinstance(decoded, Rejected):
                continue
            tried += 1
            batch.add(record, decoded, 0)
            if batch.remaining_seconds(0) == 0:
                await batches.write(batch)
                batch = Batch(limits)
        await batches.write(batch)
    return tried, refused.count


async def _run(*, stores: bool) -> None:
    letters, others = [], 0
    async for letter in read_topic(KafkaSettings(), SERVICE, DEAD_LETTER_TOPIC):
        if is_dead_letter(letter):
            letters.append(letter)
        else:
            others += 1
    sys.stdout.writelines(lines(letters))
    sys.stdout.write(f"{len(letters)} dead letters\n")
    if others:
        sys.stdout.write(
            f"{others} records passed over: they do not say where they stood, so no writer put them there\n"
        )
    if stores:
        tried, refused = await store(letters, WriterSettings(), MongoSettings())
        sys.stdout.write(f"{tried - refused} stored, or stored already; {len(letters) - tried + refused} rejected\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Lists what attendance.dead-letter.v1 holds; with --store, stores what can be stored. May be run again. Returns
    the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m attendance_writer.dead_letter_replay", description=main.__doc__)
    parser.add_argument("--store", action="store_true", help="store what can be stored by now")
    chosen = parser.parse_args(arguments)
    try:
        asyncio.run(_run(stores=chosen.store))
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
