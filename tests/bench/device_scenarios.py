"""What terminals do over TCP, measured: heartbeats, sign-ins, a fleet that comes back, a working morning, idle ones."""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.runtime.tasks import spawn
from stack.http_client import get
from tests.bench.benchmark_stack import OTHERS, BenchmarkStack, EchoServer
from tests.bench.generator_process import Load, generate
from tests.bench.prepared_frames import DeviceLine, read_answers, write_frames
from tests.bench.process_usage import resident_bytes
from tests.support.builders import now_ms
from tests.support.terminal import connect
from tests.support.waiting import eventually

PICTURE_BYTES = 30_000
BEAT_SECONDS = 30
BACK_MS = 500_000_000
"""Passages are of some days ago, so that none is ahead of the clock however many there are."""


@dataclass
class Row:
    """One line of the table; `cpu_microseconds` is an operation's, by kind of process."""

    name: str
    load: Load
    cpu_microseconds: dict[str, float]
    echo_microseconds: float | None = None
    echo_per_second: float | None = None
    resident_mb: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def ingress_microseconds(self) -> float:
        """CPU of all ingress processes together, an operation."""
        return self.cpu_microseconds["tcp-ingress"]


class DeviceBench:
    """Runs scenarios against one platform."""

    def __init__(self, platform: BenchmarkStack, echo: EchoServer, connections: int) -> None:
        self._platform = platform
        self._echo = echo
        self._connections = connections
        self._prefix = f"BENCH{now_ms()}"
        self._lines: list[DeviceLine] = []
        self._next_ms = now_ms() - BACK_MS
        self._picture = os.urandom(PICTURE_BYTES)

    async def authenticate(self) -> None:
        """Gives each connection's device a token."""
        host, port = self._platform.stack.tcp
        for number in range(self._connections):
            line = DeviceLine(self._platform.vendor, f"{self._prefix}-{number}")
            async with connect(host, port) as terminal:
                line.token = await terminal.authenticate(line.vendor, line.sn)
            self._lines.append(line)

    async def heartbeats(self, outstanding: int, each: int) -> Row:
        """Closed loop, beside the echo of the same frames."""
        return await self._beside_echo(
            f"heartbeat, {outstanding} outstanding", [line.heartbeats(each) for line in self._lines], outstanding
        )

    async def sign_ins(self, outstanding: int, each: int, *, with_picture: bool) -> Row:
        """Closed loop: acknowledged by Kafka before each answer."""
        name = f"sign-in{' with 30 KB' if with_picture else ''}, {outstanding} outstanding"
        return await self._beside_echo(name, self._sign_ins(each, with_picture), outstanding, with_picture=with_picture)

    async def open_loop(self, name: str, each: int, rate: float, *, with_picture: bool = False) -> Row:
        """Sign-ins, or heartbeats where `name` says so, at a rate: latency free of coordinated omission."""
        if name.startswith("heartbeat"):
            frames: Sequence[Sequence[bytes]] = [line.heartbeats(each) for line in self._lines]
        else:
            frames = self._sign_ins(each, with_picture)
        return await self._measured(f"{name}, open loop {rate:.0f}/s", frames, ["-rate", str(rate)])

    async def morning(self, each: int, rate: float) -> Row:
        """Of eleven requests six are sign-ins, five of them with a picture, and five heartbeats: a province's peak has
        2,000 sign-ins a second and 100,000 terminals that beat once a minute."""
        frames = []
        for line in self._lines:
            kinds = [line.heartbeats(each), self._passages(line, each, False), self._passages(line, each, True)]
            frames.append([kinds[(0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 1)[i % 11]][i] for i in range(each)])
        return await self._measured(f"working morning, open loop {rate:.0f}/s", frames, ["-rate", str(rate)])

    async def storm(self, terminals: int, at_once: int) -> Row:
        """A fleet that is known comes back: each opens a connection and sends C_AUTH."""
        lines = [DeviceLine(self._platform.vendor, f"{self._prefix}-S{number}") for number in range(terminals)]
        arguments = ["-storm", "-outstanding", str(at_once)]
        first = [line.auths(1, "first") for line in lines]
        (await self._generate(first, arguments, self._platform.to)).check()  # devices are entered: not measured
        return await self._measured(
            f"C_AUTH, {terminals} terminals", [line.auths(1, "back") for line in lines], arguments
        )

    async def idle(self, terminals: int, beats: int) -> Row:
        """Terminals that beat every 30 s and do nothing else: memory and CPU of the ingress."""
        lines = [DeviceLine(self._platform.vendor, f"{self._prefix}-I{number}") for number in range(terminals)]
        with tempfile.TemporaryDirectory() as directory:
            answers = Path(directory) / "answers"
            opening = ["-storm", "-outstanding", "200", "-answers", str(answers)]
            (await self._generate([line.auths(1, "idle") for line in lines], opening, self._platform.to)).check()
            for line, answer in zip(lines, read_answers(answers), strict=True):
                assert answer.response is not None
                line.token = str(answer.response["token"])
        before, usage, began = self._resident(), self._platform.usage(), time.monotonic()
        beating = spawn(
            self._generate(
                [line.heartbeats(beats) for line in lines],
                ["-rate", str(terminals / BEAT_SECONDS), "-wait", "60s"],
                self._platform.to,
            ),
            "idle-terminals",
        )
        await asyncio.sleep(BEAT_SECONDS * (beats - 0.5))
        held = self._resident() - before
        load = await beating
        load.check()
        took = usage.microseconds(load.operations)
        more = {
            "kilobytesATerminal": held / terminals / 1000,
            "shareOfACore": took["tcp-ingress"] * load.operations / 1e6 / (time.monotonic() - began),
        }
        return Row(f"{terminals} idle terminals", load, took, resident_mb=self._resident() / 1e6, more=more)

    async def writer(self, each: int) -> Row:
        """CPU of the writer a document, from the first frame until all are stored, and documents a second."""
        stored, usage, began = self._stored(), self._platform.usage(), time.monotonic()
        load = await self._generate(self._sign_ins(each, False), ["-outstanding", "16"], self._platform.to)
        load.check()
        await eventually(lambda: self._stored() - stored >= load.operations, 300)
        seconds = time.monotonic() - began
        return Row(
            "writer, documents without picture",
            load,
            usage.microseconds(load.operations),
            more={"documentsASecond": load.operations / seconds},
        )

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sign_ins(self, each: int, with_picture: bool) -> list[list[bytes]]:
        return [self._passages(line, each, with_picture) for line in self._lines]

    def _passages(self, line: DeviceLine, count: int, with_picture: bool) -> list[bytes]:
        self._next_ms += count
        return line.sign_ins(count, self._next_ms - count, self._picture if with_picture else None)

    async def _beside_echo(
        self, name: str, frames: Sequence[Sequence[bytes]], outstanding: int, *, with_picture: bool = False
    ) -> Row:
        arguments = ["-outstanding", str(outstanding)]
        usage = self._echo.usage()
        echoed = await self._generate(frames, arguments, self._echo.to)
        echo_cpu = usage.microseconds(echoed.operations)["echo"]
        row = await self._measured(name, frames, arguments)
        row.echo_microseconds, row.echo_per_second = echo_cpu, echoed.per_second
        return row

    async def _measured(self, name: str, frames: Sequence[Sequence[bytes]], arguments: list[str]) -> Row:
        usage = self._platform.usage()
        load = await self._generate(frames, arguments, self._platform.to)
        cpu = usage.microseconds(max(load.operations, 1))
        load.check()
        return Row(name, load, cpu, resident_mb=self._resident() / 1e6)

    async def _generate(self, frames: Sequence[Sequence[bytes]], arguments: list[str], to: list[str]) -> Load:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "frames"
            write_frames(path, frames, self._picture)
            return await generate(path, to, cores=OTHERS, arguments=arguments)

    def _stored(self) -> float:
        text = get(self._platform.stack.admin("attendance-writer")[0] + "/metrics")
        (line,) = (one for one in text.splitlines() if one.startswith("attendance_writer_stored_total"))
        return float(line.split()[-1])

    def _resident(self) -> int:
        return sum(map(resident_bytes, self._platform.ingress))
