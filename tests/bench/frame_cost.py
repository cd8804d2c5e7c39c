"""CPU that one ingress process takes for a heartbeat and for a sign-in, beside an echo of the same bytes.

    make up ARGS="--ingress 1"          # in one terminal
    .venv/bin/python -m tests.bench.frame_cost

Frames are signed beforehand, so that the load costs little; CPU is read from /proc, so this runs on Linux only.
Absolute figures are this machine's; the ratio to the echo of the same run is what can be compared.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvloop

from terminal_simulator.wire import FrameReader, encode_frame
from tests.support.builders import Vendor, make_heartbeat, make_sign_in, now_ms
from tests.support.terminal import connect

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def create_vendor(stack: dict[str, Any]) -> Vendor:
    """A vendor of its own, through the operators' API."""
    request = urllib.request.Request(  # noqa: S310 -- the address is our own stack's
        stack["console"] + "/api/v1/vendors",
        data=json.dumps({"name": f"bench {now_ms()}"}).encode(),
        headers={"Authorization": f"Bearer {stack['adminToken']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        made = json.load(answer)
    return Vendor(made["accessId"], made["accessKey"], made["accessSecret"])


class Sender(asyncio.Protocol):
    """One connection that keeps a number of requests unanswered until its frames are used up."""

    def __init__(self, frames: list[bytes], outstanding: int) -> None:
        self._frames = frames
        self._outstanding = outstanding
        self._reader = FrameReader()
        self._sent = 0
        self.answers = 0
        self.refused = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def start(self) -> None:
        """Sends the first requests."""
        self._send(self._outstanding)

    def _send(self, count: int) -> None:
        batch = self._frames[self._sent : self._sent + count]
        self._sent += len(batch)
        if batch:
            self.transport.write(b"".join(batch))

    def data_received(self, data: bytes) -> None:
        answers = self._reader.feed(data)
        self.answers += len(answers)
        # field 2, success, is on the wire only where it is true; an echoed request has no such field and counts too
        self.refused += sum(b"errorcode" in answer for answer in answers)
        if self.answers >= len(self._frames):
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._send(len(answers))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("closed in the middle of the run"))


async def measure(host: str, port: int, pid: int, frames: list[list[bytes]], outstanding: int) -> dict[str, float]:
    """Sends each list over a connection of its own; CPU of the process `pid` an operation, operations a second."""
    loop = asyncio.get_running_loop()
    senders: list[Sender] = []
    for one in frames:
        _, sender = await loop.create_connection(partial(Sender, one, outstanding), host, port)
        senders.append(sender)
    before, started = cpu_seconds(pid), time.monotonic()
    for sender in senders:
        sender.start()
    await asyncio.gather(*(sender.done for sender in senders))
    wall, cpu = time.monotonic() - started, cpu_seconds(pid) - before
    count = sum(sender.answers for sender in senders)
    refused = sum(sender.refused for sender in senders)
    for sender in senders:
        sender.transport.close()
    if refused:
        raise SystemExit(f"{refused} of {count} requests were refused: these figures would mean nothing")
    return {"operations": count, "perSecond": count / wall, "cpuMicroseconds": cpu / count * 1e6}


class Echo(asyncio.Protocol):
    """Answers every read with the same bytes: the ceiling of any server on this loop."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def serve_echo(port_queue: "multiprocessing.Queue[int]") -> None:
    """The echo server's process."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        port_queue.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def run(arguments: argparse.Namespace, stack: dict[str, Any]) -> None:
    """Measures and prints."""
    host, _, port = stack["tcp"].rpartition(":")
    pids = stack["pids"]["tcp-ingress"]
    if len(pids) != 1:
        raise SystemExit('start the stack with one ingress process: make up ARGS="--ingress 1"')
    vendor = create_vendor(stack)
    prefix = f"BENCH{now_ms()}"
    tokens: list[tuple[str, str]] = []
    for number in range(arguments.connections):
        sn = f"{prefix}-{number}"
        async with connect(host, int(port)) as terminal:
            tokens.append((sn, await terminal.authenticate(vendor, sn)))
    ports: multiprocessing.Queue[int] = multiprocessing.get_context("spawn").Queue()
    echo = multiprocessing.get_context("spawn").Process(target=serve_echo, args=(ports,), daemon=True)
    echo.start()
    echo_port = await asyncio.to_thread(ports.get, True, 30)
    assert echo.pid is not None
    picture = os.urandom(arguments.picture_bytes)
    start_ms = now_ms() - 500_000_000

    def heartbeats() -> list[list[bytes]]:
        return [
            [encode_frame(make_heartbeat(vendor.access_secret, sn, token))] * arguments.requests for sn, token in tokens
        ]

    def sign_ins(run_number: int, picture: bytes | None, count: int) -> list[list[bytes]]:
        base = start_ms + run_number * 1_000_000
        return [
            [
                encode_frame(make_sign_in(vendor.access_secret, sn, token, record_time=base + index, picture=picture))
                for index in range(count)
            ]
            for sn, token in tokens
        ]

    print(
        f"{arguments.connections} connections, medians of {arguments.runs} runs; CPU of the server in µs an operation"
    )
    for name, outstanding in (("heartbeat", 1), ("heartbeat", 16), ("sign-in", 16), ("sign-in with picture", 16)):
        ingress: list[dict[str, float]] = []
        ceiling: list[dict[str, float]] = []
        for number in range(arguments.runs):
            if name == "heartbeat":
                frames = heartbeats()
            elif name == "sign-in":
                frames = sign_ins(number, None, arguments.requests // 2)
            else:
                frames = sign_ins(number + 100, picture, max(arguments.requests // 20, 1))
            ceiling.append(await measure("127.0.0.1", echo_port, echo.pid, frames, outstanding))
            ingress.append(await measure(host, int(port), pids[0], frames, outstanding))
        cpu = statistics.median(one["cpuMicroseconds"] for one in ingress)
        echo_cpu = statistics.median(one["cpuMicroseconds"] for one in ceiling)
        rate = statistics.median(one["perSecond"] for one in ingress)
        print(
            f"{name:22} {outstanding:3} outstanding: {cpu:7.1f} µs   echo {echo_cpu:6.1f} µs"
            f"   ratio {cpu / echo_cpu:5.1f}   {rate:8.0f}/s"
        )
    echo.terminate()


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", default=".run/stack.json", help="file that says how the stack is reached")
    parser.add_argument("--connections", type=int, default=50, help="connections (default 50)")
    parser.add_argument("--requests", type=int, default=1000, help="heartbeats a connection and run (default 1000)")
    parser.add_argument("--picture-bytes", type=int, default=30_000, help="size of the picture (default 30000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median is printed (default 5)")
    arguments = parser.parse_args()
    uvloop.run(run(arguments, json.loads(Path(arguments.stack).read_text())))


if __name__ == "__main__":
    main()
