"""What was answered with success is stored, once, though ingress and writer were killed with SIGKILL meanwhile (E6)."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import Operators, event_id

TERMINALS = 20
SECONDS = 25
BACK_SECONDS = 30.0

Key = tuple[str, str, int, int]


def key_of(entry: dict[str, Any]) -> Key:
    return entry["sn"], entry["personId"], entry["recordTime"], entry["type"]


async def kill_and_wait(stack: RunningStack, *services: str) -> None:
    """Kills every process of the services at once, and waits until the stack has named new ones."""
    killed = {service: set(stack.kill(service)) for service in services}
    deadline = time.monotonic() + BACK_SECONDS
    while any(set(stack.pids(service)) & pids for service, pids in killed.items()):
        assert time.monotonic() < deadline, "the stack did not start them again"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def hanging(stack: RunningStack, part: str) -> AsyncIterator[None]:
    """A part that keeps its connections and answers nothing."""
    pids = stack.kill(part, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_e6_what_was_acknowledged_is_stored_once_though_ingress_and_writer_were_killed(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, tmp_path: Path
) -> None:
    ledger, prefix = tmp_path / "ledger.jsonl", f"KILL{secrets.token_hex(4)}-"
    host, port = platform_stack.tcp
    fleet = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "terminal_simulator", "--tcp", f"{host}:{port}",
        "--access-id", vendor.access_id, "--access-key", vendor.access_key,
        "--terminals", str(TERMINALS), "--sn-prefix", prefix, "--start-spread-seconds", "1",
        "--sign-ins-per-minute", "120", "--heartbeat-seconds", "5", "--answer-timeout-seconds", "6",
        "--seconds", str(SECONDS), "--ledger", str(ledger), "--report-json-lines",
        env={**os.environ, "TERMINAL_SIMULATOR_ACCESS_SECRET": vendor.access_secret},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await asyncio.sleep(3)
        await kill_and_wait(platform_stack, "tcp-ingress")
        await asyncio.sleep(2)
        # What is sent to a Kafka that hangs is in the ingress alone: had it been answered, it would be lost now.
        async with hanging(platform_stack, "kafka"):
            await asyncio.sleep(1.5)
            await kill_and_wait(platform_stack, "tcp-ingress")
        await asyncio.sleep(2)
        # What is read while MongoDB hangs is in the writer alone: had it been committed, it would be lost now.
        async with hanging(platform_stack, "mongo"):
            await asyncio.sleep(1.5)
            await kill_and_wait(platform_stack, "attendance-writer")
        await asyncio.sleep(2)
        await kill_and_wait(platform_stack, "tcp-ingress", "attendance-writer")
        async with asyncio.timeout(SECONDS + 20):
            report, _ = await fleet.communicate()
    finally:
        if fleet.returncode is None:
            fleet.kill()
    assert fleet.returncode == 0
    last = json.loads(report.splitlines()[-1])
    assert last["reconnects"] >= TERMINALS  # the kills were felt
    assert last["online"] == 0  # the last line is of the end

    entries = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    acknowledged = {key_of(entry): entry["withPicture"] for entry in entries if entry["outcome"] == "acknowledged"}
    assert len(acknowledged) == last["acknowledged"] > TERMINALS * SECONDS / 2  # two a second, less what the kills cost
    assert last["refused"] == 0

    newest = max(acknowledged, key=lambda key: key[2])
    await operators.stored(event_id(*newest))
    stored = await all_stored(operators, prefix, expected=set(acknowledged))
    keys = [key_of(item) for item in stored]
    assert set(acknowledged) <= set(keys)
    assert len(set(keys)) == len(keys)
    assert set(keys) <= {key_of(entry) for entry in entries}  # nothing that was never sent
    assert all(item["eventId"] == event_id(*key_of(item)) for item in stored)
    without_image = [key for item in stored if not item["hasImage"] and acknowledged.get(key := key_of(item))]
    assert without_image == []


async def all_stored(operators: Operators, prefix: str, expected: set[Key]) -> list[dict[str, Any]]:
    """All that is stored of the fleet, once what is expected is there with its pictures, or 15 s have passed."""
    deadline = time.monotonic() + 15
    while True:
        stored: list[dict[str, Any]] = []
        for number in range(1, TERMINALS + 1):
            stored += await operators.attendances_of(f"{prefix}{number:05d}")
        complete = expected <= {key_of(item) for item in stored if item["hasImage"] or item["type"] == 2}
        if complete or time.monotonic() > deadline:
            return stored
        await asyncio.sleep(0.5)
