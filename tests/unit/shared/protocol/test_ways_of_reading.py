"""J1: the quick ways for short strict texts and for objects of a few plain members read what the general way reads.

A comment before a text keeps both quick ways from it, so the same text with one is read the general way.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_text import compact, read_object
from shared.protocol.params import Param, parse_param
from shared.protocol.strict_json import strict_compact, strict_scalar, strict_values
from tests.unit.shared.protocol.json_texts import LooseWriter, Number, Writer, names, numbers, scalars, strings, values

COMMENT = "/**/"
READERS = ("read_text", "read_number", "read_whole_number", "read_ids", "check_is_text", "written")

long_strings = st.sampled_from(
    ["x" * 201, "/9j/" * 80, "\\" * 300, '"' * 250, "a\nb" * 100, "中" * 201, "'" * 201, "x" * 200 + "\\"]
)
odd_numbers = st.sampled_from(["-0", "0", "9007199254740993", "-9007199254740992", "1e999", "9" * 70, "1" * 16, "-1"])
members = st.lists(
    st.tuples(names, st.one_of(values, long_strings, numbers, odd_numbers.map(Number), strings.map(lambda s: s[:2]))),
    max_size=5,
)
flat_members = st.lists(st.tuples(names, scalars), max_size=4)
near_json = st.one_of(
    st.text(alphabet="{}[]:,\"'\\/ab1.-+e0xu \n\t\ud800é\x00", max_size=16).map(lambda inner: '{"a":' + inner + "}"),
    st.text(alphabet="{}[]:,\"'ab1.-e0 \n", max_size=14).map(lambda inner: "{" + inner + "}"),
    st.sampled_from(
        [
            '{"a":01}',
            '{"a":1.}',
            '{"a":"\\ud800"}',
            '{"\\u0061":"\\u00e9"}',
            '{"a":nul}',
            '{"a":"\t"}',
            '{"a":1}x',
            "{} ",
        ]
    ),
)


@st.composite
def texts(draw: Any) -> str:
    """Objects strict and loose, texts that nearly are one, and such with an object's text behind or before it."""
    writer = draw(st.sampled_from((Writer, LooseWriter)))(draw)
    text: str = draw(st.one_of(members.map(writer.object), flat_members.map(writer.object), near_json))
    return text


def outcome(act: Callable[[], Any]) -> Any:
    """What it gives, or the error code and what was wrong; of what is no JSON without the place, which is another."""
    try:
        return act()
    except ProtocolError as error:
        return error.code, error.detail.partition(" at character ")[0]


def told(param: Param) -> dict[str, Any]:
    """All that can be asked of it."""
    answers: dict[str, Any] = {"names": set(param.names)}
    for name in [*param.names, "absent"]:
        for reader in READERS:
            answers[f"{reader} {name}"] = repr(outcome(lambda name=name, reader=reader: getattr(param, reader)(name)))  # type: ignore[misc]  # mypy cannot infer the defaults that bind the loop's variables
        answers[f"object {name}"] = outcome(lambda name=name: getattr(param.read_object(name), "text", None))  # type: ignore[misc]  # as above
        answers[f"either {name}"] = outcome(lambda name=name: param.read_text("a", name, "type"))  # type: ignore[misc]  # as above
    return answers


@settings(max_examples=500)
@given(texts())
@example('{"a":-0,"b":-0.0,"type":1e2}')
@example('{"type":1,"a":"x","type":"y"}')
@example('{"a":"\\u0000","b":"\\ud83d\\ude00"}')
def test_j1_whatever_can_be_asked_of_a_param_is_the_same_by_each_way(text: str) -> None:
    assert outcome(lambda: told(parse_param(text))) == outcome(lambda: told(parse_param(COMMENT + text)))


@settings(max_examples=500)
@given(texts(), st.booleans())
@example("{a:1,}", False)
@example("{,}", False)
@example('{"a":1,,}', False)
@example("{a:'x', ,b:1}", False)
@example('{"a":{"b":[1,2,{}]},"img":"' + "x" * 300 + '"}', False)
def test_j1_members_have_the_same_places_by_each_way(text: str, missing_commas: bool) -> None:
    def places(text: str, before: int) -> list[tuple[str, int, int, int]]:
        read = read_object(text, missing_commas=missing_commas)
        return [(one.name, one.start - before, one.value_start - before, one.end - before) for one in read]

    assert outcome(lambda: places(text, 0)) == outcome(lambda: places(COMMENT + text, len(COMMENT)))


