"""Streams of frames (F1 to F5): whatever arrives, in whatever pieces, is the same frames or the same fault."""

from shared.protocol.connection import DeviceConnection
from shared.protocol.errors import ErrorCode
from shared.protocol.frames import MAX_LENGTH_BYTES, FrameDecoder, FrameFault, encode_frame
from terminal_simulator.wire import FrameReader
from tests.fuzz.reading import chunks

MAX_UNANSWERED = 3


def check(data: bytes) -> None:
    """The first byte says how large a frame may be, the second in which pieces the rest arrives."""
    limit = 4 * 1024 * 1024 if data[:1] > b"\x7f" else 200
    seed, stream = (data[1] if len(data) > 1 else 0), data[2:]
    frames, fault = reference(stream, limit)
    _check_decoder(limit, stream, seed, frames, fault)
    _check_connection(limit, stream, seed)
    again = FrameDecoder(4 * 1024 * 1024)
    assert again.feed(b"".join(encode_frame(frame) for frame in frames)) == frames


def reference(stream: bytes, limit: int) -> tuple[list[bytes], FrameFault | None]:
    """The frames and the fault by the words of F1 and F3."""
    frames: list[bytes] = []
    place = 0
    while place < len(stream):
        size = 0
        for number in range(MAX_LENGTH_BYTES):
            if place == len(stream):
                return frames, None
            size += stream[place] % 128 * 128**number
            place += 1
            if stream[place - 1] < 128:
                break
        else:
            return frames, FrameFault.MALFORMED_LENGTH
        if size > limit:
            return frames, FrameFault.TOO_LARGE
        if place + size > len(stream):
            return frames, None
        frames.append(stream[place : place + size])
        place += size
    return frames, None


def _check_decoder(limit: int, stream: bytes, seed: int, frames: list[bytes], fault: FrameFault | None) -> None:
    whole, pieces = FrameDecoder(limit), FrameDecoder(limit)
    assert whole.feed(stream) == frames
    found: list[bytes] = []
    for piece in chunks(stream, seed):
        found += pieces.feed(piece)
        assert pieces.buffered <= min(len(stream), limit + MAX_LENGTH_BYTES)
        assert pieces.awaited <= limit
    assert found == frames
    assert whole.fault == pieces.fault == fault
    if fault is None:
        assert pieces.buffered == whole.buffered == len(stream) - _taken(stream, frames)


def _taken(stream: bytes, frames: list[bytes]) -> int:
    """Bytes of the stream that whole frames take, overlong lengths included, and the length of the half one."""
    place = 0
    for frame in frames:
        while stream[place] > 127:
            place += 1
        place += 1 + len(frame)
    rest = stream[place : place + MAX_LENGTH_BYTES]
    ends = [number for number, byte in enumerate(rest) if byte < 128]
    return place + (ends[0] + 1 if ends else 0)


def _check_connection(limit: int, stream: bytes, seed: int) -> None:
    """Each request is numbered in turn, a fault is the last, and answers leave in that order (F5)."""
    connection = DeviceConnection(limit, MAX_UNANSWERED)
    left, expected = b"", 0
    for piece in [*chunks(stream, seed), b""]:
        received = connection.receive(piece)
        while received:
            assert [one.number for one in received] == list(range(expected, expected + len(received)))
            assert connection.unanswered <= MAX_UNANSWERED + 1  # a fault is numbered past the bound
            expected += len(received)
            for one in reversed(received):
                assert (one.request is None) == (one.fault is not None)
                assert one.fault is None or one.fault.code is ErrorCode.PARAM
                left += connection.answer(one.number, f"{one.number}".encode())
            received = connection.receive(b"")
    assert connection.unanswered == 0
    assert FrameReader().feed(left) == [f"{number}".encode() for number in range(expected)]
    connection.end()
    assert connection.finished
    assert connection.buffered == 0
