"""Opaque cursors of lists. Pure."""

import base64
import hashlib
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query

from console_service.times import LATEST_MS
from shared.runtime.problems import Problem

PositionT = TypeVar("PositionT")
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=LATEST_MS)]
"""Of a position in a list that is ordered by time."""

Limit = Annotated[int, Query(ge=1, le=200, description="Most items of this page")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before, with the same filters")]


def encode_cursor(listed: str, position: tuple[str | int, ...]) -> str:
    """A cursor after `position`, the values that the list is ordered by. `listed` names the list and its filters: the
    cursor fits no other."""
    encoded = base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")
    return f"{encoded}.{_digest(listed, encoded)}"


def decode_cursor(listed: str, cursor: str, position_type: type[PositionT]) -> PositionT:
    """The position. Raises Problem 400 where encode_cursor did not make the cursor for this list and these filters."""
    encoded, _, digest = cursor.partition(".")
    try:
        position = msgspec.json.decode(
            base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=position_type
        )
    except ValueError:
        position = None
    if position is None or digest != _digest(listed, encoded):
        raise Problem(400, "the cursor is not one of this list with these filters")
    return position


def _digest(listed: str, encoded: str) -> str:
    # Not a signature: a cursor opens nothing that the filters do not. It tells a mistake from a position.
    return hashlib.sha256(f"{listed} {encoded}".encode()).hexdigest()[:16]
