import csv
import io

import pytest

from console_service.attendance_csv import COLUMNS, attendance_lines, header_line, plain, shanghai_time
from shared.domain.devices import Direction
from shared.stores.interfaces import AttendanceRecord
from tests.support.attendance import make_event


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"])
def test_a_text_that_begins_as_a_formula_does_is_made_text(start: str) -> None:
    assert plain(f"{start}1+1") == f"'{start}1+1"
    assert plain(f"1{start}1") == f"1{start}1"


@pytest.mark.parametrize("text", ["84E0F42C5D1A", "", "张三", " x", "'", '"=1"', "4508004291609636864"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_a_line_has_each_column_s_value() -> None:
    event = make_event(
        sn="SN1",
        person_id="4508004291609636864",
        type=9,
        site_id="s1",
        direction=Direction.IN,
        record_time=1_795_503_600_123,
        sent_at="2026-11-24T16:00:01.000Z",
        received_at="2026-11-24T16:00:01.250Z",
        temperature=-3.5,
    )
    (line,) = read(attendance_lines([AttendanceRecord(event=event, has_image=True)]))
    assert dict(zip(COLUMNS, line, strict=True)) == {
        "eventId": event.event_id,
        "sn": "SN1",
        "vendorId": "v0123456789abcdef",
        "personId": "4508004291609636864",
        "siteId": "s1",
        "direction": "in",
        "type": "9",
        "recordTime": "2026-11-24T15:00:00.123+08:00",
        "recordTimeMs": "1795503600123",
        "sentAt": "2026-11-25T00:00:01.000+08:00",
        "receivedAt": "2026-11-25T00:00:01.250+08:00",
        "temperature": "-3.5",
        "hasImage": "true",
    }


def test_what_is_not_known_is_an_empty_cell() -> None:
    (line,) = read(attendance_lines([AttendanceRecord(event=make_event(), has_image=False)]))
    shown = dict(zip(COLUMNS, line, strict=True))
    assert (shown["siteId"], shown["direction"], shown["temperature"], shown["hasImage"]) == ("", "", "", "false")


def test_rfc_4180_lines_end_in_crlf_and_cells_with_commas_quotes_and_line_ends_are_quoted() -> None:
    event = make_event(sn='a,"b"\r\nc', person_id='=HYPERLINK("http://x","y")')
    data = attendance_lines([AttendanceRecord(event=event, has_image=False)])
    assert data.startswith(event.event_id.encode() + b',"a,""b""\r\nc",')
    assert data.endswith(b"\r\n")
    (line,) = read(data)
    assert line[COLUMNS.index("sn")] == 'a,"b"\r\nc'
    assert line[COLUMNS.index("personId")] == '\'=HYPERLINK("http://x","y")'


def test_the_first_line_names_the_columns() -> None:
    assert header_line() == (
        b"eventId,sn,vendorId,personId,siteId,direction,type,recordTime,recordTimeMs,sentAt,receivedAt,"
        b"temperature,hasImage\r\n"
    )


def test_no_column_is_biometric() -> None:
    assert not {"image", "img", "irisInfo", "extra", "healthInfo", "qrCodeInfo"} & set(COLUMNS)


def test_the_time_is_that_of_the_site_whatever_the_machine_s_zone() -> None:
    assert shanghai_time(0) == "1970-01-01T08:00:00.000+08:00"
    assert shanghai_time(1_795_503_600_000) == "2026-11-24T15:00:00.000+08:00"
