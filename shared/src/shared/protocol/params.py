"""param: the JSON object inside a request, its size and form (J1), and the loose types of its members (J2, J3).

What the members of one interface mean stands in sign_in.py and in the services.
"""

import re
from collections.abc import Sequence, Set

from msgspec import Raw

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
from shared.protocol.strict_json import strict_scalar, strict_values

_LARGEST_WHOLE_NUMBER = 2**53  # beyond it a double, and so most JSON libraries, no longer tells neighbours apart

_control_character = re.compile("[\x00-\x1f\x7f]").search
_plain_whole_number = re.compile("[1-9][0-9]{0,14}").fullmatch  # as nearly all are: a third of the general way


def has_control_character(text: str) -> bool:
    """They would spoil ids that are computed from sn and personId (U+001F separates their parts), lists that people
    read, and addresses."""
    # What can be printed holds none: a sixth of what the pattern takes.
    return not text.isprintable() and _control_character(text) is not None


class Param:
    """A param that was read: its text as sent, and its members.

    Every read_… gives None where the member is absent or null, and raises ProtocolError (400_02) where it is not what
    was asked for. Several names are one field (J3); of repeated members the last counts (J1).
    """

    __slots__ = ("_found", "_max_marks", "_members", "text")

    def __init__(self, text: str, found: dict[str, Raw] | list[Member], max_marks: int) -> None:
        self.text = text
        self._max_marks = max_marks
        self._members = None if isinstance(found, dict) else found
        self._found: dict[str, Raw] | dict[str, Member] = (
            found if isinstance(found, dict) else {member.name: member for member in found}
        )
        """The last of each name: its value where the text is short and strict, else its member."""

    @property
    def members(self) -> list[Member]:
        """All of them in order with their places, repeated ones included."""
        if self._members is None:
            self._members = read_object(self.text)
        return self._members

    @property
    def names(self) -> Set[str]:
        """The members' names."""
        return self._found.keys()

    def get(self, name: str) -> Member | None:
        """The member with its place, whatever its value."""
        if name not in self._found:
            return None
        return next(member for member in reversed(self.members) if member.name == name)

    def written(self, *names: str) -> str | None:
        """The value as it stands in the text."""
        found = self._find(names)
        return None if found is None else self._written(found)

    def _find(self, names: Sequence[str]) -> Raw | Member | None:
        return self._found.get(names[0] if len(names) == 1 else self._last_of(names))

    def _written(self, found: Raw | Member) -> str:
        return str(found, "utf-8") if isinstance(found, Raw) else self.text[found.value_start : found.end]

    def _last_of(self, names: Sequence[str]) -> str:
        """Which of these names is the last member's that has one of them."""
        found = [name for name in names if name in self._found]
        if len(found) > 1:
            return next(member.name for member in reversed(self.members) if member.name in names)
        return found[0] if found else names[0]

    def read_text(self, *names: str) -> str | None:
        """A text, or a number as it was written (J2)."""
        found = self._find(names)
        if isinstance(found, Raw):
            said = strict_scalar(found)  # half of what the general way takes, which numbers go
            if said is None or isinstance(said, str):
                return said
        return None if found is None else _read_text(self._written(found), names[0], "text")

    def check_is_text(self, name: str) -> None:
        """A text or a number, whatever it says: what is kept as sent is not read (J5)."""
        written = self.written(name)
        if written is not None and written[0] in "{[tf":
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be text")

    def read_number(self, name: str) -> float | None:
        """A finite number, or a text of one (J2); None for an empty text as well."""
        found = self._found.get(name)
        if found is None:
            return None
        if isinstance(found, Raw):
            said = strict_scalar(found)
            if type(said) is int and 0 < abs(said) <= _LARGEST_WHOLE_NUMBER:  # -0 stays what it is
                return float(said)
        written = _read_text(self._written(found), name, "a number")
        written = written.strip() if written else None
        if not written:
            return None
        value = number_value(written)
        if value is None:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a number")
        return value

    def read_whole_number(self, name: str) -> int | None:
        """A whole number in any notation, or a text of one (J2); None for an empty text as well."""
        found = self._found.get(name)
        if isinstance(found, Member) and _plain_whole_number(self.text, found.value_start, found.end):
            return int(self.text[found.value_start : found.end])
        value = self.read_number(name)
        if value is None:
            return None
        if not value.is_integer() or abs(value) > _LARGEST_WHOLE_NUMBER:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a whole number")
        return int(value)

    def read_object(self, name: str) -> "Param | None":
        """An object, or JSON text of one (J2); None for an empty text as well."""
        written = self.written(name)
        if written is None:
            return None
        text = _inner_text(written)
        if text in ("", "null"):
            return None
        try:
            return parse_param(text)
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be an object") from error

    def read_ids(self, *names: str) -> list[str] | None:
        """A list of ids, JSON text of one, or one bare id (J2)."""
        written = self.written(*names)
        if written is None:
            return None
        wanted = "a list of ids"
        text = _inner_text(written)
        if not text.lstrip().startswith("["):
            bare = _read_text(written, names[0], wanted)
            return None if bare is None else [bare]
        try:
            spans = read_array(text)
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{names[0]} must be {wanted}") from error
        ids: list[str] = []
        for start, end in spans:
            value = _read_text(text[start:end], names[0], wanted)
            if value is None:
                raise ProtocolError(ErrorCode.PARAM, f"{names[0]} must be {wanted}")
            ids.append(value)
        return ids

    def read_objects(self, name: str) -> "list[Param] | None":
        """A list of objects, JSON text of one, or one bare object (J2); None for an empty text as well."""
        written = self.written(name)
        if written is None:
            return None
        text = _inner_text(written)
        if text in ("", "null"):
            return None
        try:
            if not text.lstrip().startswith("["):
                return [parse_param(text, max_marks=self._max_marks)]
            return [parse_param(text[start:end], max_marks=self._max_marks) for start, end in read_array(text)]
        except ProtocolError as error:
            raise ProtocolError(ErrorCode.PARAM, f"{name} must be a list of objects") from error


