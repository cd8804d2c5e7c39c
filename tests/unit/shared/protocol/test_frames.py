"""F1–F3: any split gives the same frames, faults come after the frames before them, and nothing large is held."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.frames import FrameDecoder, FrameFault, encode_frame, encode_varint

LIMIT = 4 * 1024 * 1024

# 3 bytes; empty; 300 bytes behind ac 02; one byte behind an overlong length
STREAM = b"\x03abc" + b"\x00" + b"\xac\x02" + b"Z" * 300 + b"\x81\x80\x00A"
FRAMES = [b"abc", b"", b"Z" * 300, b"A"]


def feed_all(decoder: FrameDecoder, chunks: list[bytes]) -> list[bytes]:
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


def test_f2_every_single_split_point_gives_the_same_frames() -> None:
    for point in range(len(STREAM) + 1):
        decoder = FrameDecoder(LIMIT)
        assert feed_all(decoder, [STREAM[:point], STREAM[point:]]) == FRAMES
        assert (decoder.awaited, decoder.buffered, decoder.fault) == (0, 0, None)


def test_f2_every_pair_of_split_points_in_the_length_and_around_it_gives_the_same_frames() -> None:
    stream = b"\x01A" + b"\x82\x80\x80\x80\x00BC" + b"\x01D"
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            decoder = FrameDecoder(LIMIT)
            chunks = [stream[:first], stream[first:second], stream[second:]]
            assert feed_all(decoder, chunks) == [b"A", b"BC", b"D"]


def test_f2_byte_by_byte_gives_the_same_frames() -> None:
    assert feed_all(FrameDecoder(LIMIT), [STREAM[i : i + 1] for i in range(len(STREAM))]) == FRAMES


@given(st.lists(st.binary(max_size=400), max_size=8), st.lists(st.integers(0, 3500), max_size=12))
def test_f2_any_chunking_gives_the_frames_that_were_encoded(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode_frame, messages))
    points = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(points)]

    assert feed_all(FrameDecoder(400), chunks) == messages


@given(st.integers(0, 2**35 - 1), st.data())
def test_f1_every_length_of_up_to_five_bytes_is_read_in_every_form(size: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(max(1, -(-size.bit_length() // 7)), 5))
    prefix = bytes((size >> 7 * i & 0x7F) | (0x80 if i < groups - 1 else 0) for i in range(groups))
    decoder = FrameDecoder(2**35)

    decoder.feed(prefix)

    assert decoder.awaited == size


def test_f1_a_varint_is_written_in_its_shortest_form() -> None:
    # from the encoding's own definition: seven bits a byte, the lowest first, the top bit where more follow
    assert [encode_varint(n).hex() for n in (0, 1, 127, 128, 300, 16383, 16384, 2097151, 2097152)] == [
        "00", "01", "7f", "8001", "ac02", "ff7f", "808001", "ffff7f", "80808001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "fault"),
    [(b"\x81\x08", FrameFault.TOO_LARGE), (b"\x80\x80\x80\x80\x80", FrameFault.MALFORMED_LENGTH)],
)
def test_f3_a_fault_is_found_at_every_split_after_the_frames_before_it(broken: bytes, fault: FrameFault) -> None:
    stream = b"\x01A\x01B" + broken + b"\x01C"
    for point in range(len(stream) + 1):
        decoder = FrameDecoder(1024)
        assert feed_all(decoder, [stream[:point], stream[point:]]) == [b"A", b"B"]
        assert decoder.fault is fault
        assert decoder.feed(b"\x01D") == []
        assert decoder.buffered == 0


def test_f3_the_limit_itself_passes_and_one_more_does_not() -> None:
    assert FrameDecoder(1024).feed(b"\x80\x08" + b"x" * 1024) == [b"x" * 1024]
    over = FrameDecoder(1024)
    assert over.feed(b"\x81\x08" + b"x" * 1025) == []
    assert over.fault is FrameFault.TOO_LARGE


def test_f3_a_malformed_length_is_found_without_waiting_for_more() -> None:
    decoder = FrameDecoder(LIMIT)
    decoder.feed(b"\xff\xff\xff\xff")
    assert (decoder.fault, decoder.awaited, decoder.buffered) == (None, 1, 4)
    decoder.feed(b"\xff")
    assert decoder.fault is FrameFault.MALFORMED_LENGTH


def test_f3_an_announced_size_alone_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        decoders = [FrameDecoder(LIMIT) for _ in range(100)]
        for decoder in decoders:
            decoder.feed(b"\x80\x80\x80\x02" + b"x")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert all(decoder.awaited == LIMIT for decoder in decoders)
    assert held < 100 * 2048


def test_f2_a_large_frame_is_held_once_while_it_arrives() -> None:
    size = 2_900_000
    stream = encode_frame(b"p" * size)
    chunk = b"p" * 65536
    decoder = FrameDecoder(LIMIT)
    tracemalloc.start()
    try:
        decoder.feed(stream[:4])
        for _ in range(size // len(chunk)):
            assert decoder.feed(chunk) == []
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    left = size - size // len(chunk) * len(chunk)

    assert decoder.feed(b"p" * left + b"\x01A") == [b"p" * size, b"A"]
    # one buffer, which grows in place by an eighth at most
    assert held < size * 1.15
    assert peak < size * 1.15


def test_f2_a_large_frame_in_small_reads_is_not_copied_again_at_each() -> None:
    size = LIMIT
    stream = memoryview(encode_frame(b"q" * size))
    decoder = FrameDecoder(LIMIT)
    started = time.perf_counter()

    frames = [frame for start in range(0, len(stream), 64) for frame in decoder.feed(bytes(stream[start : start + 64]))]

    assert frames == [b"q" * size]
    # 65,536 reads take some 40 ms; copying the frame at each of them would move 137 GB
    assert time.perf_counter() - started < 5


def test_f4_awaited_and_buffered_tell_what_is_half_here() -> None:
    decoder = FrameDecoder(LIMIT)
    seen = []
    for byte in (b"\x01", b"A", b"\x82", b"\x00", b"B", b"C"):
        decoder.feed(byte)
        seen.append((decoder.awaited, decoder.buffered))

    assert seen == [(1, 0), (0, 0), (1, 1), (2, 0), (2, 1), (0, 0)]


def test_f4_a_half_frame_can_be_dropped() -> None:
    for half in (b"\x82", b"\x03AB"):
        decoder = FrameDecoder(LIMIT)
        decoder.feed(half)
        decoder.drop_half_frame()
        assert (decoder.awaited, decoder.buffered) == (0, 0)
        assert decoder.feed(b"\x01C") == [b"C"]
