"""The platform that is measured: ingress on cores of its own, everything else on the last; and the echo beside it."""

import asyncio
import json
import multiprocessing
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

from stack.guard import Guard
from tests.bench.process_usage import Usage, pin
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, now_ms

CORES = sorted(os.sched_getaffinity(0))
OTHERS = {CORES[-1]}
"""Where all but ingress and the echo work: on two cores nothing else is left."""


class BenchmarkStack:
    """A running platform with its ingress processes bound to the first cores, one each."""

    def __init__(self, stack: RunningStack, ingress_processes: int) -> None:
        self.stack = stack
        self.vendor = _create_vendor(stack)
        self.pids: dict[str, list[int]] = stack.description["pids"]
        self.ingress = stack.pids("tcp-ingress")
        for pids in self.pids.values():
            for pid in pids:
                pin(pid, OTHERS)
        for number, pid in enumerate(self.ingress):
            pin(pid, {CORES[number % max(len(CORES) - 1, 1)]} if ingress_processes == 1 else {CORES[number]})

    @property
    def to(self) -> list[str]:
        """Where terminals connect."""
        host, port = self.stack.tcp
        return [f"{host}:{port}"]

    def usage(self) -> Usage:
        """Begins to count CPU."""
        return Usage(self.pids)


@contextmanager
def benchmark_stack(ingress_processes: int = 1, **environment: str) -> Iterator[BenchmarkStack]:
    """A platform for the length of a block."""
    guard = Guard()
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["up", "--ingress", str(ingress_processes)]
        stack = RunningStack(Path(directory) / "run", guard, arguments, **environment)
        try:
            stack.start()
            yield BenchmarkStack(stack, ingress_processes)
        finally:
            stack.process.stop(60)
            guard.close()


def _create_vendor(stack: RunningStack) -> Vendor:
    request = urllib.request.Request(  # noqa: S310 -- the address is our own stack's
        stack.console + "/api/v1/vendors",
        data=json.dumps({"name": f"bench {now_ms()}"}).encode(),
        headers={"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        made: dict[str, Any] = json.load(answer)
    return Vendor(made["accessId"], made["accessKey"], made["accessSecret"])


# ── the ceiling: a server on the same loop that looks at nothing ──────────────────────────────────────────────────

ANSWER = bytes.fromhex("10011a0b435f484541525442454154")
"""success and an apicode: what a terminal reads as an answer, 15 bytes."""


class _Echo(asyncio.Protocol):
    """Cuts frames, as one must to know when to answer, and answers each with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._missing = 0
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        answers = 0
        if self._missing:
            taken = min(self._missing, len(data))
            self._missing -= taken
            data = data[taken:]
            answers += not self._missing
        data = self._rest + data
        position = 0
        while position < len(data):
            size, shift, at = 0, 0, position
            while at < len(data):
                byte = data[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if byte < 0x80:
                    break
            else:
                break
            position = at + size
            if position > len(data):
                self._missing = position - len(data)
                position = len(data)
            else:
                answers += 1
        self._rest = data[position:]
        if answers:
            self._transport.write((bytes([len(ANSWER)]) + ANSWER) * answers)


def _serve_echo(ports: "multiprocessing.Queue[int]") -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0, backlog=4096)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


class EchoServer:
    """The echo in a process of its own, on the core that ingress has."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        ports: multiprocessing.Queue[int] = context.Queue()
        self._process = context.Process(target=_serve_echo, args=(ports,), daemon=True)
        self._process.start()
        self.to = [f"127.0.0.1:{ports.get(timeout=30)}"]
        assert self._process.pid is not None
        pin(self._process.pid, {CORES[0]})

    def usage(self) -> Usage:
        """Begins to count its CPU."""
        assert self._process.pid is not None
        return Usage({"echo": [self._process.pid]})

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.join()
