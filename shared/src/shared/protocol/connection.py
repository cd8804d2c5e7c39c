"""One device connection without its transport: the order of answers (F5) and the count of what is unanswered (F6).

1. Every request is numbered, from 0 on, in the order in which it came, and is to be answered exactly once.
2. Answers may be given in any order. An answer leaves when every request before it has been answered.
3. `answer` and `push` return whole frames; written in the order of the calls, a pushed command stands between answers,
   never inside one (C1).
4. At most `max_unanswered` requests are out whose answers have not left. What was read beyond them waits inside,
   undecoded, and comes out once answers made room: call `receive(b"")` after answering. While `should_pause`, read
   nothing on: then what waits is bounded by what one read brought (F6).
5. A fault (F3, F4) is numbered as a request is, and its answer leaves in its turn. It is the last thing received; what
   came after it is dropped.
6. `end` says that no bytes will come any more, or that none are wanted; what is here already is still received.
7. `should_close` once nothing more will be received; `finished` once every answer has left, too.
"""

from collections import deque

import msgspec

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.frames import FrameDecoder, encode_frame
from shared.protocol.messages import AuthRequest, DeviceRequest, decode_request


class Received(msgspec.Struct, frozen=True):
    """What a frame brought: a request, or else the fault that is to be answered."""

    number: int
    request: AuthRequest | DeviceRequest | None
    fault: ProtocolError | None = None


class DeviceConnection:
    """Numbers what is received, takes answers in any order, gives the bytes that may leave now."""

    def __init__(self, max_frame_bytes: int, max_unanswered: int) -> None:
        self.max_unanswered = max_unanswered
        self._decoder = FrameDecoder(max_frame_bytes)
        self._waiting: deque[bytes] | None = None
        """Frames beyond the bound (rule 4); made when first needed, since an empty one takes 760 bytes."""
        self._held: dict[int, bytes] = {}
        """Answers that an earlier one keeps from leaving (rule 2)."""
        self._held_bytes = 0
        """The bytes of both."""
        self._next_number = 0
        self._next_to_leave = 0
        self._faulted = False
        self._ended = False

    @property
    def unanswered(self) -> int:
        """Requests whose answer has not left; one that waits for an earlier one counts, so that both are bounded."""
        return self._next_number - self._next_to_leave

    @property
    def should_pause(self) -> bool:
        """No more is to be read (rule 4)."""
        return self.unanswered >= self.max_unanswered or bool(self._waiting)

    @property
    def should_close(self) -> bool:
        """Nothing more will be received (rule 7)."""
        return self._faulted or (self._ended and not self._waiting)

    @property
    def finished(self) -> bool:
        """The connection has nothing left to do (rule 7)."""
        return self.should_close and self.unanswered == 0

    @property
    def awaited(self) -> int:
        """The announced size of a frame that is half here, 0 where none is: the time it is given depends on it (F4)."""
        return self._decoder.awaited

    @property
    def buffered(self) -> int:
        """The bytes held in here: half a frame, frames that wait, answers that wait."""
        return self._decoder.buffered + self._held_bytes

    def receive(self, data: bytes) -> list[Received]:
        """Takes what was read, or b"" after answers made room; gives what is now to be answered."""
        if self._faulted:
            return []
        frames = self._decoder.feed(data) if data and not self._ended else []
        room = self.max_unanswered - self.unanswered
        if self._waiting or len(frames) > room:
            frames = self._queued(frames, room)
        received: list[Received] = []
        frames.reverse()
        while frames:
            frame = frames.pop()  # let go of before the next is decoded: 9 µs a picture, and 44 where all are kept
            try:
                request = decode_request(frame)
            except ProtocolError as fault:
                received.append(self._last(fault))
                return received
            received.append(Received(self._take_number(), request))
        if self._decoder.fault is not None and not self._waiting:
            received.append(self._last(ProtocolError(ErrorCode.PARAM, self._decoder.fault)))
        return received

    def _queued(self, frames: list[bytes], room: int) -> list[bytes]:
        """Those that come next; what there is no room for waits (rule 4)."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.extend(frames)
        taken = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        self._held_bytes += sum(map(len, frames)) - sum(map(len, taken))
        return taken

    def end(self) -> None:
        """No more bytes: the peer half-closed (F4), or the server is leaving and answers only what was read."""
        self._ended = True
        self._decoder.drop_half_frame()

    def answer(self, number: int, message: bytes) -> bytes:
        """Takes the answer to a request; gives the bytes that may leave now, b"" where an earlier one is unanswered.

        Raises ValueError where no such request waits for an answer.
        """
        if not self._next_to_leave <= number < self._next_number or number in self._held:
            raise ValueError(f"no request {number} waits for an answer")
        framed = encode_frame(message)
        if number != self._next_to_leave:
            self._held[number] = framed
            self._held_bytes += len(framed)
            return b""
        self._next_to_leave += 1
        if not self._held:
            return framed
        leaving = [framed]
        while self._next_to_leave in self._held:
            framed = self._held.pop(self._next_to_leave)
            self._held_bytes -= len(framed)
            leaving.append(framed)
            self._next_to_leave += 1
        return b"".join(leaving)

    def push(self, message: bytes) -> bytes:
        """The bytes of a pushed command; they may leave now (rule 3)."""
        return encode_frame(message)

    def _take_number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def _last(self, fault: ProtocolError) -> Received:
        self._faulted = True
        if self._waiting:
            self._held_bytes -= sum(map(len, self._waiting))
            self._waiting.clear()
        self._decoder.drop_half_frame()
        return Received(self._take_number(), None, fault)
