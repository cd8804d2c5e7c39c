"""What a strict JSON object says and which of its texts may be signed, by Python's own json and the words of S3 and S4.
Nothing of it is under test."""

import json
import re
from typing import Any

from tests.unit.shared.protocol.json_texts import Number, compact
from tests.unit.shared.protocol.test_signatures import naive_cut

MAX_OPEN = 64
"""J1; a bracket inside a string may be counted here, and then there is no reference for the text."""

_lone_halves = re.compile("[\ud800-\udfff]")


def members_of(text: str) -> dict[str, Any] | None:
    """The members, numbers in the text they have; None where the text is no strict object, or this cannot tell."""
    if text.count("[") + text.count("{") > MAX_OPEN:
        return None
    try:
        read = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def signed_texts(text: str, members: dict[str, Any], *, without_img: bool) -> set[str]:
    """The texts of a param whose sign is right: as sent, compact, sorted (S3); the last two may be one."""
    if not without_img:
        return {text, written(members), written(members, sort=True)}
    kept = {name: value for name, value in members.items() if name != "img"}
    return {naive_cut(text), written(kept), written(kept, sort=True)}


def written(members: dict[str, Any], *, sort: bool = False) -> str:
    """The compact or the sorted form; half a surrogate pair, which no UTF-8 spells, as the escape that it was."""
    return _lone_halves.sub(lambda lone: f"\\u{ord(lone[0]):04x}", compact(members, sort=sort))
