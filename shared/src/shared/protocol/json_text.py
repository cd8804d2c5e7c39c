"""JSON text, strict or loose (JSON5), by position: where each member stands, what it says, and its compact form.

Nothing here knows what a member means. Numbers stay text; a value that nobody asks for is passed over, not built.
"""

import json
import math
import re
from collections.abc import Callable

import msgspec

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.strict_json import strict_compact

# 1. JSON5 holds all of strict JSON, so there is one grammar and one pass (J1). Beyond JSON5, a raw line break or
#    control character inside a string is taken as it stands: MIME-wrapped pictures have them (J6).
# 2. Every function works on positions in the whole text; `start` is the first character of a thing, `end` the one
#    after its last. Functions that take a start trust that a reader of this file found it there.
# 3. Cost is linear in the text. A long string is passed over by str.find, not by a pattern, which looks at each
#    character (4 MiB: 0.04 ms against 12 ms). Short scalars are passed over by one pattern, up to a hundred at once.
# 4. No pattern repeats a group possessively: before Python 3.11.5 such repeats could match wrongly (gh-106052). Only
#    single characters are; groups are written so that they can match in one way only.
# 5. What costs is the number of things in a text, far more than its length. They are counted before anything is read
#    (0.5 ms for 4 MiB), or one hostile param of a known terminal would hold up all others for seconds (rule 7).
# 6. Escapes are told apart by str.replace: once every pair of backslashes is gone, a backslash that is left begins an
#    escape. A Python step for each escape would be a second for 4 MiB of them.
# 7. An object of a few plain members is read first by a way of its own (6 µs with a picture of 30 KB, where the general
#    one takes 16): so few need not be counted, and gaps without comments are cheaper. It knows no text that the general
#    way does not read alike.

MAX_OPEN_BRACKETS = 64
MAX_MARKS = 20_000
"""Commas, colons and opening brackets of a text, without those in strings. The richest sign-in has about 50; the worst
text of this many is read in some 30 ms. Texts that hold whole rosters are given a larger bound."""
MAX_COMMENTS = 100_000
MAX_ODD_ESCAPES = 20_000
"""Escapes of a string that JSON5 allows and gives no meaning, as `\\q`."""
_FEW_MARKS = 50
_FEW_MEMBERS = 64
"""Each of at most twenty values with their names: far below MAX_MARKS."""
_LINE_BREAKS = "\n\r\u2028\u2029"

_SPACES = r" \t\n\r\v\f\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_LINE_COMMENT = r"//[^\n\r\u2028\u2029]*+"
_BLOCK_COMMENT = r"/\*[^*]*+\*++(?:[^/*][^*]*+\*++)*/"
_GAP = rf"[{_SPACES}]*+(?:(?:{_LINE_COMMENT}|{_BLOCK_COMMENT})[{_SPACES}]*+)*"
_SHORT_STRING = r"""(?:"[^"\\]{0,200}"|'[^'\\]{0,200}')"""
_SHORT_KEY = rf"(?:{_SHORT_STRING}|[A-Za-z_$][A-Za-z0-9_$]{{0,200}})"
_NUMBER = (
    r"[+-]?(?:0[xX][0-9a-fA-F]++|Infinity|NaN"
    r"|(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)"
)
_LITERAL = rf"(?:{_NUMBER}|true|false|null)(?![\w$.\\])"
_SCALAR = rf"(?:{_SHORT_STRING}|{_LITERAL})"


def _simple_value(gap: str) -> str:
    flat_object = rf"\{{(?:{gap}{_SHORT_KEY}{gap}:{gap}{_SCALAR}{gap}(?:,|(?=\}}))){{0,20}}{gap}\}}"
    flat_array = rf"\[(?:{gap}{_SCALAR}{gap}(?:,|(?=\]))){{0,20}}{gap}\]"
    return rf"(?:{_SCALAR}|{flat_object}|{flat_array})"


_SIMPLE = _simple_value(_GAP)
_BLANKS = r"[ \t\n\r]*+"
_MARK = rf"(,?{_BLANKS}\}}|,)"

# What stands in compact text as it stands in any text.
_STRICT_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_PLAIN_STRING = r'"[^"\\\x00-\x1f\ud800-\udfff]{0,200}"'
_PLAIN_SCALAR = rf"(?:{_PLAIN_STRING}|(?:{_STRICT_NUMBER}|true|false|null)(?![\w$.\\]))"

