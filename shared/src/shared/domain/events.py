"""CloudEvents 1.0 in Kafka's binary mode: how an attendance becomes records, and how the writer reads them back.

Attributes are `ce_*` headers. The key is sn. The record's timestamp is the time of receipt, never recordTime, so that
late uploads do not fall to retention.
"""

import msgspec

from shared.domain.attendance import AttendanceEvent, SensitiveParts

SIGN_IN_TOPIC = "attendance.sign-in.v1"
SENSITIVE_TOPIC = "attendance.sensitive.v1"
PRESENCE_TOPIC = "device.presence.v1"
TASK_TOPIC = "device.task.v1"
DEAD_LETTER_TOPIC = "attendance.dead-letter.v1"

SIGN_IN_TYPE = "attendance.sign-in.v1"
PICTURE_TYPE = "picture"
DETAILS_TYPE = "details"
"""Iris data and unknown members, as one JSON object {irisInfo, extra}."""

Headers = tuple[tuple[str, bytes], ...]


class Record(msgspec.Struct, frozen=True):
    """A Kafka record to be produced."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    timestamp_ms: int


class Details(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The value of a DETAILS_TYPE record."""

    iris_info: str | None = None
    extra: str | None = None


def sign_in_record(event: AttendanceEvent, received_ms: int) -> Record:
    """The record of `attendance.sign-in.v1`."""
    headers: tuple[tuple[str, bytes], ...] = (
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_source", b"/tcp-ingress"),
        ("ce_type", SIGN_IN_TYPE.encode()),
        ("ce_time", event.received_at.encode()),
        ("ce_datacontenttype", b"application/json"),
        ("content-type", b"application/json"),
    )
    if event.image is not None:
        reference = f"/api/v1/attendance/{event.event_id}/image".encode()
        headers = (*headers, ("ce_dataref", reference))
    return Record(SIGN_IN_TOPIC, event.sn.encode(), msgspec.json.encode(event), headers, received_ms)


def sensitive_records(event: AttendanceEvent, parts: SensitiveParts, received_ms: int) -> tuple[Record, ...]:
    """The records of `attendance.sensitive.v1`: the picture's bytes, then what else is sensitive; () for nothing."""
    records: list[Record] = []
    if parts.picture is not None and event.image is not None:
        content_type = event.image.content_type.encode()
        records.append(_sensitive(event, PICTURE_TYPE, content_type, parts.picture, received_ms))
    if parts.iris_info is not None or parts.extra is not None:
        details = Details(iris_info=parts.iris_info, extra=parts.extra)
        value = msgspec.json.encode(details)
        records.append(_sensitive(event, DETAILS_TYPE, b"application/json", value, received_ms))
    return tuple(records)


def _sensitive(event: AttendanceEvent, record_type: str, content_type: bytes, value: bytes, received_ms: int) -> Record:
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        # id and source must be unique together, and the id is the attendance's: the source tells the parts apart
        ("ce_source", f"/tcp-ingress/{record_type}".encode()),
        ("ce_type", record_type.encode()),
        ("ce_time", event.received_at.encode()),
        ("ce_datacontenttype", content_type),
        ("content-type", content_type),
    )
    return Record(SENSITIVE_TOPIC, event.sn.encode(), value, headers, received_ms)
