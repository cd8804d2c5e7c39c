"""Frames on TCP: a Base-128 varint length, then that many bytes (F1–F3). What the bytes mean stands in messages.py."""

from enum import StrEnum

MAX_LENGTH_BYTES = 5
"""A varint of 32 bits; overlong forms (`81 00` for 1) are legal within it (F1)."""


class FrameFault(StrEnum):
    """How a stream broke F3; nothing after it can be understood. The value is fit for an errmsg."""

    TOO_LARGE = "frame over the size limit"
    MALFORMED_LENGTH = "frame length longer than 5 bytes"


class FrameDecoder:
    """Cuts a stream into frames, however it was split (F2).

    A frame that is half here is held once, in a buffer that grows as its bytes arrive: an announced size alone costs
    nothing, and one over the limit is never buffered at all.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.fault: FrameFault | None = None
        """Set once F3 is broken, when the frames before it have been returned; `feed` returns [] ever after."""
        self._length = b""
        """A length prefix that is half here."""
        self._frame = bytearray()
        self._awaited = 0
        """The size of the frame in `_frame`; 0 where none is half here."""

    @property
    def awaited(self) -> int:
        """The announced size of the frame that is half here; 1 where only its length is, 0 where nothing is."""
        return self._awaited or min(len(self._length), 1)

    @property
    def buffered(self) -> int:
        """The bytes held."""
        return len(self._frame) + len(self._length)

    def feed(self, data: bytes) -> list[bytes]:
        """Takes what was read; gives the frames that are now whole, in order."""
        if self.fault is not None:
            return []
        frames: list[bytes] = []
        position = 0
        if self._awaited:
            position = self._awaited - len(self._frame)
            # += grows in place and a view is not copied, so 2.9 MB in many reads stay linear
            self._frame += memoryview(data)[:position]
            if len(self._frame) < self._awaited:
                return frames
            frames.append(bytes(self._frame))
            self._frame = bytearray()
            self._awaited = 0
        elif self._length:
            data = self._length + data
            self._length = b""
        self._cut(data, position, frames)
        return frames

    def drop_half_frame(self) -> None:
        """Forgets what is half here, where its rest will not be fed."""
        self._length = b""
        self._frame = bytearray()
        self._awaited = 0

    def _cut(self, data: bytes, position: int, frames: list[bytes]) -> None:
        """Appends the frames that lie in `data` from `position` on; keeps the rest."""
        end = len(data)
        while position < end:
            start = position
            size = data[position]
            position += 1
            if size >= 0x80:
                size &= 0x7F
                for shift in (7, 14, 21, 28):
                    if position == end:
                        self._length = data[start:]
                        return
                    group = data[position]
                    position += 1
                    size |= (group & 0x7F) << shift
                    if group < 0x80:
                        break
                else:
                    self.fault = FrameFault.MALFORMED_LENGTH
                    return
            if size > self.max_frame_bytes:
                self.fault = FrameFault.TOO_LARGE
                return
            if position + size > end:
                self._awaited = size
                self._frame += memoryview(data)[position:]
                return
            frames.append(data[position : position + size])
            position += size


def encode_varint(value: int) -> bytes:
    """A Base-128 varint in its shortest form."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def encode_frame(message: bytes) -> bytes:
    """The message behind its length (F1)."""
    return encode_varint(len(message)) + message