_Match = Callable[[str, int], re.Match[str] | None]
_gap: _Match = re.compile(_GAP).match
_literal: _Match = re.compile(_LITERAL).match
_bare_name: _Match = re.compile(rf"""[^{_SPACES}:,"'{{}}\[\]/]++""").match
_simple_member: _Match = re.compile(rf"{_GAP}({_SHORT_KEY}){_GAP}:{_GAP}({_SIMPLE}){_GAP}([,}}])").match
_simple_members: _Match = re.compile(rf"(?:{_GAP}{_SHORT_KEY}{_GAP}:{_GAP}{_SIMPLE}{_GAP},){{0,100}}{_GAP}").match
_simple_elements: _Match = re.compile(rf"(?:{_GAP}{_SIMPLE}{_GAP},){{0,100}}{_GAP}").match
_few_member: _Match = re.compile(
    rf"{_BLANKS}({_SHORT_KEY}){_BLANKS}:{_BLANKS}(?:({_simple_value(_BLANKS)}){_BLANKS}{_MARK}|(?=[\"']))"
).match
_after_value: _Match = re.compile(rf"{_BLANKS}{_MARK}").match
_plain_member: _Match = re.compile(
    rf"{_GAP}({_PLAIN_STRING}|[A-Za-z_$][A-Za-z0-9_$]{{0,200}}){_GAP}:{_GAP}({_PLAIN_SCALAR}){_GAP}(?:,|(?=\}}))"
).match
_broken_escape = re.compile(r"\\(?:u(?![0-9a-fA-F]{4})|x(?![0-9a-fA-F]{2})|[1-9]|0[0-9])").search
_odd_escapes = re.compile(r"\\([^\"\\/bfnrtu])", re.DOTALL)
_strings = re.compile(r"""\"[^\"]*+\"|'[^']*+'""")
_lone_halves = re.compile("[\ud800-\udfff]")
_JOINERS = "\u200c\u200d"
_BEYOND_PYTHON = re.compile(f"[${_JOINERS}]")
_unicode_escapes_only = re.compile(r"[^\\]*+(?:\\u[0-9a-fA-F]{4}[^\\]*+)*").fullmatch
_strict_number = re.compile(_STRICT_NUMBER).fullmatch
_loose_number = re.compile(_NUMBER).fullmatch

_quote = json.JSONEncoder(ensure_ascii=False).encode
_unquote = json.JSONDecoder(strict=False).decode


class Member(msgspec.Struct, frozen=True, gc=False):
    """A member of an object: its name, where it starts (with its name), and where its value starts and ends."""

    name: str
    start: int
    value_start: int
    end: int


# ── reading: each raises ProtocolError (400_02) where the text is not JSON ────────────────────────────────────────


def read_object(text: str, *, missing_commas: bool = False, max_marks: int = MAX_MARKS) -> list[Member]:
    """The members of the one object that the text is, in order, repeated ones included.

    `missing_commas` also takes an object whose members follow one another without a comma (2.1.4). Raises
    ProtocolError (400_02) where the text is anything else, has too many brackets open at once, or too much in it.
    """
    few = _read_few_members(text)
    if few is not None:
        return few
    _check_amount(text, max_marks)
    start = _skip(_gap, text, 0)
    if not text.startswith("{", start):
        _check_is_last(text, _skip_value(text, start, 0))
        raise ProtocolError(ErrorCode.PARAM, "not a JSON object")
    members, end = _read_members(text, start, missing_commas)
    _check_is_last(text, end)
    return members


def _read_few_members(text: str) -> list[Member] | None:
    """The members of an object of a few plain ones; None of any other text (rule 7)."""
    members: list[Member] = []
    position = 1 if text.startswith("{") else len(text)
    while len(members) < _FEW_MEMBERS:
        found = _few_member(text, position)
        if found is None:
            return None
        name, value, mark = found.groups()
        if name[0] in "\"'":
            name = name[1:-1]
        if value is None:  # a long string, or one with escapes
            start, value_start = found.start(1), found.end()
            end = _skip_string(text, value_start)
            found = _after_value(text, end)
            if found is None:
                return None
            mark = found[1]
            members.append(Member(name, start, value_start, end))
        else:
            members.append(Member(name, found.start(1), *found.span(2)))
        position = found.end()
        if mark != ",":
            return members if position == len(text) else None
    return None


