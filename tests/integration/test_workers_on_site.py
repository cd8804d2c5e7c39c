"""examples/workers_on_site as a person runs it, against records as the platform writes them."""

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from shared.domain.attendance import AttendanceEvent, rfc3339
from shared.domain.devices import Direction
from shared.domain.events import SIGN_IN_TOPIC, Record, sign_in_record
from shared.kafka.producer import open_producer
from shared.kafka.topics import ensure_topics
from shared.runtime.settings import KafkaSettings
from tests.support.attendance import make_event

EXAMPLE = Path(__file__).parents[2] / "examples" / "workers_on_site" / "workers_on_site.py"
MINUTE_MS = 60_000


async def test_workers_on_site_are_counted_from_the_topic_with_late_and_double_records(
    kafka_settings: KafkaSettings,
) -> None:
    now_ms = time.time_ns() // 1_000_000

    def passage(person: str, minutes_ago: int, direction: Direction, sn: str = "EX1") -> AttendanceEvent:
        return make_event(
            sn=sn,
            person_id=f"example-{person}",
            record_time=now_ms - minutes_ago * MINUTE_MS,
            received_at=rfc3339(now_ms),
            site_id="example-site",
            direction=direction,
        )

    came = passage("anna", 50, Direction.IN)
    events = [
        came,
        passage("anna", 10, Direction.OUT, "EX2"),
        came,
        passage("bo", 5, Direction.IN),
        passage("chen", 5, Direction.OUT),
        passage("chen", 55, Direction.IN, "EX2"),
        passage("dai", 70, Direction.IN),
        msgspec.structs.replace(passage("eng", 5, Direction.IN), site_id=None),
    ]
    await ensure_topics(kafka_settings, 60)
    async with open_producer(kafka_settings, "example", 30, [SIGN_IN_TOPIC]) as producer:
        for event in events:
            record = sign_in_record(event, now_ms)
            await producer.send(record.topic, producer.partition_for(record.topic, record.key), [record])
        for foreign in (
            Record(SIGN_IN_TOPIC, b"EX1", b"no json", (), now_ms),
            Record(SIGN_IN_TOPIC, b"", b"{}", (), now_ms),
        ):
            await producer.send(SIGN_IN_TOPIC, 0, [foreign])
    report = await run("--bootstrap", kafka_settings.bootstrap, "--once", "--hours", "1")
    # Anna left after she came, chen's way in came late, dai came before the window; bo is there.
    assert report["bySite"]["example-site"] == 1
    assert report["duplicates"] >= 1


async def test_without_a_running_platform_the_example_says_what_to_do(tmp_path: Path) -> None:
    assert "make up" in await failed("--stack-json", str(tmp_path / "stack.json"))


async def test_where_no_broker_answers_the_example_says_so_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    said = (await failed("--bootstrap", address)).splitlines()
    assert said[-1] == f"{address} does not answer, or has no topic attendance.sign-in.v1"
    assert "Traceback" not in "".join(said)
    assert "Unclosed" not in "".join(said)


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def run(*arguments: str) -> dict[str, Any]:
    """What the example reports."""
    process = await started(*arguments)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    report: dict[str, Any] = json.loads(output)
    return report


async def failed(*arguments: str) -> str:
    """What the example says where it cannot begin."""
    process = await started(*arguments)
    _, errors = await process.communicate()
    assert process.returncode == 1
    return errors.decode()
