"""How a target reads its input, so that small mutations stay small: texts part at a byte that no UTF-8 holds."""

from collections.abc import Callable
from typing import TypeVar

from shared.protocol.errors import ProtocolError

SEPARATOR = b"\xff"

ReadT = TypeVar("ReadT")


def outcome_of(read: Callable[[], ReadT]) -> ReadT | ProtocolError:
    """What was read, or the fault that it is answered with; whatever else is raised is a finding."""
    try:
        return read()
    except ProtocolError as error:
        return error


def split_texts(data: bytes, count: int) -> list[str]:
    """So many texts, which lie in the data between separators; those that are not there are empty."""
    parts = data.split(SEPARATOR, count - 1)
    return [part.decode("utf-8", "replace") for part in parts] + [""] * (count - len(parts))


def join_texts(flags: int, *texts: str) -> bytes:
    """An input with this first byte and these texts."""
    return bytes([flags]) + SEPARATOR.join(text.encode() for text in texts)


def chunks(data: bytes, seed: int) -> list[bytes]:
    """The data in pieces whose sizes follow from the seed; byte by byte for 0."""
    pieces: list[bytes] = []
    start = 0
    while start < len(data):
        seed = (seed * 197 + 31) % 256 if seed else 0
        size = seed % 23 + 1 if seed else 1
        pieces.append(data[start : start + size])
        start += size
    return pieces
