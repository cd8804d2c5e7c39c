"""What a record is to the writer. The records are written by hand or made by the producer's side, then spoilt."""

import json
from typing import Any

import msgspec
import pytest

from attendance_writer.decode import Decoded, Rejected, SyntheticSignIn, decode
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import ConsumedRecord, Fault
from shared.stores.interfaces import StoredDetails, StoredPicture
from tests.support.attendance import (
    JPEG,
    RECEIVED_MS,
    consumed,
    details_record,
    event_record,
    make_event,
    picture_record,
    with_picture,
)

# Written by hand; the id is the one that the standard library's uuid5 gives (tests/unit/shared/domain).
PRINTED = {
    "eventId": "fc080dc9-48af-58fb-b10e-67c3178bb19b",
    "sn": "1388186",
    "vendorId": "v1",
    "personId": "4508004291609636864",
    "type": 1,
    "recordTime": 1609744974000,
    "sentAt": "2021-01-04T07:22:54.000Z",
    "receivedAt": "2021-01-04T07:22:54.250Z",
    "temperature": 36.7,
    "healthInfo": {"$set": 123456789012345678901234567890},
}
HEADERS = {
    "ce_specversion": b"1.0",
    "ce_id": b"fc080dc9-48af-58fb-b10e-67c3178bb19b",
    "ce_source": b"/tcp-ingress",
    "ce_type": b"attendance.sign-in.v1",
    "ce_time": b"2021-01-04T07:22:54.250Z",
    "ce_datacontenttype": b"application/json",
}


def sign_in(
    headers: dict[str, bytes | None] | None = None,
    raw: bytes | None = None,
    key: bytes | None = b"1388186",
    **members: Any,
) -> ConsumedRecord:
    """The printed sign-in's record, spoilt in one place."""
    names = {name: value for name, value in (HEADERS | (headers or {})).items() if value is not None}
    body = {name: value for name, value in (PRINTED | members).items() if value is not ...}
    value = json.dumps(body).encode() if raw is None else raw
    return ConsumedRecord("attendance.sign-in.v1", 0, 0, key, value, tuple(names.items()))


def reason(decoded: Decoded) -> str:
    assert isinstance(decoded, Rejected)
    return decoded.reason


def test_a_sign_in_is_read_with_its_members() -> None:
    event = decode(sign_in())
    assert isinstance(event, AttendanceEvent)
    assert (event.event_id, event.person_id, event.record_time, event.temperature) == (
        "fc080dc9-48af-58fb-b10e-67c3178bb19b",
        "4508004291609636864",
        1609744974000,
        36.7,
    )
    assert bytes(event.health_info or b"") == b'{"$set": 123456789012345678901234567890}'


def test_a_sign_in_of_the_synthetic_topic_is_read_as_what_is_never_stored_as_attendance() -> None:
    decoded = decode(msgspec.structs.replace(sign_in(), topic="attendance.synthetic.v1"))
    assert isinstance(decoded, SyntheticSignIn)
    assert not isinstance(decoded, AttendanceEvent)
    assert decoded.event == decode(sign_in())
    assert decoded.event_id == "fc080dc9-48af-58fb-b10e-67c3178bb19b"


def test_what_the_synthetic_topic_does_not_promise_is_rejected_as_elsewhere() -> None:
    forged = msgspec.structs.replace(sign_in(type=2), topic="attendance.synthetic.v1")
    assert reason(decode(forged)) == Fault.ID
    picture = msgspec.structs.replace(consumed(picture_record(make_event())), topic="attendance.synthetic.v1")
    assert reason(decode(picture)) == Fault.TYPE


