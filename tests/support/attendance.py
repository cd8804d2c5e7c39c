"""Attendance events and the records that carry them, right by default."""

import hashlib
import itertools
from typing import Any

import msgspec

from shared.domain.attendance import AttendanceEvent, PictureReference, SensitiveParts, event_id, rfc3339
from shared.domain.events import ConsumedRecord, Record, sensitive_records, sign_in_record

RECEIVED_MS = 1_764_000_000_000
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"

_persons = itertools.count(4_508_004_291_609_636_864)


def make_event(**members: Any) -> AttendanceEvent:
    """An event of a new person, with its computed id; `members` replace what is there by default."""
    values: dict[str, Any] = {
        "sn": "1388186",
        "vendor_id": "v0123456789abcdef",
        "person_id": str(next(_persons)),
        "type": 1,
        "record_time": 1_763_999_990_123,
        "sent_at": rfc3339(RECEIVED_MS - 1000),
        "received_at": rfc3339(RECEIVED_MS),
    } | members
    computed = event_id(values["sn"], values["person_id"], values["record_time"], values["type"])
    return AttendanceEvent(**{"event_id": computed} | values)


def with_picture(event: AttendanceEvent, picture: bytes = JPEG) -> AttendanceEvent:
    """The event with a reference to the picture."""
    digest = hashlib.sha256(picture).hexdigest()
    return msgspec.structs.replace(event, image=PictureReference(digest, len(picture), "image/jpeg"))


def picture_record(event: AttendanceEvent, picture: bytes = JPEG) -> Record:
    """The sensitive record of the event's picture."""
    (record,) = sensitive_records(with_picture(event, picture), SensitiveParts(picture=picture), RECEIVED_MS)
    return record


def details_record(event: AttendanceEvent, iris_info: str | None = None, extra: str | None = None) -> Record:
    """The sensitive record of the event's iris data and unknown members."""
    (record,) = sensitive_records(event, SensitiveParts(iris_info=iris_info, extra=extra), RECEIVED_MS)
    return record


def event_record(event: AttendanceEvent) -> Record:
    """The sign-in record of the event."""
    return sign_in_record(event, RECEIVED_MS)


def consumed(record: Record, offset: int = 0, partition: int = 0) -> ConsumedRecord:
    """The record as a consumer reads it."""
    return ConsumedRecord(
        record.topic, partition, offset, record.key, record.value, record.headers, record.timestamp_ms
    )
