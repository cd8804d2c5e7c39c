"""E3: timeStamp is fourteen digits of a real time in Asia/Shanghai, within a window whose ends are included."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.device_time import check_time_stamp, format_time_stamp, parse_time_stamp, time_stamp_error
from shared.protocol.errors import ErrorCode, ProtocolError

PRINTED = "20210328031608"
PRINTED_MS = 1616872568000  # date -d '2021-03-28 03:16:08 +0800' +%s


def test_e3_the_printed_time_stamp_is_shanghais() -> None:
    assert parse_time_stamp(PRINTED) == PRINTED_MS
    assert format_time_stamp(PRINTED_MS) == PRINTED
    assert format_time_stamp(PRINTED_MS + 999) == PRINTED


@pytest.mark.parametrize(
    ("text", "epoch_seconds"),
    [
        ("20240229235959", 1709222399),  # a leap day
        ("20001231160000", 978249600),
        ("19700101080000", 0),
        ("20261124070000", 1795474800),
        ("20380119111408", 2147483648),  # past 32 bits
    ],
)
def test_e3_dates_are_read_as_the_calendar_has_them(text: str, epoch_seconds: int) -> None:
    assert parse_time_stamp(text) == epoch_seconds * 1000
    assert format_time_stamp(epoch_seconds * 1000) == text


@given(st.datetimes(datetime(1992, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001  given its zone below
def test_e3_the_fixed_offset_is_that_of_asia_shanghai(moment: datetime) -> None:
    shanghai = moment.replace(microsecond=0, tzinfo=ZoneInfo("Asia/Shanghai"))
    text = shanghai.strftime("%Y%m%d%H%M%S")

    assert parse_time_stamp(text) == int(shanghai.timestamp()) * 1000
    assert format_time_stamp(int(shanghai.timestamp()) * 1000) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2021032803160",
        "202103280316080",
        "2021-03-28 03:",
        " 0210328031608",
        "+0210328031608",
        "2021032803_608",
        "2021032803160a",
        "２０２１０３２８０３１６０８",
        "²0210328031608",
        "20210328031608\n",
        "1616872568000",
        "00000101000000",
        "20210028031608",
        "20211328031608",
        "20210300031608",
        "20210230031608",
        "20230229031608",
        "21000229031608",
        "20210328240000",
        "20210328036008",
        "20210328031660",
    ],
)
def test_e3_what_is_no_time_is_400_05(text: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_time_stamp(text)
    assert raised.value.code is ErrorCode.TIMESTAMP

    with pytest.raises(ProtocolError) as raised:
        check_time_stamp(text, PRINTED_MS, 600)
    assert raised.value.code is ErrorCode.TIMESTAMP
    assert PRINTED in raised.value.errmsg


@pytest.mark.parametrize("offset_ms", [-600_000, -1, 0, 1, 600_000])
def test_e3_the_window_includes_its_ends(offset_ms: int) -> None:
    assert check_time_stamp(PRINTED, PRINTED_MS + offset_ms, 600) == PRINTED_MS


@pytest.mark.parametrize(("offset_ms", "server_time"), [(-600_001, "20210328030607"), (600_001, "20210328032608")])
def test_e3_outside_the_window_is_400_05_with_the_servers_time(offset_ms: int, server_time: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_time_stamp(PRINTED, PRINTED_MS + offset_ms, 600)

    assert raised.value.code is ErrorCode.TIMESTAMP
    assert raised.value.errmsg == f"timestamp 验证错误: timeStamp outside the window, server time {server_time}"


def test_e3_a_wider_window_lets_a_drifted_clock_through() -> None:
    assert check_time_stamp(PRINTED, PRINTED_MS + 3_600_000, 3600) == PRINTED_MS


def test_e4_a_replay_can_be_refused_in_the_same_words() -> None:
    error = time_stamp_error("C_AUTH repeated", PRINTED_MS)

    assert error.code is ErrorCode.TIMESTAMP
    assert error.errmsg == "timestamp 验证错误: C_AUTH repeated, server time 20210328031608"