def test_unknown_members_of_a_later_producer_are_passed_over() -> None:
    assert not isinstance(decode(sign_in(invented="later")), Rejected)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (sign_in({"ce_specversion": None}), Fault.ATTRIBUTE),
        (sign_in({"ce_specversion": b"0.3"}), Fault.ATTRIBUTE),
        (sign_in({"ce_id": None}), Fault.ATTRIBUTE),
        (sign_in({"ce_id": b"\xff"}), Fault.ATTRIBUTE),
        (sign_in({"ce_type": None}), Fault.ATTRIBUTE),
        (sign_in({"ce_type": b"picture"}), Fault.TYPE),
        (sign_in({"ce_type": b"attendance.sign-in.v2"}), Fault.TYPE),
        (sign_in(raw=b""), Fault.VALUE),
        (sign_in(raw=b'{"eventId"'), Fault.JSON),
        (sign_in(raw=b'{"sn":"\xff"}'), Fault.JSON),
        (sign_in(raw=b'{"healthInfo":{no json}}'), Fault.JSON),
        (sign_in(raw=b'{"healthInfo":' + b"[" * 100_000), Fault.JSON),
        (sign_in(raw=b'{"sn":"\\ud800"}'), Fault.JSON),
        (sign_in(raw=b"[]"), Fault.MEMBERS),
        (sign_in(type="1"), Fault.MEMBERS),
        (sign_in(vendorId=...), Fault.MEMBERS),
        (sign_in(direction="sideways"), Fault.MEMBERS),
        (sign_in({"ce_id": b"fc080dc9-48af-58fb-b10e-67c3178bb19c"}), Fault.ID),
        (sign_in(eventId="fc080dc9-48af-58fb-b10e-67c3178bb19c"), Fault.ID),
        (sign_in(personId="4508004291609636865"), Fault.ID),
        (sign_in(recordTime=1609744974001), Fault.ID),
        (sign_in(type=2), Fault.ID),
        (sign_in(key=b"1388187"), Fault.KEY),
        (sign_in(key=None), Fault.KEY),
        (sign_in(sentAt="yesterday"), Fault.TIME),
        (sign_in(receivedAt="2021-01-04T07:22:54"), Fault.TIME),
    ],
)
def test_a_sign_in_that_its_topic_does_not_promise_is_rejected_with_its_fault(
    record: ConsumedRecord, fault: Fault
) -> None:
    assert reason(decode(record)) == fault


def test_a_tombstone_is_rejected() -> None:
    record = msgspec.structs.replace(sign_in(), value=None)
    assert reason(decode(record)) == Fault.VALUE


def test_a_record_time_that_no_calendar_holds_is_rejected() -> None:
    record = consumed(event_record(make_event(record_time=253_402_300_800_000)))
    assert reason(decode(record)) == Fault.TIME


def test_design_2_an_id_forged_in_header_and_body_alike_cannot_take_another_events_place() -> None:
    forged = "00000000-0000-5000-8000-000000000000"
    assert reason(decode(sign_in({"ce_id": forged.encode()}, eventId=forged))) == Fault.ID


@pytest.mark.parametrize("record", [sign_in(direction="13800138000"), sign_in(personId=13800138000)])
def test_design_8_the_detail_of_a_rejection_repeats_no_value(record: ConsumedRecord) -> None:
    rejected = decode(record)
    assert isinstance(rejected, Rejected)
    assert "13800138000" not in rejected.detail
    assert "$." in rejected.detail


def test_design_9_a_picture_is_read_as_its_bytes() -> None:
    event = make_event()
    assert decode(consumed(picture_record(event))) == StoredPicture(
        event_id=event.event_id, sn="1388186", content_type="image/jpeg", data=JPEG, received_at_ms=RECEIVED_MS
    )


def test_j5_details_are_read_as_json_text() -> None:
    event = make_event()
    assert decode(consumed(details_record(event, iris_info="i", extra='{"$set":1e999}'))) == StoredDetails(
        event_id=event.event_id, sn="1388186", iris_info="i", extra='{"$set":1e999}', received_at_ms=RECEIVED_MS
    )


@pytest.mark.parametrize(
    ("headers", "value", "fault"),
    [
        ({"ce_type": b"face"}, JPEG, Fault.TYPE),
        ({"ce_type": b"attendance.sign-in.v1"}, JPEG, Fault.TYPE),
        ({"ce_id": b"not an id"}, JPEG, Fault.ID),
        ({"ce_id": b"6FA459EA-EE8A-3CA4-894E-DB77E160355E"}, JPEG, Fault.ID),
        ({"ce_datacontenttype": b""}, JPEG, Fault.ATTRIBUTE),
        ({"ce_time": b"noon"}, JPEG, Fault.TIME),
        ({}, b"", Fault.VALUE),
        ({"ce_type": b"details"}, b"{", Fault.JSON),
        ({"ce_type": b"details"}, b"{}", Fault.MEMBERS),
        ({"ce_type": b"details"}, b'{"extra":{}}', Fault.MEMBERS),
    ],
)
def test_a_sensitive_record_that_its_topic_does_not_promise_is_rejected(
    headers: dict[str, bytes], value: bytes, fault: Fault
) -> None:
    record = consumed(picture_record(with_picture(make_event())))
    spoilt = msgspec.structs.replace(record, value=value, headers=tuple((dict(record.headers) | headers).items()))
    assert reason(decode(spoilt)) == fault


def test_a_sensitive_record_whose_key_is_not_utf_8_is_rejected() -> None:
    record = msgspec.structs.replace(consumed(picture_record(make_event())), key=b"\xff")
    assert reason(decode(record)) == Fault.KEY
