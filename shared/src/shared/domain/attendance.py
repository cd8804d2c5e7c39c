"""A worker's passage as the platform's event: its computed id, and what of it is sensitive.

Analytics reads AttendanceEvent; SensitiveParts travel on their own topic, to the writer alone (design rule 9).
"""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from shared.domain.devices import Direction

EVENT_NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")


def event_id(sn: str, person_id: str, record_time_ms: int, sign_in_type: int) -> str:
    """UUIDv5 over sn, personId, recordTime and type (design rule 2): a resend has the same id."""
    return name_based_id(f"{sn}\x1f{person_id}\x1f{record_time_ms}\x1f{sign_in_type}")


def name_based_id(name: str) -> str:
    """The UUIDv5 of a name in our namespace, as text."""
    digest = hashlib.sha1(EVENT_NAMESPACE.bytes + name.encode(), usedforsecurity=False).hexdigest()
    # Bits set by RFC 9562: version 5, variant 10. uuid.uuid5 costs four times this: it makes and validates an object.
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def rfc3339(epoch_ms: int) -> str:
    """`2026-11-24T07:00:00.000Z`: how sentAt, receivedAt and every …At member is written."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{_whole_seconds(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)  # all that is received within a second begins alike, and strftime takes 2 µs
def _whole_seconds(epoch_seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=epoch_seconds):%Y-%m-%dT%H:%M:%S}"


def parse_rfc3339(text: str) -> int:
    """Milliseconds of an RFC 3339 time. Raises ValueError, also where it has no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return (moment - _EPOCH) // _MILLISECOND


class PictureReference(msgspec.Struct, frozen=True, rename="camel"):
    """What analytics may know of a picture; the picture itself is sensitive."""

    sha256: str
    size: int
    content_type: str


class Coordinate(msgspec.Struct, frozen=True):
    """Where a mobile sign-in happened, in degrees."""

    longitude: float
    latitude: float


class AttendanceEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The value of `attendance.sign-in.v1`. recordTime is the terminal's own, in milliseconds since the epoch;
    sentAt and receivedAt are RFC 3339 in UTC (design rule 14)."""

    event_id: str
    sn: str
    vendor_id: str
    person_id: str
    type: int
    bit_type: int | None = None
    record_time: int
    sent_at: str
    received_at: str
    site_id: str | None = None
    direction: Direction | None = None
    temperature: float | None = None
    coordinate: Coordinate | None = None
    qr_code_info: msgspec.Raw | None = None
    """The object as sent (J5), as JSON."""
    health_info: msgspec.Raw | None = None
    """The object as sent (J5), as JSON."""
    image: PictureReference | None = None
    image_dropped: str | None = None
    """Why the image was dropped, where it was not base64 or not a picture's bytes (J6)."""


class SensitiveParts(msgspec.Struct, frozen=True, kw_only=True):
    """What only the writer may read."""

    picture: bytes | None = None
    iris_info: str | None = None
    extra: str | None = None
    """Unknown members as one JSON object in text, as sent (J5)."""
