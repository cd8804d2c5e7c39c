"""CloudEvents 1.0 in Kafka's binary mode: how an attendance becomes records, and how the writer reads them back.

Attributes are `ce_*` headers. The key is sn. The record's timestamp is the time of receipt, never recordTime, so that
late uploads do not fall to retention.
"""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

import msgspec

from shared.domain.attendance import AttendanceEvent, SensitiveParts, event_id, parse_rfc3339

SIGN_IN_TOPIC = "attendance.sign-in.v1"
SYNTHETIC_TOPIC = "attendance.synthetic.v1"
"""Sign-ins of synthetic vendors, of the same type: here nobody can take them for attendance (ADR 0022)."""
SENSITIVE_TOPIC = "attendance.sensitive.v1"
PRESENCE_TOPIC = "device.presence.v1"
TASK_TOPIC = "device.task.v1"
DEAD_LETTER_TOPIC = "attendance.dead-letter.v1"

SIGN_IN_TYPE = "attendance.sign-in.v1"
PICTURE_TYPE = "picture"
DETAILS_TYPE = "details"
"""Iris data and unknown members, as one JSON object {irisInfo, extra}."""

_T = TypeVar("_T")

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


def sign_in_record(event: AttendanceEvent, received_ms: int, topic: str = SIGN_IN_TOPIC) -> Record:
    """The record of `attendance.sign-in.v1`, or of `attendance.synthetic.v1`."""
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
    return Record(topic, event.sn.encode(), msgspec.json.encode(event), headers, received_ms)


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


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

_NULL = msgspec.Raw(b"null")

_MAX_RECORD_TIME_MS = 253_402_300_800_000
"""The year 10000, which neither RFC 3339 nor MongoDB's clients can write."""


class ConsumedRecord(msgspec.Struct, frozen=True, gc=False):
    """A Kafka record as consumed, with its place."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int = -1
    """Kafka's, of the time of receipt; -1 where the record has none, as Kafka says it."""

    @property
    def size(self) -> int:
        """Bytes that holding it takes, roughly."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


class Fault(StrEnum):
    """Why a record is not what its topic promises. The names are headers of dead letters and labels of a metric."""

    ATTRIBUTE = "attribute-missing-or-wrong"
    TYPE = "unexpected-type"
    VALUE = "value-missing"
    JSON = "invalid-json"
    MEMBERS = "wrong-members"
    ID = "id-does-not-match"
    KEY = "key-does-not-match"
    TIME = "invalid-time"


class InvalidRecord(Exception):
    """A record that can never be read; says what is wrong and repeats nothing of the record."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class SensitiveRead(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `attendance.sensitive.v1`: the picture alone, or what else is sensitive."""

    event_id: str
    sn: str
    received_at_ms: int
    content_type: str
    parts: SensitiveParts


def read_record(record: ConsumedRecord) -> AttendanceEvent | SensitiveRead:
    """The reverse of sign_in_record and sensitive_records. Raises InvalidRecord."""
    headers = _headers(record)
    record_type, record_id = read_attribute(headers, "ce_type"), read_attribute(headers, "ce_id")
    if record.key is None:
        raise InvalidRecord(Fault.KEY, "a record without a key")
    if not record.value:
        raise InvalidRecord(Fault.VALUE, "a record without a value")
    if (record.topic, record_type) in ((SIGN_IN_TOPIC, SIGN_IN_TYPE), (SYNTHETIC_TOPIC, SIGN_IN_TYPE)):
        return _read_sign_in(record.key, record.value, record_id)
    if (record.topic, record_type) in ((SENSITIVE_TOPIC, PICTURE_TYPE), (SENSITIVE_TOPIC, DETAILS_TYPE)):
        return _read_sensitive(record.key, record.value, record_id, record_type, headers)
    raise InvalidRecord(Fault.TYPE, "ce_type is none that this topic has")


class _EventAsWritten(AttendanceEvent, frozen=True, kw_only=True, rename="camel"):
    """msgspec writes `Raw | None` and does not read it, so null is read as Raw too."""

    qr_code_info: msgspec.Raw = _NULL
    health_info: msgspec.Raw = _NULL