def _check_amount(text: str, max_marks: int) -> None:
    if len(text) <= max_marks:
        return
    if _count(text, ",:[{") > max_marks and _count(_without_strings(text, max_marks), ",:[{") > max_marks:
        raise ProtocolError(ErrorCode.PARAM, "too many values")
    # One character is looked for by memchr, two are not: a picture is full of slashes, and has no asterisk.
    if "*" in text and "/*" in text and text.count("/*") > MAX_COMMENTS:
        raise ProtocolError(ErrorCode.PARAM, "too many comments")
    # A line comment needs a line break; a picture may have many slashes, or many breaks, but not both.
    if _count(text, _LINE_BREAKS) > MAX_COMMENTS and text.count("//") > MAX_COMMENTS:
        raise ProtocolError(ErrorCode.PARAM, "too many comments")


def _count(text: str, marks: str) -> int:
    return sum(_count_one(text, mark) for mark in marks)


def _count_one(text: str, mark: str) -> int:
    # str.find goes by memchr, twenty times as fast as str.count: few marks in a long text are found one by one.
    position, found = -1, 0
    while found < _FEW_MARKS:
        position = text.find(mark, position + 1)
        if position == -1:
            return found
        found += 1
    return text.count(mark)


def _without_strings(text: str, max_marks: int) -> str:
    """For counting alone. Where quotes may be no strings' (in a comment), or are too many, they are left in."""
    bare = text.replace("\\\\", "").replace('\\"', "").replace("\\'", "")
    hidden = "/*" in bare or ("//" in bare and _count(bare, _LINE_BREAKS) > 0)
    if hidden or _count(bare, "\"'") > 4 * max_marks:
        return bare
    return _strings.sub("", bare)


def read_array(text: str) -> list[tuple[int, int]]:
    """Where each element of the one array that the text is starts and ends. Raises ProtocolError (400_02)."""
    start = _skip(_gap, text, 0)
    _check_is_last(text, _skip_value(text, start, 0))
    if not text.startswith("[", start):
        raise ProtocolError(ErrorCode.PARAM, "not a JSON array")
    return elements_at(text, start)


def _check_is_last(text: str, end: int) -> None:
    end = _skip(_gap, text, end)
    if end != len(text):
        raise _not_json(end)


def _not_json(position: int) -> ProtocolError:
    return ProtocolError(ErrorCode.PARAM, f"not JSON at character {position + 1}")


def _skip(match: _Match, text: str, position: int) -> int:
    found = match(text, position)
    return found.end() if found else position


def _read_members(text: str, start: int, missing_commas: bool) -> tuple[list[Member], int]:
    members: list[Member] = []
    position = start + 1
    while True:
        simple = _simple_member(text, position)
        if simple:
            name, _, after = simple.groups()
            if name[0] in "\"'":
                name = name[1:-1]
            members.append(Member(name, simple.start(1), *simple.span(2)))
            position = simple.end()
            if after == "}":
                return members, position
            continue
        position = _skip(_gap, text, position)
        if text.startswith("}", position):
            return members, position + 1
        member = _read_member(text, position, 1)
        members.append(member)
        position = _skip(_gap, text, member.end)
        if text.startswith(",", position):
            position += 1
        elif not missing_commas and not text.startswith("}", position):
            raise _not_json(position)


def _read_member(text: str, start: int, open_brackets: int) -> Member:
    name, position = _read_name(text, start)
    value_start = _skip_colon(text, position)
    return Member(name, start, value_start, _skip_value(text, value_start, open_brackets))


def _skip_colon(text: str, position: int) -> int:
    position = _skip(_gap, text, position)
    if not text.startswith(":", position):
        raise _not_json(position)
    return _skip(_gap, text, position + 1)


def _read_name(text: str, start: int) -> tuple[str, int]:
    if text.startswith(('"', "'"), start):
        end = _skip_string(text, start)
        return string_value(text, start, end), end
    end = _skip(_bare_name, text, start)
    name = text[start:end]
    if "\\" in name:
        if not _unicode_escapes_only(name):
            raise _not_json(start)
        name = _unescape(name)
    # JSON5 takes ECMAScript's identifiers: those of Python, with $, and behind the first character two joiners.
    if not _BEYOND_PYTHON.sub("_", name).isidentifier() or name[0] in _JOINERS:
        raise _not_json(start)
    return name, end


