"""timeStamp: yyyyMMddHHmmss in Asia/Shanghai, and the window around the server's time (E3). The time is an argument."""

from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

from shared.protocol.errors import ErrorCode, ProtocolError

_OFFSET_HOURS = 8
SHANGHAI = timezone(timedelta(hours=_OFFSET_HOURS))
"""A fixed offset: China has had no daylight saving time since 1991, and no request is that old."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()


@lru_cache(maxsize=4096)  # a fleet sends the same few seconds over and over
def parse_time_stamp(text: str) -> int:
    """Milliseconds since the epoch. Raises ProtocolError(TIMESTAMP) for anything but 14 digits of a real time."""
    # isdigit alone would let other scripts' digits pass, and int() signs, blanks and underscores
    if len(text) != 14 or not text.isascii() or not text.isdigit():
        raise ProtocolError(ErrorCode.TIMESTAMP, "timeStamp is not yyyyMMddHHmmss")
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:])
    if hour > 23 or minute > 59 or second > 59:
        raise ProtocolError(ErrorCode.TIMESTAMP, "timeStamp is no time of day")
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise ProtocolError(ErrorCode.TIMESTAMP, "timeStamp is no calendar date") from error
    return ((day * 24 + hour - _OFFSET_HOURS) * 3600 + minute * 60 + second) * 1000


def check_time_stamp(text: str, now_ms: int, window_seconds: int) -> int:
    """As parse_time_stamp, and within the window, its ends included.

    Raises ProtocolError(TIMESTAMP) with the server's time, by which a terminal can set its clock (E3).
    """
    try:
        sent_at_ms = parse_time_stamp(text)
    except ProtocolError as error:
        raise time_stamp_error(error.detail, now_ms) from error
    if abs(sent_at_ms - now_ms) > window_seconds * 1000:
        raise time_stamp_error("timeStamp outside the window", now_ms)
    return sent_at_ms


def time_stamp_error(reason: str, now_ms: int) -> ProtocolError:
    """A 400_05 as E3 wants it: the reason and the server's time."""
    return ProtocolError(ErrorCode.TIMESTAMP, f"{reason}, server time {format_time_stamp(now_ms)}")


def format_time_stamp(epoch_ms: int) -> str:
    """yyyyMMddHHmmss of the second in which the time lies."""
    return datetime.fromtimestamp(epoch_ms // 1000, SHANGHAI).strftime("%Y%m%d%H%M%S")
