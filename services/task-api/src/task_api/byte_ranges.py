"""Which bytes of a file a request wants (RFC 9110, 13 and 14): one range; of several the whole file is sent, as it may
be."""

import re
from typing import NamedTuple

from starlette.datastructures import Headers

_one_range = re.compile(r"bytes=[ \t]*([0-9]{0,99})-([0-9]{0,99})[ \t]*", re.IGNORECASE).fullmatch


class Span(NamedTuple):
    """The bytes [start, end)."""

    start: int
    end: int


class NotSatisfiable(Exception):
    """The range asked for has none of the file's bytes: 416."""


def is_unchanged(headers: Headers, etag: str) -> bool:
    """Whether the client has this already (If-None-Match): 304."""
    known = headers.get("if-none-match")
    if known is None:
        return False
    # Compared weakly (13.1.2); our tags hold no comma.
    return known.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in known.split(","))


def wanted_span(headers: Headers, etag: str, size: int) -> Span | None:
    """The span asked for; None: the whole file, also for a range that is not understood or no longer fits (If-Range).

    Raises NotSatisfiable.
    """
    match = _one_range(headers.get("range", ""))
    if match is None or headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if start >= size:
        raise NotSatisfiable
    return Span(start, end)
