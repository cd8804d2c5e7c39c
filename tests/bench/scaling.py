"""What a terminal and its requests cost each process: the figures of docs/runbook/scaling.md. Starts its own stack.

    .venv/bin/python -m tests.bench.scaling --terminals 2000

CPU is user and system time from /proc/PID/stat, so that other work on the machine counts little; memory is VmRSS.
Absolute figures are this machine's.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import bson
import redis.asyncio
import uvloop

from shared.runtime.settings import MongoSettings
from shared.stores.mongo.client import open_mongo
from stack.guard import Guard
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_sign_in, now_ms
from tests.support.operators import open_operators
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

TICKS = os.sysconf("SC_CLK_TCK")
SERVICES = ("tcp-ingress", "session", "attendance-writer")
AT_ONCE = 100
CLIENT_ADDRESSES = 16
"""Loopback addresses that terminals come from: an ingress takes 1,000 connections of one."""
PICTURE_BYTES = 30_000
SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Fleet:
    """Terminals that are connected and hold tokens."""

    vendor: Vendor
    terminals: Sequence[tuple[str, Terminal, str]]


class Costs:
    """What the stack's processes have used so far."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    def cpu_seconds(self) -> dict[str, float]:
        """By service, all its processes together."""
        return {name: sum(_cpu_seconds(pid) for pid in self._stack.pids(name)) for name in (*SERVICES, "redis")}

    def resident_bytes(self) -> dict[str, int]:
        return {name: sum(_resident_bytes(pid) for pid in self._stack.pids(name)) for name in SERVICES}

    def topic_bytes(self, topic: str) -> int:
        """What a topic takes on the broker's disk."""
        return sum(file.stat().st_size for file in self._stack.directory.rglob(f"{topic}-*/*.log"))


async def measure(stack: RunningStack, terminals: int) -> None:
    """Prints a line for each thing measured."""
    costs = Costs(stack)
    store: redis.asyncio.Redis = redis.asyncio.from_url(stack.description["redis"])
    async with AsyncExitStack() as exits:
        exits.push_async_callback(store.aclose)
        operators = await exits.enter_async_context(open_operators(stack.console, stack.admin_token))
        _, vendor = await operators.create_vendor()
        resident, used = costs.resident_bytes(), (await store.info("memory"))["used_memory"]
        print("resident at rest:", {name: f"{value / 1e6:.0f} MB" for name, value in resident.items()})

        fleet = await exits.enter_async_context(connected(stack, vendor, terminals, costs))
        await asyncio.sleep(SETTLE_SECONDS)
        more = costs.resident_bytes()["tcp-ingress"] - resident["tcp-ingress"]
        print(f"a connected terminal: {more / terminals / 1000:.1f} kB of tcp-ingress, ", end="")
        print(f"{((await store.info('memory'))['used_memory'] - used) / terminals / 1000:.2f} kB of Redis")

        before = costs.cpu_seconds()
        await asyncio.sleep(20)
        idle = {name: (value - before[name]) / 20 for name, value in costs.cpu_seconds().items()}
        print(f"{terminals} terminals that are silent:", {name: f"{value:.3f} cores" for name, value in idle.items()})

        async def heartbeat(sn: str, terminal: Terminal, token: str) -> None:
            assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success

        await timed(costs, "heartbeat", terminals * 5, fleet, heartbeat)
        for size in (0, PICTURE_BYTES):
            await timed_sign_ins(costs, stack, fleet, size, terminals if size else terminals * 2)
    await document_sizes(stack)


