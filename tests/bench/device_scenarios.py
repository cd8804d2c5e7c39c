"""What terminals do over TCP, measured: heartbeats, sign-ins, a fleet that comes back, a working morning, idle ones."""

import asyncio
import os
import time
from collections.abc import Sequence

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC
from shared.runtime.tasks import spawn
from stack.http_client import get
from tests.bench.benchmark_stack import BenchmarkStack
from tests.bench.broker_ceiling import BrokerCeiling
from tests.bench.echo_server import EchoServer
from tests.bench.generator_process import Load, generate
from tests.bench.prepared_frames import DeviceLine
from tests.bench.results import Row
from tests.support.builders import now_ms
from tests.support.terminal import connect
from tests.support.waiting import eventually

PICTURE_BYTES = 30_000
BEAT_SECONDS = 30
BACK_MS = 500_000_000
"""Passages are of some days ago, so that none is ahead of the clock however many there are."""


class DeviceBench:
    """Runs scenarios against one platform."""

    def __init__(self, platform: BenchmarkStack, echo: EchoServer, connections: int) -> None:
        self._platform = platform
        self._echo = echo
        self._broker = BrokerCeiling(platform)
        self._connections = connections
        self._prefix = f"BENCH{now_ms()}"
        self.lines: list[DeviceLine] = []
        self._next_ms = now_ms() - BACK_MS
        self._fleets = 0
        self._picture = os.urandom(PICTURE_BYTES)

    async def authenticate(self) -> None:
        """Gives each connection's device a token."""
        host, port = self._platform.stack.tcp
        for number in range(self._connections):
            line = DeviceLine(self._platform.vendor, f"{self._prefix}-{number}")
            async with connect(host, port) as terminal:
                line.token = await terminal.authenticate(line.vendor, line.sn)
            self.lines.append(line)

    async def heartbeats(self, outstanding: int, each: int) -> Row:
        """Closed loop."""
        return await self._beside_echo(
            f"heartbeat, {outstanding} outstanding",
            [line.heartbeats(each) for line in self.lines],
            ["-outstanding", str(outstanding)],
        )

    async def sign_ins(self, outstanding: int, each: int, *, with_picture: bool) -> Row:
        """Closed loop: acknowledged by Kafka before each answer. Beside the echo is what the broker's own producer
        reaches with records of the same size, as many as a sign-in has."""
        name = f"sign-in{' with 30 KB' if with_picture else ''}, {outstanding} outstanding"
        row = await self._beside_echo(name, self._sign_ins(each, with_picture), ["-outstanding", str(outstanding)])
        row.more |= await self._broker.measure([SIGN_IN_TOPIC, *([SENSITIVE_TOPIC] if with_picture else [])])
        return row

    async def open_loop(self, name: str, each: int, rate: float, *, with_picture: bool = False) -> Row:
        """Sign-ins, or heartbeats where `name` says so, at a rate: latency free of coordinated omission."""
        if name.startswith("heartbeat"):
            frames: Sequence[Sequence[bytes]] = [line.heartbeats(each) for line in self.lines]
        else:
            frames = self._sign_ins(each, with_picture)
        return await self._beside_echo(f"{name}, open loop {rate:.0f}/s", frames, ["-rate", str(rate)])

    async def morning(self, each: int, rate: float) -> Row:
        """Of eleven requests six are sign-ins, five of them with a picture, and five heartbeats: a province's peak has
        2,000 sign-ins a second and 100,000 terminals that beat once a minute."""
        frames = []
        for line in self.lines:
            kinds = [line.heartbeats(each), self._passages(line, each, False), self._passages(line, each, True)]
            frames.append([kinds[(0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 1)[i % 11]][i] for i in range(each)])
        return await self._beside_echo(f"working morning, open loop {rate:.0f}/s", frames, ["-rate", str(rate)])

    async def storm(self, terminals: int, at_once: int) -> Row:
        """A fleet that is known comes back: each opens a connection and sends C_AUTH."""
        lines = [DeviceLine(self._platform.vendor, f"{self._prefix}-S{number}") for number in range(terminals)]
        arguments = ["-storm", "-outstanding", str(at_once)]
        # Devices are entered first, which is not measured.
        (await generate([line.auths(1, "first") for line in lines], self._platform.to, arguments)).check()
        return await self._beside_echo(
            f"C_AUTH, {terminals} terminals", [line.auths(1, "back") for line in lines], arguments
        )

    async def among(self, connected: int, each: int) -> Row:
        """Growth: heartbeats of a few terminals while many are connected. All of them beat once, too, and what that
        costs alone, with the coming and going of all connections, is taken off."""
        lines = await self._fleet(connected)
        once = [line.heartbeats(1) for line in lines]
        frames = [line.heartbeats(each + 1) for line in lines[: self._connections]] + once[self._connections :]
        name, arguments = f"heartbeat among {connected} terminals", ["-outstanding", "1"]
        base, row = await self._beside_echo(name, once, arguments), await self._beside_echo(name, frames, arguments)
        more = row.load.operations - base.load.operations

        def alone(of_all: float, of_base: float) -> float:
            return (of_all * row.load.operations - of_base * base.load.operations) / more

        row.cpu_microseconds = {
            kind: alone(took, base.cpu_microseconds[kind]) for kind, took in row.cpu_microseconds.items()
        }
        row.echo_microseconds = alone(row.echo_microseconds or 0, base.echo_microseconds or 0)
        return row

    async def idle(self, terminals: int, beats: int) -> Row:
        """Terminals that beat every 30 s and do nothing else: memory and CPU of the ingress."""
        held = self._platform.resident_mb("tcp-ingress")
        lines = await self._fleet(terminals)
        usage, began = self._platform.usage(), time.monotonic()
        beating = spawn(
            generate(
                [line.heartbeats(beats) for line in lines],
                self._platform.to,
                ["-rate", str(terminals / BEAT_SECONDS), "-wait", "60s"],
            ),
            "idle-terminals",
        )
        await asyncio.sleep(BEAT_SECONDS * (beats - 0.5))
        resident = self._platform.resident_mb("tcp-ingress")
        load = await beating
        load.check()
        took = usage.microseconds(load.operations)
        more = {
            "kilobytesATerminal": (resident - held) / terminals * 1000,
            "shareOfACore": took["tcp-ingress"] * load.operations / 1e6 / (time.monotonic() - began),
        }
        return Row(f"{terminals} idle terminals", load, took, resident, more=more)

    async def writer(self, each: int) -> Row:
        """CPU of the writer a document, from the first frame until all are stored, and documents a second."""
        stored, usage, began = self._stored(), self._platform.usage(), time.monotonic()
        load = await self._generate(self._sign_ins(each, False), ["-outstanding", "16"], self._platform.to)
        load.check()
        await eventually(lambda: self._stored() - stored >= load.operations, 300)
        more = {"documentsASecond": load.operations / (time.monotonic() - began)}
        kind = "attendance-writer"
        took, resident = usage.microseconds(load.operations), self._platform.resident_mb(kind)
        return Row("writer, documents without picture", load, took, resident, process=kind, more=more)

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sign_ins(self, each: int, with_picture: bool) -> list[list[bytes]]:
        return [self._passages(line, each, with_picture) for line in self.lines]

    def _passages(self, line: DeviceLine, count: int, with_picture: bool) -> list[bytes]:
        self._next_ms += count
        return line.sign_ins(count, self._next_ms - count, self._picture if with_picture else None)

    async def _fleet(self, terminals: int) -> list[DeviceLine]:
        lines = [DeviceLine(self._platform.vendor, f"{self._prefix}-F{number}") for number in range(terminals)]
        self._fleets += 1
        frames = [line.auths(1, f"fleet-{self._fleets}") for line in lines]
        load = await generate(frames, self._platform.to, ["-storm", "-outstanding", "200"])
        load.check()
        for line, answer in zip(lines, load.first_answers, strict=True):
            line.take_token(answer)
        return lines

    async def _beside_echo(self, name: str, frames: Sequence[Sequence[bytes]], arguments: list[str]) -> Row:
        usage = self._echo.usage()
        echoed = await self._generate(frames, arguments, self._echo.to)
        echo_cpu = usage.microseconds(echoed.operations)["echo"]
        usage = self._platform.usage()
        load = await self._generate(frames, arguments, self._platform.to)
        cpu = usage.microseconds(max(load.operations, 1))
        load.check()
        resident = self._platform.resident_mb("tcp-ingress")
        return Row(name, load, cpu, resident, echo_microseconds=echo_cpu, echo_per_second=echoed.per_second)

    async def _generate(self, frames: Sequence[Sequence[bytes]], arguments: list[str], to: list[str]) -> Load:
        return await generate(frames, to, arguments, self._picture)

    def _stored(self) -> float:
        text = get(self._platform.stack.admin("attendance-writer")[0] + "/metrics")
        (line,) = (one for one in text.splitlines() if one.startswith("attendance_writer_stored_total"))
        return float(line.split()[-1])
