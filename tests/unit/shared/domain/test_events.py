"""Events as records, there and back."""

import msgspec
import pytest

from shared.domain.attendance import Coordinate, SensitiveParts, parse_rfc3339, rfc3339
from shared.domain.devices import Direction
from shared.domain.events import Fault, InvalidRecord, SensitiveRead, read_record, sensitive_records
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


def test_design_9_a_full_sign_in_comes_back_as_it_was_written() -> None:
    event = with_picture(
        make_event(
            sn="设备",
            bit_type=3,
            site_id="s1",
            direction=Direction.BOTH,
            temperature=36.7,
            coordinate=Coordinate(120.1, 30.25),
            qr_code_info=msgspec.Raw(b'{"a.b":{"$set":123456789012345678901234567890}}'),
            health_info=msgspec.Raw(b"{}"),
            image_dropped="not base64",
        )
    )
    assert read_record(consumed(event_record(event))) == event


def test_a_sign_in_without_what_is_optional_comes_back_without_it() -> None:
    event = make_event()
    assert read_record(consumed(event_record(event))) == event


def test_the_members_of_qr_code_and_health_are_kept_to_the_byte() -> None:
    text = b'{"n":1.0E+30, "z":36.70,"a":[1,2]}'
    event = make_event(qr_code_info=msgspec.Raw(text))
    read = read_record(consumed(event_record(event)))
    assert not isinstance(read, SensitiveRead)
    assert bytes(read.qr_code_info or b"") == text


def test_design_9_the_sensitive_parts_travel_as_two_records_and_come_back() -> None:
    event = with_picture(make_event())
    parts = SensitiveParts(picture=JPEG, iris_info="iris", extra='{"x":1}')
    records = sensitive_records(event, parts, RECEIVED_MS)
    assert records[0].value == JPEG
    read = [read_record(consumed(record)) for record in records]
    assert read == [
        SensitiveRead(
            event_id=event.event_id,
            sn="1388186",
            received_at_ms=RECEIVED_MS,
            content_type="image/jpeg",
            parts=SensitiveParts(picture=JPEG),
        ),
        SensitiveRead(
            event_id=event.event_id,
            sn="1388186",
            received_at_ms=RECEIVED_MS,
            content_type="application/json",
            parts=SensitiveParts(iris_info="iris", extra='{"x":1}'),
        ),
    ]


def test_a_record_of_another_topic_is_none_that_is_read() -> None:
    record = msgspec.structs.replace(consumed(picture_record(make_event())), topic="device.task.v1")
    with pytest.raises(InvalidRecord) as caught:
        read_record(record)
    assert caught.value.fault == Fault.TYPE


def test_the_size_of_a_record_counts_key_value_and_headers() -> None:
    record = msgspec.structs.replace(
        consumed(details_record(make_event(), extra="{}")), key=b"123", value=b"12345", headers=(("ab", b"c"),)
    )
    assert record.size == 3 + 5 + 3


# Expected values by `date -u -d @… +%FT%T`.
@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1_609_744_974_000, "2021-01-04T07:22:54.000Z"),
        (1_609_744_974_007, "2021-01-04T07:22:54.007Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc_3339_with_milliseconds_and_come_back(milliseconds: int, text: str) -> None:
    assert rfc3339(milliseconds) == text
    assert parse_rfc3339(text) == milliseconds


@pytest.mark.parametrize("text", ["", "2021-01-04", "2021-01-04T07:22:54", "2021-13-04T07:22:54Z", "noon"])
def test_what_is_not_a_moment_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


def test_a_time_with_another_offset_is_the_same_moment() -> None:
    assert parse_rfc3339("2021-01-04T15:22:54.5+08:00") == 1_609_744_974_500
