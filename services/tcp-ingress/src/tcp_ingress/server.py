"""All connections of a process: their registry and its bounds, the sweep, and the drain (design rules 7, 13)."""

import asyncio
import logging
from collections import Counter

from shared.protocol.connection import DeviceConnection
from tcp_ingress.connection import LEAVE_SECONDS, Connection, Patience
from tcp_ingress.handlers import Handlers
from tcp_ingress.held_bytes import HeldBytes
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.settings import IngressSettings

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
SWEPT_AT_ONCE = 500


class Server:
    """All connections of a process."""

    def __init__(self, settings: IngressSettings, handlers: Handlers, metrics: IngressMetrics) -> None:
        self.held = HeldBytes(settings.max_held_bytes)
        self._settings = settings
        self._handlers = handlers
        self.metrics = metrics
        self._patience = Patience(
            half_frame_seconds=settings.half_frame_seconds,
            half_frame_bytes_per_second=settings.half_frame_bytes_per_second,
            unauthenticated_seconds=settings.unauthenticated_seconds,
            idle_seconds=settings.idle_seconds,
            write_seconds=settings.write_seconds,
            max_age_seconds=settings.max_age_hours * 3600,
        )
        self._connections: dict[Connection, None] = {}  # a set in order of age
        self._per_address: Counter[str] = Counter()
        self._leaving = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    def new_connection(self, address: str = "") -> Connection:
        """What a listener calls for each connection, with the terminal's address where a proxy told it."""
        frames = DeviceConnection(self._settings.max_frame_bytes, self._settings.max_unanswered)
        return Connection(frames, self._handlers, self, self.held, self._patience, self.metrics, address)

    def admit(self, connection: Connection) -> bool:
        """Keeps a new connection; False where there are too many already (design rule 7), or the process leaves."""
        if self._leaving:
            return False
        if len(self._connections) >= self._settings.max_connections:
            self.metrics.refused["total"] += 1
            return False
        if self._per_address[connection.address] >= self._settings.max_connections_per_address:
            self.metrics.refused["address"] += 1
            return False
        self._connections[connection] = None
        self._per_address[connection.address] += 1
        self._empty.clear()
        return True

    def left(self, connection: Connection) -> None:
        """Forgets a connection that is closed."""
        self._connections.pop(connection, None)
        self._per_address[connection.address] -= 1
        if not self._per_address[connection.address]:
            del self._per_address[connection.address]
        if not self._connections:
            self._empty.set()

    async def sweep_forever(self) -> None:
        """Watches the times of all connections, some at a time, so that no request waits for it."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            connections = list(self._connections)
            for start in range(0, len(connections), SWEPT_AT_ONCE):
                now = loop.time()
                for connection in connections[start : start + SWEPT_AT_ONCE]:
                    connection.sweep(now)
                await asyncio.sleep(0)

    async def drain(self, deadline: float) -> None:
        """Connection by connection, oldest first, at the rate that is set, or as fast as the deadline demands: each
        answers what it read and closes. What is not answered at the deadline (of the loop's clock) is cut."""
        self._leaving = True  # one may still come out of the listener's queue
        loop = asyncio.get_running_loop()
        began = loop.time()
        connections = list(self._connections)
        room = max(0.0, deadline - began - self._settings.request_deadline_seconds - LEAVE_SECONDS)
        seconds = min(len(connections) / self._settings.drain_connections_per_second, room)
        for number, connection in enumerate(connections):
            await asyncio.sleep(began + seconds * number / len(connections) - loop.time())
            connection.leave("drain")
        try:
            async with asyncio.timeout_at(deadline):
                await self._empty.wait()
        except TimeoutError:
            pass
        cut = sum(connection.unanswered for connection in self._connections)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # connection_lost is called in the next turn of the loop
        log.log(
            logging.WARNING if cut else logging.INFO,
            "%d connections left in %.1f s, %d answers were cut",
            len(connections),
            loop.time() - began,
            cut,
        )
