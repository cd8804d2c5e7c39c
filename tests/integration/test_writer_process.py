"""`python -m attendance_writer` as a process: its exit codes, its admin port, its end by SIGTERM and SIGKILL."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.stores.mongo.attendance import MongoAttendanceStore
from tests.support.attendance import event_record, make_event
from tests.support.waiting import eventually
from tests.support.writers import fresh_group, opened_database, produce, uncommitted


class Process:
    """A writer process, its log, and what its metrics say."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line.decode()

    async def ended(self) -> int:
        async with asyncio.timeout(40):
            code = await self.process.wait()
            await self._reading
            return code

    async def get(self, path: str) -> str:
        await eventually(lambda: "admin port" in self.log)
        port = re.search(r"admin port (\d+)", self.log)
        assert port is not None
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port[1]}{path}") as answer:
            return await answer.text()

    async def metric(self, name: str) -> float:
        (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", await self.get("/metrics"), re.MULTILINE)
        return float(value)


@asynccontextmanager
async def started(kafka: KafkaSettings, mongo: MongoSettings, group_id: str, **settings: str) -> AsyncIterator[Process]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")} | {
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "MONGO_URL": mongo.url.get_secret_value(),
        "MONGO_DATABASE": mongo.database,
        "ATTENDANCE_WRITER_ADMIN_PORT": "0",
        "ATTENDANCE_WRITER_GROUP_ID": group_id,
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "attendance_writer", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_too_much_poison_ends_the_process_with_exit_code_1_and_says_why(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    poison = [msgspec.structs.replace(event_record(make_event(sn="exit")), value=b"poison") for _ in range(3)]
    await produce(kafka_settings, poison)
    async with started(kafka_settings, mongo_settings, group_id, ATTENDANCE_WRITER_MAX_REJECTED_RECORDS="2") as writer:
        assert await writer.ended() == 1
        assert "3 of the last 3 records were rejected, more than 2" in writer.log
    assert await uncommitted(kafka_settings, group_id) == 3


async def test_sigterm_ends_the_process_with_exit_code_0_and_everything_committed(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    async with started(kafka_settings, mongo_settings, group_id) as writer:
        await produce(kafka_settings, [event_record(make_event(sn="term")) for _ in range(20)])

        async def all_stored() -> bool:
            return await writer.metric("attendance_writer_stored_total") == 20

        await eventually(all_stored)
        assert await writer.get("/readyz") == '{"ready": true}'
        assert await writer.metric("attendance_writer_last_batch_age_seconds") >= 0
        assert await writer.metric('attendance_writer_dead_letters_total{reason="invalid-json"}') == 0
        writer.process.terminate()
        assert await writer.ended() == 0
    assert await uncommitted(kafka_settings, group_id) == 0


async def test_design_10_a_process_killed_under_load_loses_nothing(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    events = [make_event(sn=f"kill-{number % 20}") for number in range(2000)]
    await produce(kafka_settings, [event_record(event) for event in events])
    small = {"ATTENDANCE_WRITER_BATCH_MAX_RECORDS": "50"}
    async with opened_database(mongo_settings) as database:
        async with started(kafka_settings, mongo_settings, group_id, **small) as writer:

            async def some_stored() -> bool:
                return await database["attendance"].find_one({}) is not None

            await eventually(some_stored)
            writer.process.kill()
            assert await writer.ended() == -9
        left = await uncommitted(kafka_settings, group_id)
        assert left > 0
        async with started(kafka_settings, mongo_settings, group_id) as writer:

            async def all_committed() -> bool:
                return await uncommitted(kafka_settings, group_id) == 0

            await eventually(all_committed, seconds=60)
        assert await database["attendance"].count_documents({}) == 2000
        assert await MongoAttendanceStore(database).find(events[-1].event_id) is not None


async def test_without_a_broker_the_process_waits_and_still_ends_by_sigterm(mongo_settings: MongoSettings) -> None:
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    async with started(nowhere, mongo_settings, "nobody") as writer:
        await eventually(lambda: "consumer cannot start" in writer.log, seconds=40)
        assert writer.process.returncode is None
        writer.process.terminate()
        assert await writer.ended() == 0