def _read_sign_in(key: bytes, value: bytes, record_id: str) -> AttendanceEvent:
    written = read_json(value, _EventAsWritten)
    members = msgspec.structs.asdict(written)
    for name in ("qr_code_info", "health_info"):
        if members[name] == _NULL:
            members[name] = None
    event = AttendanceEvent(**members)
    computed = event_id(event.sn, event.person_id, event.record_time, event.type)
    # A wrong id would keep the true event out of the database: the first stored wins.
    if not record_id == event.event_id == computed:
        raise InvalidRecord(Fault.ID, "ce_id and eventId are not the id that the event's members give")
    if key != event.sn.encode():
        raise InvalidRecord(Fault.KEY, "the key is not sn")
    if not 0 < event.record_time < _MAX_RECORD_TIME_MS:
        raise InvalidRecord(Fault.TIME, "recordTime is out of range")
    for text in (event.sent_at, event.received_at):
        read_time(text)
    return event


def _read_sensitive(
    key: bytes, value: bytes, record_id: str, record_type: str, headers: Mapping[str, bytes]
) -> SensitiveRead:
    try:
        well_formed = uuid.UUID(record_id).version == 5 and str(uuid.UUID(record_id)) == record_id
    except ValueError:
        well_formed = False
    if not well_formed:
        raise InvalidRecord(Fault.ID, "ce_id is not the id of an event")
    try:
        sn = key.decode()
    except UnicodeDecodeError:
        raise InvalidRecord(Fault.KEY, "the key is not UTF-8") from None
    if record_type == PICTURE_TYPE:
        parts = SensitiveParts(picture=value)
    else:
        details = read_json(value, Details)
        parts = SensitiveParts(iris_info=details.iris_info, extra=details.extra)
        if parts == SensitiveParts():
            raise InvalidRecord(Fault.MEMBERS, "details without a member that is known")
    return SensitiveRead(
        event_id=record_id,
        sn=sn,
        received_at_ms=read_time(read_attribute(headers, "ce_time")),
        content_type=read_attribute(headers, "ce_datacontenttype"),
        parts=parts,
    )


def read_of_type(record: ConsumedRecord, record_type: str, kind: type[_T]) -> tuple[_T, Mapping[str, bytes]]:
    """Value and headers of a record of a topic that has one type. Raises InvalidRecord."""
    headers = _headers(record)
    if read_attribute(headers, "ce_type") != record_type:
        raise InvalidRecord(Fault.TYPE, "ce_type is none that this topic has")
    if not record.value:
        raise InvalidRecord(Fault.VALUE, "a record without a value")
    return read_json(record.value, kind), headers


def _headers(record: ConsumedRecord) -> Mapping[str, bytes]:
    headers = dict(record.headers)
    if headers.get("ce_specversion") != b"1.0":
        raise InvalidRecord(Fault.ATTRIBUTE, "ce_specversion is not 1.0")
    return headers


def read_attribute(headers: Mapping[str, bytes], name: str) -> str:
    """A header's text. Raises InvalidRecord where it is missing or none."""
    try:
        text = headers.get(name, b"").decode()
    except UnicodeDecodeError:
        raise InvalidRecord(Fault.ATTRIBUTE, f"{name} is not UTF-8") from None
    if not text:
        raise InvalidRecord(Fault.ATTRIBUTE, f"{name} is missing")
    return text


def read_json(value: bytes, kind: type[_T]) -> _T:
    """A record's value. Raises InvalidRecord, which repeats nothing of it."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRecord(Fault.MEMBERS, _without_values(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRecord(Fault.JSON, "the value is not JSON") from None


def _without_values(message: str) -> str:
    # "Expected `int`, got `str` - at `$.type`" names members and types; "Invalid enum value 'x'" repeats the value
    if message.startswith(("Expected ", "Object missing ")):
        return message
    return f"invalid value{message[message.rfind(' - at') :] if ' - at' in message else ''}"


def read_time(text: str) -> int:
    """Milliseconds of an RFC 3339 time. Raises InvalidRecord."""
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidRecord(Fault.TIME, "a time is not RFC 3339") from None
