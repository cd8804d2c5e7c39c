"""Restarts every service of a running stack, process by process, under a working fleet, and tells what it cost."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.http_client import RequestFailed, get
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.waiting import eventually

SERVICES = ("tcp-ingress", "session", "task-api", "console", "attendance-writer")
RESTART_SECONDS = 40.0
BACK_SECONDS = 30.0
SETTLE_SECONDS = 1.5
"""A report comes every second."""


class Fleet:
    """Simulated terminals at work; `reports` are what they said each second, with the time at which it was read."""

    def __init__(self, terminals: int, prefix: str, ledger: Path) -> None:
        self.terminals = terminals
        self.prefix = prefix
        self.ledger = ledger
        self.reports: list[tuple[float, dict[str, Any]]] = []

    @property
    def last(self) -> dict[str, Any]:
        """The newest report."""
        return self.reports[-1][1]

    async def all_online(self, since: float) -> float:
        """Waits until all terminals are online, by a report read after `since`; gives the seconds since then."""
        await eventually(lambda: self._are_online(since), BACK_SECONDS)
        return self.reports[-1][0] - since

    def _are_online(self, since: float) -> bool:
        return bool(self.reports) and self.reports[-1][0] > since and self.last["online"] == self.terminals

    def entries(self) -> list[dict[str, Any]]:
        """The ledger: what became of each sign-in."""
        return [json.loads(line) for line in self.ledger.read_text(encoding="utf-8").splitlines()]


@asynccontextmanager
async def working_fleet(
    stack: RunningStack, vendor: Vendor, ledger: Path, terminals: int, *options: str
) -> AsyncIterator[Fleet]:
    """A fleet that is told to end when the block does; its last report is then the one of its end."""
    host, port = stack.tcp
    fleet = Fleet(terminals, f"ROLL{secrets.token_hex(4)}-", ledger)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "terminal_simulator", "--tcp", f"{host}:{port}",
        "--access-id", vendor.access_id, "--access-key", vendor.access_key,
        "--terminals", str(terminals), "--sn-prefix", fleet.prefix,
        "--ledger", str(ledger), "--report-json-lines", *options,
        env={**os.environ, "TERMINAL_SIMULATOR_ACCESS_SECRET": vendor.access_secret},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines = process.stdout

    async def read_reports() -> None:
        async for line in lines:
            fleet.reports.append((time.monotonic(), json.loads(line)))

    reading = asyncio.ensure_future(read_reports())
    try:
        await fleet.all_online(time.monotonic())
        yield fleet
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await reading
            assert await process.wait() == 0
    finally:
        reading.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass(frozen=True)
class Restarted:
    """One process that was restarted."""

    service: str
    ended_seconds: float
    """From SIGTERM until the stack named its successor."""
    ready_seconds: float
    """From SIGTERM until that was ready."""
    back_seconds: float
    """From SIGTERM until all terminals were on line."""
    reconnects: int
    unanswered: int
    """Sign-ins whose answer was cut off."""


async def restart_in_turn(stack: RunningStack, fleet: Fleet) -> list[Restarted]:
    """SIGTERM to each process of each service, the next one once its successor is ready and all terminals are back."""
    return [await _restart(stack, fleet, service, pid) for service in SERVICES for pid in stack.pids(service)]


async def _restart(stack: RunningStack, fleet: Fleet, service: str, pid: int) -> Restarted:
    before, began = fleet.last, time.monotonic()
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: pid not in stack.pids(service), RESTART_SECONDS)
    ended = time.monotonic()
    await eventually(lambda: _all_ready(stack.admin(service)), RESTART_SECONDS)
    ready = time.monotonic()
    back = await fleet.all_online(since=ended)  # whoever was connected to the process is off line by then, or back
    await asyncio.sleep(SETTLE_SECONDS)
    return Restarted(
        service,
        ended - began,
        ready - began,
        back + ended - began,
        fleet.last["reconnects"] - before["reconnects"],
        fleet.last["unanswered"] - before["unanswered"],
    )


def _all_ready(admin_urls: list[str]) -> bool:
    try:
        for url in admin_urls:
            get(f"{url}/readyz")
    except RequestFailed:
        return False
    return True
