"""`attendance.dead-letter.v1`: letters from every topic that the writer reads; contracts/ refuses what is none."""

import msgspec
import pytest
from jsonschema import ValidationError

from attendance_writer.dead_letters import dead_letter
from attendance_writer.decode import Rejected
from shared.domain.events import Fault, Record
from shared.domain.presence import presence_record
from tests.contract.test_events import schema, validate
from tests.support.attendance import (
    JPEG,
    RECEIVED_MS,
    consumed,
    details_record,
    event_record,
    make_event,
    picture_record,
)
from tests.support.presence import make_presence

DEAD_LETTER = "attendance.dead-letter.v1.schema.json"
OWN_HEADERS = schema(DEAD_LETTER)["$defs"]["headers"]["required"]


def letter(record: Record) -> Record:
    return dead_letter(consumed(record, offset=7, partition=3), Rejected(Fault.ID, "one clause"), RECEIVED_MS + 1)


@pytest.mark.parametrize(
    "record",
    [
        event_record(make_event(sn="设备")),
        picture_record(make_event()),
        details_record(make_event(), iris_info="iris"),
        presence_record(make_presence()),
    ],
    ids=["sign-in", "picture", "details", "presence"],
)
def test_a_letter_is_the_record_as_it_was_with_why_and_whence(record: Record) -> None:
    made = letter(record)
    validate(DEAD_LETTER, made)
    assert (made.topic, made.key, made.value) == ("attendance.dead-letter.v1", record.key, record.value)
    assert made.timestamp_ms == RECEIVED_MS + 1
    assert made.headers == (
        *record.headers,
        ("dl_reason", b"id-does-not-match"),
        ("dl_detail", b"one clause"),
        ("dl_topic", record.topic.encode()),
        ("dl_partition", b"3"),
        ("dl_offset", b"7"),
    )


def test_a_letter_of_a_picture_holds_the_picture() -> None:
    assert letter(picture_record(make_event())).value == JPEG


def test_the_contract_asks_for_all_five_headers_of_a_letter() -> None:
    assert OWN_HEADERS == ["dl_reason", "dl_detail", "dl_topic", "dl_partition", "dl_offset"]


@pytest.mark.parametrize("header", OWN_HEADERS)
def test_the_contract_refuses_a_letter_without_a_header(header: str) -> None:
    made = letter(event_record(make_event()))
    headers = tuple(pair for pair in made.headers if pair[0] != header)
    with pytest.raises(ValidationError, match="is a required property"):
        validate(DEAD_LETTER, msgspec.structs.replace(made, headers=headers))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("dl_reason", b"because"),
        ("dl_topic", b"device.task.v1"),
        ("dl_partition", b"-1"),
        ("dl_offset", b""),
    ],
)
def test_the_contract_refuses_a_letter_with_a_wrong_header(header: str, value: bytes) -> None:
    made = letter(event_record(make_event()))
    headers = tuple((name, value if name == header else was) for name, was in made.headers)
    with pytest.raises(ValidationError):
        validate(DEAD_LETTER, msgspec.structs.replace(made, headers=headers))