def parse_param(
    text: str, *, max_bytes: int | None = None, missing_commas: bool = False, max_marks: int = MAX_MARKS
) -> Param:
    """Reads a param, strict or loose (J1).

    Raises ProtocolError (400_02) where it is longer than `max_bytes` in UTF-8, is neither JSON nor JSON5, is not an
    object, has more than 64 brackets open at once, or more than `max_marks` commas, colons and opening brackets.
    """
    # A character is one to four bytes: most texts need not be encoded to be taken or refused.
    if (
        max_bytes is not None
        and 4 * len(text) > max_bytes
        and (len(text) > max_bytes or len(text.encode("utf-8", "surrogatepass")) > max_bytes)
    ):
        raise ProtocolError(ErrorCode.PARAM, f"longer than {max_bytes} bytes")
    values = strict_values(text) if len(text) <= max_marks else None
    if values is None:
        return Param(text, read_object(text, missing_commas=missing_commas, max_marks=max_marks), max_marks)
    return Param(text, values, max_marks)


def _inner_text(written: str) -> str:
    """The value as sent, or what it says where it is a string: JSON text may stand in one (J2)."""
    return string_value(written, 0, len(written)) if written[0] in "\"'" else written


def _read_text(written: str, name: str, wanted: str) -> str | None:
    first = written[0]
    if first in "\"'":
        value = string_value(written, 0, len(written))
        if not is_encodable(value):
            raise ProtocolError(ErrorCode.PARAM, f"{name} holds half a surrogate pair")
        return value
    if written == "null":
        return None
    if first in "{[" or written in ("true", "false"):
        raise ProtocolError(ErrorCode.PARAM, f"{name} must be {wanted}")
    return written
