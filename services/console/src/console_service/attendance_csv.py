"""Attendances as lines of CSV (RFC 4180), safe to open in a spreadsheet. Pure.

A cell that comes from outside may begin as a formula does, and spreadsheets run it: an apostrophe before it makes it
text (OWASP, CSV injection). Numbers are written as such.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

from shared.domain.attendance import parse_rfc3339
from shared.stores.interfaces import AttendanceRecord

COLUMNS = (
    "eventId",
    "sn",
    "vendorId",
    "personId",
    "siteId",
    "direction",
    "type",
    "recordTime",
    "recordTimeMs",
    "sentAt",
    "receivedAt",
    "temperature",
    "hasImage",
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""The last four are what a Chinese keyboard makes of the first: some spreadsheets read them alike."""

SHANGHAI = timezone(timedelta(hours=8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def header_line() -> bytes:
    """The names of the columns."""
    return _lines([COLUMNS])


def attendance_lines(records: Sequence[AttendanceRecord]) -> bytes:
    """A line each."""
    return _lines([_cells(record) for record in records])


def plain(text: str | None) -> str:
    """A cell with this text, which no spreadsheet takes for a formula; empty for None."""
    if text is None:
        return ""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def shanghai_time(epoch_ms: int) -> str:
    """`2026-11-24T15:00:00.000+08:00`: the time on the wall of the site."""
    moment = (_EPOCH + timedelta(milliseconds=epoch_ms)).astimezone(SHANGHAI)
    return moment.isoformat(timespec="milliseconds")


def _cells(record: AttendanceRecord) -> Sequence[object]:
    event = record.event
    return (
        event.event_id,
        plain(event.sn),
        plain(event.vendor_id),
        plain(event.person_id),
        plain(event.site_id),
        event.direction,
        event.type,
        shanghai_time(event.record_time),
        event.record_time,
        shanghai_time(parse_rfc3339(event.sent_at)),
        shanghai_time(parse_rfc3339(event.received_at)),
        event.temperature,
        "true" if record.has_image else "false",
    )


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