async def timed(
    costs: Costs,
    name: str,
    count: int,
    fleet: Fleet,
    ask: Callable[[str, Terminal, str], Awaitable[None]],
    settled: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """Each terminal in its turn."""
    terminals = fleet.terminals
    await in_turns(costs, name, count, lambda number: ask(*terminals[number % len(terminals)]), settled)


async def in_turns(
    costs: Costs,
    name: str,
    count: int,
    step: Callable[[int], Awaitable[None]],
    settled: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """So many steps, AT_ONCE at a time; prints the CPU of one by service, once all has settled."""
    before = costs.cpu_seconds()
    waiting = iter(range(count))

    async def work() -> None:
        for number in waiting:
            await step(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    if settled is not None:
        await eventually(settled, 300)
    used = {key: (value - before[key]) / count * 1e6 for key, value in costs.cpu_seconds().items()}
    print(f"{name} ({count}):", {key: f"{value:.0f} µs" for key, value in used.items()}, flush=True)


async def timed_sign_ins(costs: Costs, stack: RunningStack, fleet: Fleet, size: int, count: int) -> None:
    """Sign-ins, with a picture of `size` bytes unless 0, until the writer has stored them; and their bytes in Kafka."""
    topics = "attendance.sign-in.v1", "attendance.sensitive.v1"
    disk = [costs.topic_bytes(topic) for topic in topics]
    stored = await stored_total(stack)
    picture = b"\xff\xd8\xff" + random.Random(1).randbytes(size - 3) if size else None
    moment = now_ms()
    moments = iter(range(moment - count, moment))

    async def sign_in(sn: str, terminal: Terminal, token: str) -> None:
        secret = fleet.vendor.access_secret
        message = make_sign_in(secret, sn, token, record_time=next(moments), picture=picture)
        answer = await terminal.ask(message)
        assert answer.success, answer

    async def settled() -> bool:
        return await stored_total(stack) >= stored + count

    await timed(costs, f"sign-in, picture of {size} bytes", count, fleet, sign_in, settled)
    grown = [(costs.topic_bytes(topic) - was) / count for topic, was in zip(topics, disk, strict=True)]
    print(f"  in Kafka: {grown[0]:.0f} bytes of the event, {grown[1]:.0f} bytes of the sensitive part")


async def stored_total(stack: RunningStack) -> float:
    """What the writers have stored since they were started."""
    total = 0.0
    async with aiohttp.ClientSession() as http:
        for admin in stack.admin("attendance-writer"):
            async with http.get(f"{admin}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    if line.startswith("attendance_writer_stored_total"):
                        total += float(line.split()[-1])
    return total


async def document_sizes(stack: RunningStack) -> None:
    """Prints what a document takes, uncompressed and without its indexes."""
    described = stack.description
    settings = MongoSettings.model_validate({"url": described["mongo"], "database": described["mongoDatabase"]})
    async with open_mongo(settings, "scaling") as database:
        for name in ("attendance", "pictures", "devices"):
            documents = await database[name].find({}).limit(200).to_list(200)
            sizes = [len(bson.encode(document)) for document in documents]
            print(f"a document of {name}: {sum(sizes) / len(sizes):.0f} bytes")


@asynccontextmanager
async def connected(stack: RunningStack, vendor: Vendor, terminals: int, costs: Costs) -> AsyncIterator[Fleet]:
    """Connects them, has them authenticate, and prints the CPU of one connection with its C_AUTH."""
    host, port = stack.tcp
    lines: dict[str, Terminal] = {}
    tokens: dict[str, str] = {}

    async def connect(number: int) -> None:
        address = f"127.0.1.{1 + number % CLIENT_ADDRESSES}"
        reader, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
        lines[f"scale-{number}"] = Terminal(reader, writer)

    async def authenticate(sn: str) -> None:
        answer = await lines[sn].ask(make_auth(vendor, sn))
        assert answer.success, answer
        assert answer.response is not None
        tokens[sn] = str(answer.response["token"])

    await in_turns(costs, "connect", terminals, connect)
    await in_turns(costs, "C_AUTH", terminals, lambda number: authenticate(f"scale-{number}"))
    try:
        yield Fleet(vendor, [(sn, line, tokens[sn]) for sn, line in lines.items()])
    finally:
        for line in lines.values():
            line.reset()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--terminals", type=int, default=2000)
    chosen = options.parse_args()
    guard = Guard()
    with tempfile.TemporaryDirectory() as name:
        stack = RunningStack(Path(name) / "run", guard)
        try:
            stack.start()
            uvloop.run(measure(stack, chosen.terminals))
        finally:
            stack.process.stop(60)
            guard.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
