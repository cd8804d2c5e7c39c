"""Times as the REST API takes and gives them. Pure."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from shared.domain.attendance import parse_rfc3339

LATEST_MS = 253_402_300_799_999
"""9999-12-31, the last day that databases can store."""
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
"""A plus that was not escaped in a query arrives as a space, so it is read as one."""

Moment = Annotated[
    str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-24T07:00:00.000Z"]})
]
"""RFC 3339 in UTC with milliseconds, as shared.domain.attendance.rfc3339 writes it."""


def read_time(value: object) -> object:
    """Epoch milliseconds of a time as it was sent; None of none. Raises ValueError where it is neither form."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        time_ms = value
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        time_ms = int(value)
    elif isinstance(value, str) and _RFC_3339.fullmatch(value):
        time_ms = parse_rfc3339(value[:11].upper() + value[11:].upper().replace(" ", "+"))
    else:
        raise ValueError("neither epoch milliseconds nor RFC 3339 with an offset, as 2026-11-24T15:00:00+08:00")
    if not 0 <= time_ms <= LATEST_MS:
        raise ValueError("a time before 1970 or after 9999")
    return time_ms


Time = Annotated[
    int | None,
    BeforeValidator(read_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": LATEST_MS},
                {"type": "string", "format": "date-time"},
            ],
            "examples": ["2026-11-24T15:00:00+08:00"],
        }
    ),
]
"""Epoch milliseconds, given as such or as RFC 3339."""
