"""The id of a live event: where in the topics the reader is after it, in a form that a browser gives back. Pure.

One byte for the version; then for each topic: its number, how many partitions follow (from 0 on), and the next offset
of each. Numbers are Base-128 varints, the whole is base64url.
"""

import base64
from collections.abc import Mapping, Sequence

VERSION = 1

MAX_PARTITIONS = 10_000
MAX_OFFSET = 2**63 - 1


def pack_positions(topics: Sequence[str], positions: Mapping[tuple[str, int], int]) -> str:
    """The id; `topics` gives their numbers, and partitions of a topic are those from 0 on."""
    packed = bytearray([VERSION])
    for number, topic in enumerate(topics):
        offsets = [offset for (of, _), offset in sorted(positions.items()) if of == topic]
        if offsets:
            for value in (number, len(offsets), *offsets):
                _append_varint(packed, value)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def unpack_positions(topics: Sequence[str], text: str) -> dict[tuple[str, int], int]:
    """What was packed. Raises ValueError where pack_positions did not make it."""
    packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    if not packed or packed[0] != VERSION:
        raise ValueError("not of this version")
    positions: dict[tuple[str, int], int] = {}
    seen: set[int] = set()
    place = 1
    while place < len(packed):
        number, place = _read_varint(packed, place)
        count, place = _read_varint(packed, place)
        if number >= len(topics) or number in seen or not 0 < count <= MAX_PARTITIONS:
            raise ValueError("topics or partitions that cannot be")
        seen.add(number)
        for partition in range(count):
            positions[topics[number], partition], place = _read_varint(packed, place)
    return positions


def _append_varint(packed: bytearray, value: int) -> None:
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)


def _read_varint(packed: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place == len(packed):
            raise ValueError("cut off")
        byte = packed[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if value > MAX_OFFSET:
            raise ValueError("a number that cannot be")
        if byte < 0x80:
            return value, place