def _skip_value(text: str, start: int, open_brackets: int) -> int:
    first = text[start : start + 1]
    if first == '"' or first == "'":
        return _skip_string(text, start)
    if first == "{" or first == "[":
        if open_brackets == MAX_OPEN_BRACKETS:
            raise ProtocolError(ErrorCode.PARAM, f"more than {MAX_OPEN_BRACKETS} brackets open at once")
        skip_rest = _skip_object if first == "{" else _skip_array
        return skip_rest(text, start, open_brackets + 1)
    end = _skip(_literal, text, start)
    if end == start:
        raise _not_json(start)
    return end


def _skip_object(text: str, start: int, open_brackets: int) -> int:
    run = _gap if open_brackets == MAX_OPEN_BRACKETS else _simple_members
    position = start + 1
    while True:
        position = _skip(run, text, position)
        if text.startswith("}", position):
            return position + 1
        member = _read_member(text, position, open_brackets)
        position = _skip(_gap, text, member.end)
        if text.startswith("}", position):
            return position + 1
        if not text.startswith(",", position):
            raise _not_json(position)
        position += 1


def _skip_array(text: str, start: int, open_brackets: int) -> int:
    run = _gap if open_brackets == MAX_OPEN_BRACKETS else _simple_elements
    position = start + 1
    while True:
        position = _skip(run, text, position)
        if text.startswith("]", position):
            return position + 1
        position = _skip(_gap, text, _skip_value(text, position, open_brackets))
        if text.startswith("]", position):
            return position + 1
        if not text.startswith(",", position):
            raise _not_json(position)
        position += 1


def _skip_string(text: str, start: int) -> int:
    quote = text[start]
    end = text.find(quote, start + 1)
    if end == -1:
        raise _not_json(start)
    if text[end - 1] == "\\":
        end = _find_unescaped(text, quote, start + 1)
    if text.find("\\", start + 1, end) != -1:
        broken = _broken_escape(text[start + 1 : end].replace("\\\\", "  "))
        if broken:
            raise _not_json(start + 1 + broken.start())
    return end + 1


def _find_unescaped(text: str, quote: str, start: int) -> int:
    size = 4096
    while True:
        part = text[start : start + size]
        end = part.replace("\\\\", "  ").replace("\\" + quote, "  ").find(quote)
        if end != -1:
            return start + end
        if len(part) < size:
            raise _not_json(start - 1)
        size *= 8


# ── values that were read ─────────────────────────────────────────────────────────────────────────────────────────


def string_value(text: str, start: int, end: int) -> str:
    """What the string between these positions says. Lone surrogates stay: the text may not be encodable."""
    if text.find("\\", start, end) == -1:
        return text[start + 1 : end - 1]
    body = text[start + 1 : end - 1]
    try:
        value: str = _unquote(f'"{body}"')
    except ValueError:
        return _unescape(body)  # an escape that only JSON5 has, or a double quote between single ones
    return value


def _unescape(body: str) -> str:
    """What JSON5's escapes say: they are rewritten as strict JSON's, which a C function reads."""
    body = body.replace("\\\\", "\\u005c")  # from here on a backslash begins an escape
    for line_break in ("\r\n", *_LINE_BREAKS):  # a string goes on in the next line
        body = body.replace("\\" + line_break, "")
    body = body.replace("\\x", "\\u00").replace("\\v", "\\u000b").replace("\\0", "\\u0000")
    body = body.replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
    body, odd = _odd_escapes.subn(r"\1", body, MAX_ODD_ESCAPES)
    if odd == MAX_ODD_ESCAPES:
        raise ProtocolError(ErrorCode.PARAM, "too many escapes")
    value: str = _unquote(f'"{body}"')
    return value


def number_value(written: str) -> float | None:
    """The number written so, in any notation of JSON or JSON5; None where it is no number or not a finite one."""
    if len(written) > 64 or not _loose_number(written):
        return None
    if "x" in written or "X" in written:
        return float(int(written, 16))
    value = float(written)
    return value if math.isfinite(value) else None


def members_at(text: str, start: int) -> list[Member]:
    """The members of the object that starts here."""
    return _read_members(text, start, missing_commas=True)[0]


