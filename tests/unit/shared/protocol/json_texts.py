"""Random JSON texts for property tests: values, and the many ways in which a text can spell one."""

import json
from typing import Any

from hypothesis import strategies as st

Value = Any


class Number(str):
    """A number as it is written; not a text."""

    __slots__ = ()


_digits = st.integers(min_value=0, max_value=10**30).map(str)
numbers = st.one_of(
    st.sampled_from(["0", "-0", "36.70", "1e3", "1.6E12", "6541951958563696640", "1609744974000", "-1.50e-7"]),
    st.tuples(st.sampled_from(["", "-"]), _digits, st.sampled_from(["", ".0", ".50", "e2", "E+10"])).map("".join),
).map(Number)
strings = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["img", "\\", '"', "/", "}", "{", '],"img":"', "\u2028", "中文", "😀", "\x00", "a\nb", "'", "//", "/*"]
    ),
)
scalars: st.SearchStrategy[Value] = st.one_of(strings, numbers, st.booleans(), st.none())
names = st.one_of(st.sampled_from(["img", "data", "a", "b", "type", "personId", "名", "$set", "a.b", ""]), strings)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
pairs = st.lists(st.tuples(names, values), max_size=6)
"""The members of an object, repeated names included."""


def quote(value: str) -> str:
    """By Python's own json; nothing of it is under test."""
    return json.dumps(value, ensure_ascii=False)


def compact(value: Value, *, sort: bool = False) -> str:
    """The reference for the compact and the sorted form."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        ordered = sorted(value) if sort else list(value)
        return "{" + ",".join(f"{quote(name)}:{compact(value[name], sort=sort)}" for name in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(compact(each, sort=sort) for each in value) + "]"
    return quote(value) if isinstance(value, str) else json.dumps(value)


def merged(members: list[tuple[str, Value]]) -> dict[str, Value]:
    """Repeated members as a map has them: the place of the first, the value of the last."""
    return dict(members)


class Writer:
    """Spells values as strict JSON, choosing white space and escapes by what hypothesis draws."""

    spaces: tuple[str, ...] = ("", "", "", " ", "\n", "\t", " \r\n ")

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def pick(self, *choices: str) -> str:
        chosen: str = self._draw(st.sampled_from(choices))
        return chosen

    def gap(self) -> str:
        return self.pick(*self.spaces)

    def object(self, members: list[tuple[str, Value]]) -> str:
        written = [f"{self.gap()}{self.name(name)}{self.gap()}:{self.value(value)}" for name, value in members]
        return "{" + ",".join(written) + self.end(bool(members)) + "}"

    def value(self, value: Value) -> str:
        return self.gap() + self._bare(value) + self.gap()

    def _bare(self, value: Value) -> str:
        if isinstance(value, Number):
            return self.number(value)
        if isinstance(value, dict):
            return self.object(list(value.items()))
        if isinstance(value, list):
            return "[" + ",".join(self.value(each) for each in value) + self.end(bool(value)) + "]"
        return self.string(value) if isinstance(value, str) else json.dumps(value)

    def name(self, name: str) -> str:
        return self.string(name)

    def number(self, number: Number) -> str:
        return str(number)

    def end(self, has_members: bool) -> str:
        return self.gap()

    def string(self, value: str) -> str:
        how = self.pick("plain", "plain", "ascii", "slash")
        written = json.dumps(value, ensure_ascii=how == "ascii")
        return written.replace("/", "\\/") if how == "slash" else written


class LooseWriter(Writer):
    """The same as JSON5."""

    spaces = (*Writer.spaces, "/* c */", "// c\n", "\u00a0", "/***/")

    def name(self, name: str) -> str:
        if name.isidentifier() and name.isascii() and self.pick("bare", "quoted") == "bare":
            return name
        return self.string(name)

    def end(self, has_members: bool) -> str:
        return self.gap() + (self.pick("", ",") + self.gap() if has_members else "")

    def string(self, value: str) -> str:
        how = self.pick("strict", "single", "hex")
        if how == "strict":
            return super().string(value)
        quotes = "'" if how == "single" else '"'
        return quotes + "".join(self._character(each, quotes, how) for each in value) + quotes

    def _character(self, character: str, quotes: str, how: str) -> str:
        if how == "hex" and ord(character) < 256:
            return f"\\x{ord(character):02x}"
        if character == quotes or character in "\\\n\r\u2028\u2029" or ord(character) < 32:
            return {"\n": "\\n", "\r": "\\r"}.get(character, f"\\u{ord(character):04x}")
        return character
