"""The terminals at work: a fleet of the simulator as its own process, its reports and its ledger."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.ledger import Entry, LedgerFile
from tests.chaos.platform import ChaosPlatform
from tests.support.builders import Vendor
from tests.support.waiting import eventually

END_SECONDS = 30.0
HABITS = (
    "--heartbeat-seconds", "5", "--answer-timeout-seconds", "8", "--start-spread-seconds", "3", "--buffer", "20000",
    "--straying-terminals", "0",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What the fleet said of itself, and when that was read."""

    at: float
    told: dict[str, Any] = field(default_factory=dict)

    def count(self, name: str) -> int:
        """A number of it; 0 before the first report."""
        return int(self.told.get(name, 0))

    @property
    def errors(self) -> Counter[str]:
        """Error answers by code, of all requests, since the start."""
        return Counter(self.told.get("errors", {}))

    def since(self, before: "Report") -> Counter[str]:
        """What terminals saw go wrong between the two."""
        seen = self.errors - before.errors
        for name, what in (("reconnects", "connection lost"), ("unanswered", "unanswered"), ("refused", "refused")):
            if (count := self.count(name) - before.count(name)) > 0:
                seen[what] = count
        return seen


class Fleet:
    """A fleet with a ledger of its own. `start`, then `end`."""

    def __init__(self, platform: ChaosPlatform, vendor: Vendor, terminals: int, prefix: str, *options: str) -> None:
        self.terminals = terminals
        self.prefix = prefix
        self.reports: list[Report] = [Report(time.monotonic())]
        path = platform.directory / f"ledger-{prefix}.jsonl"
        path.unlink(missing_ok=True)
        self.ledger = LedgerFile(path)
        self._platform = platform
        self._vendor = vendor
        self._path = path
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def last(self) -> Report:
        """The newest report."""
        return self.reports[-1]

    @property
    def sns(self) -> list[str]:
        """Its terminals."""
        return [f"{self.prefix}{number:05d}" for number in range(1, self.terminals + 1)]

    async def start(self) -> None:
        """Starts it without waiting until anyone is on line."""
        addresses = self._platform.addresses
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "terminal_simulator", "--tcp", addresses.tcp,
            "--https", addresses.https, "--ca", str(addresses.ca),
            "--access-id", self._vendor.access_id, "--access-key", self._vendor.access_key,
            "--terminals", str(self.terminals), "--sn-prefix", self.prefix, "--ledger", str(self._path),
            "--report-json-lines", *HABITS, *self._options,
            env={**os.environ, "TERMINAL_SIMULATOR_ACCESS_SECRET": self._vendor.access_secret},
            stdout=asyncio.subprocess.PIPE, limit=1_048_576,
        )  # fmt: skip
        self._reading = asyncio.ensure_future(self._read(self._process))

    async def wait_online(self, seconds: float) -> None:
        """Returns when all are on line. Raises TimeoutError; AssertionError where the simulator ended."""

        def are_online() -> bool:
            assert self._reading is not None
            assert not self._reading.done(), "the simulator ended"
            return self.last.count("online") == self.terminals

        await eventually(are_online, seconds)

    async def end(self) -> list[Entry]:
        """Tells it to end; returns its whole ledger. Raises AssertionError where it did not end well."""
        assert self._process is not None
        assert self._reading is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._reading
                code = await self._process.wait()
        finally:
            await self.kill()
        assert code == 0, f"the simulator ended with exit code {code}"
        self.ledger.take_new()
        return self.ledger.entries

    async def kill(self) -> None:
        """Ends it without a word, where it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.reports.append(Report(time.monotonic(), json.loads(line)))
            del self.reports[1:-600]
