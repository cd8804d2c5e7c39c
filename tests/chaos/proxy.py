"""A link between two parts: a TCP proxy that can be cut, silenced or made slow while connections run through it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
CONNECT_SECONDS = 5.0
SLOW_DELAY_SECONDS = 0.15
SLOW_BYTES_PER_SECOND = 200_000
SLOW_LOST_SHARE = 0.03
SLOW_LOST_SECONDS = 0.6
"""TCP hides a lost packet behind a pause: that of its retransmission."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LOST = (OSError, RuntimeError)
"""What writing to a connection raises that is gone; the second is uvloop's word for it."""


class Mode(StrEnum):
    """What a link does with what it is given."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, new ones too."""
    SILENT = "silent"
    """Everything is accepted and nothing arrives, until the link is open again."""
    SLOW = "slow and lossy"


@dataclass(frozen=True)
class Target:
    """Where a link leads; one that is not ready is passed over, as a load balancer does."""

    port: int
    is_ready: Callable[[], bool] = lambda: True


class Link:
    """Listens on one port and leads to its targets in turn. `open` once, `close` at the end; `mode` at any time."""

    def __init__(self, name: str, port: int, targets: Sequence[Target], random: Random) -> None:
        self.name = name
        self.port = port
        self.connections = 0
        """So many were taken on."""
        self._targets = targets
        self._random = random
        self._turn = 0
        self._mode = Mode.OPEN
        self._audible = asyncio.Event()
        self._audible.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begins to listen."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=1024)

    async def close(self) -> None:
        """Ends every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in tuple(self._at_work):
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.SILENT:
            self._audible.clear()
        else:
            self._audible.set()
        if mode is Mode.CUT:
            self.reset()

    def reset(self) -> None:
        """Resets the connections that run through it now."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._lead_on(reader, writer)
        except (*LOST, asyncio.CancelledError):
            # Cancelled only by `close`; asyncio's streams would print it.
            _reset(writer)
        finally:
            self._writers.discard(writer)

    async def _lead_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.CUT:
            raise ConnectionResetError
        await self._audible.wait()
        onward_reader, onward = await self._connect()
        self._writers.add(onward)
        try:
            await asyncio.gather(self._carry(reader, onward), self._carry(onward_reader, writer))
            writer.close()
            onward.close()
        except LOST:
            _reset(onward)
            raise
        finally:
            self._writers.discard(onward)
            onward.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._turn += 1
        count = len(self._targets)
        in_turn = [self._targets[(self._turn + step) % count] for step in range(count)]
        for target in [target for target in in_turn if target.is_ready()]:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(HOST, target.port)
        raise ConnectionRefusedError(f"nobody answers behind {self.name}")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self._mode is Mode.SLOW:
                await asyncio.sleep(self._slowness(len(data)))
            await self._audible.wait()
            writer.write(data)
            await writer.drain()
        await self._audible.wait()
        if not writer.is_closing() and writer.can_write_eof():
            writer.write_eof()

    def _slowness(self, size: int) -> float:
        lost = SLOW_LOST_SECONDS if self._random.random() < SLOW_LOST_SHARE else 0.0
        return SLOW_DELAY_SECONDS + size / SLOW_BYTES_PER_SECOND + lost


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError, ValueError):  # closed already, which uvloop calls a ValueError
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