@settings(max_examples=500)
@given(texts())
@example('{"a":":x"}')
@example('{"a":1,"a":2}')
@example('{"a":1E5 , "b" : -0,"c":[1, "}"],"é":" "}')
def test_s3_the_forms_are_the_same_by_each_way(text: str) -> None:
    if isinstance(outcome(lambda: read_object(text)), tuple):
        return  # compact trusts that its text was read
    for options in ({}, {"sort_keys": True}, {"strict_numbers": True}):
        assert compact(text, **options) == compact(COMMENT + text, **options)


@given(flat_members)
def test_j1_what_is_strict_and_short_goes_the_way_of_its_own(written: list[tuple[str, Any]]) -> None:
    text = PlainWriter().object(written)
    found = strict_values(text)
    assert found is not None
    assert set(found) == {name for name, _ in written}


def test_s3_a_flat_object_goes_the_way_of_its_own_and_what_that_cannot_tell_does_not() -> None:
    assert strict_compact('{ "a" : "x y" , "b" : 1.50 }') == '{"a":"x y","b":1.50}'
    for text in ('{"a":1,"a":1}', '{"a":"\\/"}', '{"a":{}}', '{"a":":"}', "{a:1}"):
        assert strict_compact(text) is None


@pytest.mark.parametrize(
    "text",
    ["[1]", "1", "", "{a:1}", "{'a':1}", '{"a":1,}', '{"a":"' + "x" * 8_200 + '"}', '{"a":"\ud800"}', "{}{}"],
    ids=lambda text: text[:12].encode("utf-8", "replace").decode(),
)
def test_j1_what_is_not_strict_or_not_short_is_left_to_the_general_way(text: str) -> None:
    assert strict_values(text) is None


@pytest.mark.parametrize("brackets", ["[]", '{"a":1}'])
def test_j1_many_brackets_are_left_to_the_general_way(brackets: str) -> None:
    def listed(count: int) -> str:
        return '{"a":[' + ",".join([brackets] * count) + "]}"

    assert strict_values(listed(62)) is not None
    assert strict_values(listed(63)) is None
    # As short as a text with 65 open can be: without this bound it would be read.
    deep = '{"":' + "[" * 64 + "]" * 64 + "}"
    assert strict_values(deep) is None
    with pytest.raises(ProtocolError, match="more than 64 brackets"):
        parse_param(deep)


def test_j2_a_number_beyond_all_floats_and_an_object_are_left_as_they_stand() -> None:
    found = strict_values('{"far":1e999,"list":[1],"text":"\\u4e2d","none":null}')
    assert found is not None
    assert strict_scalar(found["far"]) is found["far"]
    assert strict_scalar(found["list"]) is found["list"]
    assert (strict_scalar(found["text"]), strict_scalar(found["none"])) == ("中", None)


@pytest.mark.parametrize("text", ['{"deviceIp":"1","devicelp":"2"}', "{deviceIp:'1',devicelp:'2'}"])
def test_j3_of_two_spellings_the_last_one_counts_by_each_way(text: str) -> None:
    assert parse_param(text).read_text("devicelp", "deviceIp") == "2"
    assert parse_param(text).read_text("deviceIp", "devicelp") == "2"


def test_j1_a_limit_below_the_texts_length_is_kept_by_each_way() -> None:
    many = '{"a":[' + "1," * 30 + "1]}"
    assert parse_param(many, max_marks=40).read_ids("a") == ["1"] * 31
    with pytest.raises(ProtocolError) as refusal:
        parse_param('{"a":[' + "1," * 30 + "[2]]}", max_marks=20)
    assert refusal.value.code is ErrorCode.PARAM


class PlainWriter(Writer):
    """Writes without a choice: as json.dumps does."""

    def __init__(self) -> None:
        super().__init__(None)

    def pick(self, *choices: str) -> str:
        return choices[0]
