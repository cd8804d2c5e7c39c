"""What a client gives back that was made here: cursors, Last-Event-ID, links. Anything else is refused as such."""

from console_service.cursors import TimeMs, decode_cursor, encode_cursor
from console_service.live_positions import pack_positions, unpack_positions
from shared.domain.links import FileKind, Links
from shared.runtime.problems import Problem
from tests.fuzz.reading import split_texts

TOPICS = ("attendance.sign-in.v1", "device.presence.v1", "device.task.v1")
LINKS = Links({"k1": b"0123456789abcdef0123456789abcdef"}, "https://task-api.example")


def check(data: bytes) -> None:
    """A cursor, an id of an event, and the parts of a link."""
    cursor, event_id, file_id, expires, signature = split_texts(data, 5)
    position = _position(cursor)
    # Its digest is no secret, so one may be made elsewhere; it says what it says.
    assert position is None or _position(encode_cursor("attendance", position)) == position
    positions = _positions(event_id)
    assert positions is None or _positions(pack_positions(TOPICS, positions)) == positions
    for kind in FileKind:
        assert not LINKS.is_valid(kind, file_id, expires=expires, key_id="k1", signature=signature, now_ms=0)


def _position(cursor: str) -> tuple[int, str] | None:
    """None where it is refused as a fault of the client's."""
    try:
        return decode_cursor("attendance", cursor, tuple[TimeMs, str])
    except Problem as problem:
        if problem.status != 400:
            raise
        return None


def _positions(event_id: str) -> dict[tuple[str, int], int] | None:
    try:
        return unpack_positions(TOPICS, event_id)
    except ValueError:
        return None
