"""Short objects in strict JSON, which is what nearly every terminal sends, by a C library (J1: strict JSON first).

Whatever this gives None for is json_text.py's; what both read, both read alike.
"""

import msgspec

_MAX_CHARACTERS = 8_192
"""Of longer texts the place of a picture is wanted, and a string is passed over faster by str.find."""
_MAX_BRACKETS = 64
"""json_text's bound, here of all brackets, closed ones and those in strings included."""

_FEWEST_CHARACTERS = 2 * _MAX_BRACKETS
"""A text must be longer than this to have more brackets open at once."""

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_scalar = msgspec.json.Decoder(str | int | float | bool | None).decode


def strict_values(text: str) -> dict[str, msgspec.Raw] | None:
    """Each value as it stands in the text, by its name, the last where one is repeated; None for anything else."""
    # 0.2 µs for a sign-in of three members, which the general reader takes 4 µs for.
    length = len(text)
    if length > _MAX_CHARACTERS:
        return None
    if length > _FEWEST_CHARACTERS and text.count("[") + text.count("{") > _MAX_BRACKETS:
        return None
    if text[1:2].isidentifier():
        return None  # a name without quotes, as the standard prints them: an exception would be 1 µs
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):  # the latter of half a surrogate pair
        return None


def strict_scalar(value: msgspec.Raw) -> object:
    """What a value says; the value itself where it is an object, an array, or a number beyond all floats."""
    try:
        return _decode_scalar(value)
    except msgspec.DecodeError:
        return value


def strict_compact(text: str) -> str | None:
    """The compact form (S3) of an object that holds no other, repeats no name and escapes nothing; else None."""
    values = strict_values(text)
    if values is None or "\\" in text or text.count("{") > 1:
        return None
    written = msgspec.json.format(text, indent=-1)
    # A quote before a colon ends a name, or begins a string that begins with a colon; then there are too many.
    return written if written.count('":') == len(values) else None
