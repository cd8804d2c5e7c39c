"""param: the JSON object inside a request, its size and form (J1), and the loose types of its members (J2, J3).

What the members of one interface mean stands in sign_in.py and in the services.
"""

import re

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_text import (
    MAX_MARKS,
    Member,
    is_encodable,
    number_value,
    read_array,
    read_object,
    string_value,
)

_LARGEST_WHOLE_NUMBER = 2**53  # beyond it a double, and so most JSON libraries, no longer tells neighbours apart

_control_character = re.compile("[\x00-\x1f\x7f]").search


def has_control_character(text: str) -> bool:
    """They would spoil ids that are computed from sn and personId (U+001F separates their parts), lists that people
    read, and addresses."""
    return _control_character(text) is not None


class Param:
    """A param that was read: its text as sent, and its members in order with their positions in that text.

    Every read_… gives None where the member is absent or null, and raises ProtocolError (400_02) where it is not what
    was asked for. Several names are one field (J3); of repeated members the last counts (J1).
    """

    __slots__ = ("_last", "_max_marks", "members", "text")

    def __init__(self, text: str, members: list[Member], max_marks: int = MAX_MARKS) -> None:
        self.text = text
        self.members = members
        self._max_marks = max_marks
        self._last = {member.name: member for member in members}

    def get(self, *names: str) -> Member | None:
        """The member itself, whatever its value."""
        if len(names) == 1:
            return self._last.get(names[0])
        found = [self._last[name] for name in names if name in self._last]
        return max(found, key=lambda member: member.start, default=None)

    def read_text(self, *names: str) -> str | None:
        """A text, or a number as it was written (J2)."""
        member = self.get(*names)
        return None if member is None else _read_text(self.text, member.value_start, member.end, names[0], "text")

    def check_is_text(self, name: str) -> None:
        """A text or a number, whatever it says: what is kept as sent is not read (J5)."""
        member = self.get(name)
        if member is not None and self.text[member.value_start] in "{[tf":
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be text")

    def read_number(self, name: str) -> float | None:
        """A finite number, or a text of one (J2); None for an empty text as well."""
        member = self.get(name)
        if member is None:
            return None
        written = _read_text(self.text, member.value_start, member.end, name, "a number")
        written = written.strip() if written else None
        if not written:
            return None
        value = number_value(written)
        if value is None:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a number")
        return value

    def read_whole_number(self, name: str) -> int | None:
        """A whole number in any notation, or a text of one (J2); None for an empty text as well."""
        value = self.read_number(name)
        if value is None:
            return None
        if not value.is_integer() or abs(value) > _LARGEST_WHOLE_NUMBER:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a whole number")
        return int(value)

    def read_object(self, name: str) -> "Param | None":
        """An object, or JSON text of one (J2); None for an empty text as well."""
        member = self.get(name)
        if member is None:
            return None
        text = self._inner_text(member)
        if text in ("", "null"):
            return None
        try:
            return parse_param(text)
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be an object") from error

    def read_ids(self, *names: str) -> list[str] | None:
        """A list of ids, JSON text of one, or one bare id (J2)."""
        member = self.get(*names)
        if member is None:
            return None
        wanted = "a list of ids"
        text = self._inner_text(member)
        if not text.lstrip().startswith("["):
            bare = _read_text(self.text, member.value_start, member.end, names[0], wanted)
            return None if bare is None else [bare]
        try:
            spans = read_array(text)
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{names[0]} must be {wanted}") from error
        ids: list[str] = []
        for start, end in spans:
            value = _read_text(text, start, end, names[0], wanted)
            if value is None:
                raise ProtocolError(ErrorCode.PARAM, f"{names[0]} must be {wanted}")
            ids.append(value)
        return ids

    def read_objects(self, name: str) -> "list[Param] | None":
        """A list of objects, JSON text of one, or one bare object (J2); None for an empty text as well."""
        member = self.get(name)
        if member is None:
            return None
        text = self._inner_text(member)
        if text in ("", "null"):
            return None
        try:
            if not text.lstrip().startswith("["):
                return [parse_param(text, max_marks=self._max_marks)]
            return [parse_param(text[start:end], max_marks=self._max_marks) for start, end in read_array(text)]
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a list of objects") from error

    def _inner_text(self, member: Member) -> str:
        """The value as sent, or what it says where it is a string: JSON text may stand in one (J2)."""
        if self.text[member.value_start] in "\"'":
            return string_value(self.text, member.value_start, member.end)
        return self.text[member.value_start : member.end]


def parse_param(
    text: str, *, max_bytes: int | None = None, missing_commas: bool = False, max_marks: int = MAX_MARKS
) -> Param:
    """Reads a param, strict or loose (J1).

    Raises ProtocolError (400_02) where it is longer than `max_bytes` in UTF-8, is neither JSON nor JSON5, is not an
    object, has more than 64 brackets open at once, or more than `max_marks` commas, colons and opening brackets.
    """
    # A character is at least one byte, so a text with too many characters need not be encoded to be refused.
    if max_bytes is not None and (len(text) > max_bytes or len(text.encode("utf-8", "surrogatepass")) > max_bytes):
        raise ProtocolError(ErrorCode.PARAM, f"longer than {max_bytes} bytes")
    return Param(text, read_object(text, missing_commas=missing_commas, max_marks=max_marks), max_marks)


def _read_text(text: str, start: int, end: int, name: str, wanted: str) -> str | None:
    first = text[start]
    if first in "\"'":
        value = string_value(text, start, end)
        if not is_encodable(value):
            raise ProtocolError(ErrorCode.PARAM, f"{name} holds half a surrogate pair")
        return value
    written = text[start:end]
    if written == "null":
        return None
    if first in "{[" or written in ("true", "false"):
        raise ProtocolError(ErrorCode.PARAM, f"{name} must be {wanted}")
    return written
