"""One connection of a terminal or a gateway: the only file that touches a transport.

Order and count of requests are DeviceConnection's; here are time, flow control, and bytes in flight.

1. Reading stops while too many requests are unanswered (F6), while the peer does not read its answers, and while the
   process holds too many bytes and this connection is one of the large ones.
2. A connection ends by itself when everything that it received has been answered and nothing more will be received:
   after a fault, at the peer's half-close, when it is told to leave.
3. It then says that it sends no more, and drops what still arrives until the peer has closed, for a bounded time: bytes
   that nobody read make the kernel reset the connection, and the last answers would be lost with it.
4. The times of all connections are watched by one sweep of the process, not by timers of their own.
5. A connection that is told to leave (drain, age) is read for a moment more, and where a frame is half here then, for
   a short time until it is whole: what a terminal had begun to send is answered rather than lost.
"""

import asyncio
import random
from functools import partial
from typing import Protocol, cast

import msgspec

from shared.protocol.connection import DeviceConnection, Received
from shared.protocol.errors import ProtocolError
from tcp_ingress.handlers import Answer, Handlers
from tcp_ingress.held_bytes import FREE_SHARE_BYTES, HeldBytes
from tcp_ingress.metrics import IngressMetrics

WRITE_BUFFER_BYTES = 64 * 1024
"""Answers that may wait for a peer to read them before we stop reading from it."""
LINGER_SECONDS = 2.0
LAST_READ_SECONDS = 0.05
"""How long a connection that leaves is still read, so that what has arrived already is answered (rule 5)."""
LEAVE_SECONDS = 2.0
"""How long it waits for the rest of a frame."""
AGE_JITTER = 0.25


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a peer is waited for, in seconds."""

    half_frame_seconds: float
    half_frame_bytes_per_second: float
    unauthenticated_seconds: float
    idle_seconds: float
    write_seconds: float
    max_age_seconds: float
    """After so long, give or take a quarter at random, it leaves: fleets spread again after a roll-out."""


class Registry(Protocol):
    """Who knows all connections of the process."""

    def admit(self, connection: "Connection") -> bool:
        """False where a bound refuses it."""
        ...

    def left(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """A connected peer."""

    def __init__(
        self,
        frames: DeviceConnection,
        handlers: Handlers,
        registry: Registry,
        held: HeldBytes,
        patience: Patience,
        metrics: IngressMetrics,
        address: str = "",
    ) -> None:
        self.address = address
        """Of the terminal; the transport's peer where none is given."""
        self._frames = frames
        self._handlers = handlers
        self._registry = registry
        self._held = held
        self._patience = patience
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._can_half_close = False
        self._reading = True
        self._lost = False
        self._peer_ended = False
        self._finish_by = 0.0  # set when everything is answered (rule 3)
        self._working_bytes = 0
        self._counted_bytes = 0
        self._waits_for_room = False
        self._goes_on = False
        self._leaving: list[bytes] = []  # answers of this turn of the loop: they leave in one write
        self._opened_at = self._loop.time()
        jitter = 1 + random.uniform(-AGE_JITTER, AGE_JITTER)  # noqa: S311 (spreads load, guards nothing)
        self._too_old_at = self._opened_at + patience.max_age_seconds * jitter
        self._told_at = 0.0  # when it was told to leave; 0 where it was not
        self._alive_at = 0.0  # the last success; 0 before the first
        self._half_since = 0.0  # since when a frame is half here; 0 where none is
        self._unread_since = 0.0  # since when the peer does not read; 0 where it does

    @property
    def lost(self) -> bool:
        """It is closed."""
        return self._lost

    # ── from the transport ───────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self.address:
            peer = transport.get_extra_info("peername")
            self.address = str(peer[0]) if peer else ""
        if not self._registry.admit(self):
            self._lost = True
            self._transport.abort()
            return
        self._can_half_close = self._transport.can_write_eof()
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if not self._finish_by:
            self._receive(data)

    def eof_received(self) -> bool:
        """Keeps the way back open until all is answered (F4); TLS has no such half-close."""
        self._peer_ended = True
        if self._finish_by:
            return False
        self._read_no_more()
        return self._can_half_close and not self._finish_by

    def pause_writing(self) -> None:
        self._unread_since = self._loop.time()
        self._set_reading()

    def resume_writing(self) -> None:
        self._unread_since = 0.0
        self._set_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._registry.left(self)
        self._handlers.left(self, was_told_to=self.told_to_leave)
        self._count_held(0)

    # ── requests and answers ─────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, data: bytes) -> None:
        received = self._frames.receive(data)
        for one in received:
            answer = self._answer_to(one)
            if answer is not None:
                if answer.alive:
                    self._alive_at = self._loop.time()
                self._leaving.append(self._frames.answer(one.number, answer.message))
        self._write_out()
        if self._frames.unanswered < self._frames.max_unanswered and self._frames.should_pause:
            # More was read than is received at once (F6), and there is room again already. The others come first:
            # one who sends thousands of heartbeats in a write takes one turn of the loop for each such portion.
            self._go_on_soon()
        self._went_on(bool(received))

    def _go_on_soon(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if not self._lost:
            self._receive(b"")

    def _answer_to(self, one: Received) -> Answer | None:
        """The answer where it is at hand; else _answered takes it later."""
        if one.request is None:
            self._metrics.closed["fault"] += 1
            return self._handlers.fault(cast(ProtocolError, one.fault))
        size = len(one.request.param)
        try:
            answer = self._handlers.handle(one.request, self, partial(self._answered, one.number, size))
        except Exception:  # a defect of ours: without this answer no later one could ever leave
            self._transport.abort()
            raise
        if answer is None:
            self._working_bytes += size
        return answer

    def _answered(self, number: int, size: int, answer: Answer | None) -> None:
        self._working_bytes -= size
        if self._lost:
            return
        if answer is None:
            self._transport.abort()  # as above
            return
        if answer.alive:
            self._alive_at = self._loop.time()
        self._leaving.append(self._frames.answer(number, answer.message))
        self._go_on_soon()

    def _write_out(self) -> None:
        if self._leaving:
            self._transport.write(b"".join(self._leaving))
            self._leaving.clear()

    # ── flow, time and end ───────────────────────────────────────────────────────────────────────────────────────

    def _went_on(self, got_frames: bool) -> None:
        """After anything was received or answered."""
        if self._told_at and not self._frames.awaited:
            self._frames.end()
        if not self._frames.awaited:
            self._half_since = 0.0
        elif got_frames or not self._half_since:
            self._half_since = self._loop.time()
        self._count_held(self._frames.buffered + self._working_bytes)
        if self._frames.finished:
            self._finish()
        else:
            self._set_reading()

    def _count_held(self, held: int) -> None:
        if held != self._counted_bytes:
            difference = held - self._counted_bytes
            self._counted_bytes = held
            self._held.change(difference)

    def _set_reading(self) -> None:
        if self._lost or self._peer_ended or self._transport.is_closing():
            return
        should_read = bool(self._finish_by) or not (
            self._frames.should_close or self._frames.should_pause or self._unread_since or self._must_wait_for_room()
        )
        if should_read and not self._reading:
            self._reading = True
            if self._half_since:
                self._half_since = self._loop.time()  # the time in which we did not read is not the peer's
            self._transport.resume_reading()
        elif not should_read and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _must_wait_for_room(self) -> bool:
        if not self._held.full or self._counted_bytes <= FREE_SHARE_BYTES:
            return False
        if not self._waits_for_room:
            self._waits_for_room = True
            self._held.call_when_free(self._there_is_room)
        return True

    def _there_is_room(self) -> None:
        self._waits_for_room = False
        self._set_reading()

    @property
    def told_to_leave(self) -> bool:
        """It closes, or has closed, for a reason that is not its own."""
        return bool(self._told_at)

    @property
    def unanswered(self) -> int:
        """Requests that were read and are not answered yet."""
        return self._frames.unanswered

    def leave(self, reason: str) -> None:
        """Reads no more but what is on its way (rule 5), answers what was read, and closes."""
        if self._lost or self._finish_by or self._told_at:
            return
        self._metrics.closed[reason] += 1
        self._told_at = self._loop.time()
        self._loop.call_later(LAST_READ_SECONDS, self._go_on)

    def push(self, message: bytes) -> bool:
        """Sends a command between answers (C1); False where the peer cannot take it now."""
        if self._lost or self._finish_by or self._told_at or self._unread_since:
            return False
        self._leaving.append(self._frames.push(message))
        self._write_out()
        return True

    def abort(self) -> None:
        """Closes at once; what was not answered stays unanswered."""
        self._transport.abort()

    def _read_no_more(self) -> None:
        self._frames.end()
        self._receive(b"")

    def _finish(self) -> None:
        """Everything is answered (rules 2, 3)."""
        if self._lost or self._finish_by:
            return
        self._finish_by = self._loop.time() + LINGER_SECONDS
        if self._can_half_close and not self._peer_ended:
            self._transport.write_eof()
            self._set_reading()
        else:
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Ends the connection where its peer was waited for long enough (rule 4)."""
        patience = self._patience
        if self._unread_since and now - self._unread_since > patience.write_seconds:
            self._close("unread")
        elif self._finish_by:
            if now > self._finish_by:
                self._transport.close()
            if now > self._finish_by + patience.write_seconds:
                self._transport.abort()
        elif self._told_at:
            if now - self._told_at > LEAVE_SECONDS:
                self._read_no_more()
        elif now > self._too_old_at:
            self.leave("age")
        elif self._half_since and now - self._half_since > self._half_frame_limit():
            # Not read because of its own requests: no fault of its. Not read for want of room: it may be what takes it.
            if self._reading or self._waits_for_room:
                self._close("half_frame")
        elif self._frames.unanswered or (self._half_since and self._alive_at):
            return
        elif not self._alive_at:
            if now - self._opened_at > patience.unauthenticated_seconds:
                self._close("unauthenticated")
        elif now - self._alive_at > patience.idle_seconds:
            self._close("idle")

    def _half_frame_limit(self) -> float:
        patience = self._patience
        if self._held.full:
            return patience.half_frame_seconds  # others wait for the room that this frame takes
        return patience.half_frame_seconds + self._frames.awaited / patience.half_frame_bytes_per_second

    def _close(self, reason: str) -> None:
        self._metrics.closed[reason] += 1
        if reason == "unread":
            self._transport.abort()
        elif self._frames.unanswered:
            self._read_no_more()
        else:
            self._count_held(0)  # what others wait for is free with this turn of the loop
            self._transport.close()
