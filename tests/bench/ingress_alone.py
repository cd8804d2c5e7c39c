"""An ingress's connection with everything behind it but socket, Kafka, Redis and session: what is left is its own work,
from the bytes of a frame to the records, and to the bytes of the answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from shared.domain.events import Record
from shared.domain.sealing import Sealer
from shared.protocol.connection import DeviceConnection
from shared.runtime.clock import ManualClock
from shared.stores.ended_view import EndedView
from shared.stores.memory import MemoryControlStream, MemorySessionStore
from tcp_ingress.connection import Connection, Patience
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.group_commit import CommitBounds, GroupCommit
from tcp_ingress.handlers import Handlers
from tcp_ingress.held_bytes import HeldBytes
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.presence_batches import PresenceBatches, PresenceRules
from tests.support.session_values import NOW_MS, make_session

SECRET, TOKEN, SN = "the-secret-of-the-vendor", "0123456789abcdef" * 2, "sn-1"
FRAME_BYTES = 4 * 1024 * 1024


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def pause_reading(self) -> None:
        """Nobody reads."""

    def resume_reading(self) -> None:
        """Nobody reads."""


class _AcknowledgingSender:
    """Kafka's part: takes every batch at once."""

    max_batch_bytes = 6_000_000

    def partition_for(self, _topic: str, _key: bytes) -> int:
        return 0

    async def send(self, _topic: str, _partition: int, _records: Sequence[Record]) -> None:
        """Acknowledged."""


class _Idle:
    """Stands for C_AUTH, the stores of presence, the registry of connections, and task lists: nothing waits."""

    def held(self, _sn: str) -> str:
        """What a heartbeat lists."""
        return "{}"

    def admit(self, _connection: Connection) -> bool:
        return True

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: None


def open_connection() -> tuple[Connection, Transport]:
    """A connection over which the device SN may send with TOKEN, at NOW_MS; needs a running loop."""
    clock, sealer = ManualClock(NOW_MS), Sealer({"k1": bytes(32)})
    view, idle, sender, metrics = EndedView(3_600_000), _Idle(), _AcknowledgingSender(), IngressMetrics()
    sessions = MemorySessionStore(clock, MemoryControlStream())
    cache = DeviceCache(sessions, sealer, view, size=10, group_seconds=0, window_seconds=600)
    view.up_to_date(NOW_MS)
    cache.opened(make_session(TOKEN, SN, sealed_secret=sealer.seal(SECRET, "a1")), NOW_MS, cache.generation)
    bounds = CommitBounds(
        gather_seconds=0,
        batch_records=500,
        batch_bytes=1_000_000,
        max_in_flight_sign_ins=10_000,
        max_in_flight_bytes=60_000_000,
    )
    rules = PresenceRules(
        interval_seconds=1, silent_ms=70_000, skew_ms=5_000, skew_alert_ms=300_000, refresh_ms=60_000, max_held=1_000
    )
    handlers = Handlers(
        cache,
        idle,  # type: ignore[arg-type]  # see _Idle
        GroupCommit(sender, sender, bounds),
        PresenceBatches(idle, idle, clock, rules),  # type: ignore[arg-type]  # as above
        idle,  # type: ignore[arg-type]  # as above
        clock,
        metrics,
        5,
    )
    patience = Patience(
        half_frame_seconds=30,
        half_frame_bytes_per_second=8192,
        unauthenticated_seconds=60,
        idle_seconds=300,
        write_seconds=30,
        max_age_seconds=3600,
    )
    frames = DeviceConnection(FRAME_BYTES, 64)
    connection = Connection(frames, handlers, idle, HeldBytes(2**30), patience, metrics, address="192.0.2.1")
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport
