"""Exports and incremental reads of a console over a real database, while a real writer stores."""

import asyncio
import base64
import csv
import io
import resource
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from console_service import attendance_csv
from console_service.routes import export
from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from shared.domain.attendance import rfc3339
from shared.runtime.clock import SystemClock
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import AttendanceRecord
from shared.stores.mongo.attendance import MongoAttendanceStore
from stack.mongo_part import MongoPart
from stack.ports import free_port
from tests.support.attendance import event_record, make_event
from tests.support.writers import TestWriter, fresh_group, opened_database, produce, running

ADMIN_TOKEN = "admin-" * 6
SEALING = SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(32)).decode()}"))
RECORD_TIME = 1_795_503_600_000
OVERLAP_MS = 15 * 60_000
"""As the API's description has it."""


@pytest.fixture
async def console(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[aiohttp.ClientSession]:
    port = free_port()
    settings = ConsoleSettings(
        admin_token=SecretStr(ADMIN_TOKEN),
        session_token=SecretStr("s" * 32),
        port=port,
        admin_port=0,
        notice_seconds=0,
    )
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    async with (
        open_console(settings, mongo_settings, redis_settings, SEALING, nowhere)(Lifecycle()),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as http,
    ):
        yield http


async def store(settings: MongoSettings, count: int, **members: Any) -> list[str]:
    """Attendances; their ids, newest first."""
    events = [
        make_event(person_id=f"P{number}", record_time=RECORD_TIME + number // 3, **members) for number in range(count)
    ]
    # How fast a database takes twenty thousand rows is not what is asked.
    async with opened_database(settings.model_copy(update={"timeout_ms": 60_000})) as database:
        for start in range(0, count, 1000):
            await MongoAttendanceStore(database).add_many(events[start : start + 1000])
    return [event.event_id for event in sorted(events, key=lambda event: (event.record_time, event.event_id))][::-1]


async def test_20_000_rows_are_exported_whole_in_order_and_in_bounded_memory(
    console: aiohttp.ClientSession, mongo_settings: MongoSettings
) -> None:
    ids = await store(mongo_settings, 20_000, health_info=None)
    before = peak_kib()
    async with console.get("/api/v1/attendance/export?bom=false") as answer:
        assert answer.status == 200
        pieces = [piece async for piece in answer.content.iter_any()]
    taken = peak_kib() - before
    text = b"".join(pieces).decode()
    assert [row["eventId"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ids
    assert len(pieces) > 20
    assert taken < 30_000, "twenty thousand rows at once take more; what the test itself keeps is 5 MB"


def peak_kib() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_a_file_that_cannot_be_finished_is_never_taken_for_a_whole_one(
    console: aiohttp.ClientSession,
    mongo_settings: MongoSettings,
    mongo_part: MongoPart,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 100)
    await store(mongo_settings, 1_000)
    lines = attendance_csv.attendance_lines
    written = 0

    def hang_later(page: Sequence[AttendanceRecord]) -> bytes:
        nonlocal written
        written += 1
        if written == 3:
            mongo_part.suspend()
        return lines(page)

    monkeypatch.setattr(export, "attendance_lines", hang_later)
    try:
        async with console.get("/api/v1/attendance/export") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
    finally:
        mongo_part.resume()


async def test_a_reader_that_leaves_makes_room(console: aiohttp.ClientSession, mongo_settings: MongoSettings) -> None:
    await store(mongo_settings, 2_000)
    for _ in range(6):  # more than go on at once
        async with console.get("/api/v1/attendance/export") as answer:
            assert answer.status == 200
            await answer.content.readany()
            answer.close()
        await asyncio.sleep(0.2)


async def read_increment(console: aiohttp.ClientSession, received_after_ms: int) -> list[dict[str, Any]]:
    """Every page of an incremental read."""
    items: list[dict[str, Any]] = []
    parameters = {"receivedAfter": str(received_after_ms), "limit": "200"}
    while True:
        async with console.get("/api/v1/attendance", params=parameters) as answer:
            assert answer.status == 200
            page = await answer.json()
        items += page["items"]
        if page["next"] is None:
            return items
        parameters["cursor"] = page["next"]


class IncrementalReader:
    """Reads as the API's description says, or with another overlap."""

    def __init__(self, console: aiohttp.ClientSession, overlap_ms: int) -> None:
        self._console = console
        self._overlap_ms = overlap_ms
        self._newest_ms = 0
        self.seen: list[str] = []

    async def read(self) -> None:
        """One round; what was read already is known by its eventId."""
        items = await read_increment(self._console, max(0, self._newest_ms - self._overlap_ms))
        known = set(self.seen)
        self.seen += [item["eventId"] for item in items if item["eventId"] not in known]
        for item in items:
            self._newest_ms = max(self._newest_ms, time_of(item["receivedAt"]))


def time_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def test_an_incremental_reader_with_the_overlap_misses_nothing_that_a_writer_stores(
    console: aiohttp.ClientSession, kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group = await fresh_group(kafka_settings)
    start_ms = SystemClock().now_ms()
    # Received over ten minutes, and stored out of order: each partition has its own lag, and half comes a whole lot
    # later than what was received after it.
    events = [
        make_event(sn=f"SN{number % 24}", received_at=rfc3339(start_ms + number * 600), record_time=RECORD_TIME)
        for number in range(1_000)
    ]
    on_time, late = events[::2], events[1::2]
    async with opened_database(mongo_settings) as database:
        reader, careless = IncrementalReader(console, OVERLAP_MS), IncrementalReader(console, 0)
        async with running(TestWriter(kafka_settings, database, group, records=50)):
            for some in (on_time, late):
                producing = asyncio.ensure_future(produce(kafka_settings, [event_record(event) for event in some]))
                expected = len(reader.seen) + len(some)
                async with asyncio.timeout(60):
                    while len(reader.seen) < expected:
                        await reader.read()
                        await careless.read()
                await producing
    assert len(reader.seen) == len(set(reader.seen))
    assert set(reader.seen) == {event.event_id for event in events}
    # Without the overlap it does miss some: the test could have failed.
    assert len(careless.seen) < len(events)