def elements_at(text: str, start: int) -> list[tuple[int, int]]:
    """Where each element of the array that starts here starts and ends."""
    spans: list[tuple[int, int]] = []
    position = _skip(_gap, text, start + 1)
    while not text.startswith("]", position):
        end = _skip_value(text, position, 0)
        spans.append((position, end))
        position = _skip(_gap, text, end)
        if text.startswith(",", position):
            position = _skip(_gap, text, position + 1)
    return spans


def compact(text: str, start: int = 0, *, sort_keys: bool = False, strict_numbers: bool = False) -> str:
    """The value re-serialised without white space: names in the order of their first appearance, or sorted at every
    level; the last of repeated members; non-ASCII unescaped; numbers as they were written.

    `strict_numbers` writes those that only JSON5 knows in such a way that the whole is strict JSON.
    """
    if start == 0 and not sort_keys:
        written = strict_compact(text)  # 1 µs for a sign-in of three members, which else takes 4
        if written is not None:
            return written
    return _compact(text, _skip(_gap, text, start), sort_keys, strict_numbers)[0]


def _compact(text: str, start: int, sort_keys: bool, strict_numbers: bool) -> tuple[str, int]:
    first = text[start]
    if first == "{":
        return _compact_object(text, start, sort_keys, strict_numbers)
    if first == "[":
        return _compact_array(text, start, sort_keys, strict_numbers)
    end = _skip_value(text, start, 0)
    if first in "\"'":
        return quoted(string_value(text, start, end)), end
    literal = text[start:end]
    return (_strict_literal(literal) if strict_numbers else literal), end


def _compact_object(text: str, start: int, sort_keys: bool, strict_numbers: bool) -> tuple[str, int]:
    values: dict[str, str] = {}
    position = start + 1
    while True:
        plain = _plain_member(text, position)
        if plain:
            name, value = plain.groups()
            values[name.strip('"')] = value
            position = plain.end()
            continue
        position = _skip(_gap, text, position)
        if text.startswith("}", position):
            break
        name, position = _read_name(text, position)
        values[name], position = _compact(text, _skip_colon(text, position), sort_keys, strict_numbers)
        position = _skip(_gap, text, position)
        if text.startswith(",", position):
            position += 1
    # By code point. Libraries that sort by UTF-16 units differ for names beyond U+FFFF alone, which nobody sends.
    names = sorted(values) if sort_keys else values
    return "{" + ",".join([f"{quoted(name)}:{values[name]}" for name in names]) + "}", position + 1


def _compact_array(text: str, start: int, sort_keys: bool, strict_numbers: bool) -> tuple[str, int]:
    values: list[str] = []
    position = _skip(_gap, text, start + 1)
    while not text.startswith("]", position):
        value, position = _compact(text, position, sort_keys, strict_numbers)
        values.append(value)
        position = _skip(_gap, text, position)
        if text.startswith(",", position):
            position = _skip(_gap, text, position + 1)
    return "[" + ",".join(values) + "]", position + 1


def is_encodable(value: str) -> bool:
    """False where the text holds half a surrogate pair, which JSON's escapes can spell and UTF-8 cannot."""
    return value.isascii() or not _lone_halves.search(value)


def quoted(value: str) -> str:
    """A JSON string as the common libraries write it: quotes, backslashes and control characters escaped, no more;
    and lone surrogates, so that the text can be encoded."""
    written = _quote(value)
    if written.isascii():
        return written
    return _lone_halves.sub(lambda lone: f"\\u{ord(lone[0]):04x}", written)


def _strict_literal(literal: str) -> str:
    if literal in ("true", "false", "null") or _strict_number(literal):
        return literal
    sign = "-" if literal[0] == "-" else ""
    digits = literal.lstrip("+-")
    if digits[:2] in ("0x", "0X") and len(digits) <= 34:
        return f"{sign}{int(digits, 16)}"
    if digits[0] == "." or (digits[0].isdigit() and digits[:2] not in ("0x", "0X")):
        whole, dot, rest = digits.partition(".")
        if dot and not rest[:1].isdigit():
            dot = ""
        return f"{sign}{whole or '0'}{dot}{rest}"
    return quoted(literal)  # Infinity, NaN, a hexadecimal number of absurd length: JSON has no such number
