"""Params: size, and the loose types of members. What single texts mean stands in tests/vectors/params.json."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import Param, has_control_character, parse_param


def refusal_of(text: str, reader: str, *names: str) -> str:
    param = parse_param(text)
    with pytest.raises(ProtocolError) as refusal:
        getattr(param, reader)(*names)
    assert refusal.value.code is ErrorCode.PARAM
    return refusal.value.detail


def test_j1_the_limit_counts_bytes_of_utf8_not_characters() -> None:
    text = '{"a":"' + "工" * 10 + '"}'
    assert len(text.encode()) == 38
    assert parse_param(text, max_bytes=38).read_text("a") == "工" * 10
    with pytest.raises(ProtocolError) as refusal:
        parse_param(text, max_bytes=37)
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, "longer than 37 bytes")


@pytest.mark.parametrize("character", ["a", "é", "工", "😀"])
def test_j1_the_limit_is_kept_for_characters_of_any_width(character: str) -> None:
    for count in range(1, 40):
        text = '{"a":"' + character * count + '"}'
        size = len(text.encode())
        assert parse_param(text, max_bytes=size).text is text
        with pytest.raises(ProtocolError, match="longer than"):
            parse_param(text, max_bytes=size - 1)


@given(st.text(st.characters(max_codepoint=0x300), max_size=4))
def test_j2_control_characters_are_those_of_ascii(text: str) -> None:
    assert has_control_character(text) == any(ord(character) < 32 or ord(character) == 127 for character in text)


def test_j1_a_param_longer_than_its_limit_in_characters_is_refused() -> None:
    with pytest.raises(ProtocolError, match="longer than 10 bytes"):
        parse_param('{"a":"0123456789"}', max_bytes=10)


def test_j1_half_a_surrogate_pair_does_not_break_the_count_of_bytes() -> None:
    # A param over HTTPS can be the content of a JSON string, whose escapes can spell it.
    assert parse_param('{"a":"\ud800"}', max_bytes=100).get("a") is not None


def test_j1_no_limit_takes_a_picture() -> None:
    text = '{"img":"' + "A" * 3_000_000 + '"}'
    assert parse_param(text).text is text


def test_j1_64_brackets_are_counted_from_the_param_itself() -> None:
    assert parse_param('{"a":' + "[" * 63 + "]" * 63 + "}").get("a") is not None
    with pytest.raises(ProtocolError, match="more than 64 brackets"):
        parse_param('{"a":' + "[" * 64 + "]" * 64 + "}")


def test_j1_members_are_in_order_and_repeated_ones_all_there() -> None:
    param = parse_param('{"b":1,"a":2,"b":3}')
    assert [member.name for member in param.members] == ["b", "a", "b"]
    assert param.read_text("b") == "3"


@pytest.mark.parametrize("absent", ["{}", '{"a":null}', '{"b":1}', '{"a":1,"a":null}'])
@pytest.mark.parametrize("reader", ["read_text", "read_number", "read_whole_number", "read_object", "read_ids"])
def test_j2_absent_and_null_are_nothing(absent: str, reader: str) -> None:
    assert getattr(parse_param(absent), reader)("a") is None


@pytest.mark.parametrize("reader", ["read_number", "read_whole_number", "read_object"])
def test_j2_an_empty_text_is_no_number_and_no_object(reader: str) -> None:
    assert getattr(parse_param('{"a":""}'), reader)("a") is None
    assert parse_param('{"a":""}').read_text("a") == ""


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"x"', "x"),
        ("'x'", "x"),
        ("4508004291609636864", "4508004291609636864"),
        ("36.70", "36.70"),
        ("1e3", "1e3"),
        (r'"\u4e2d\/"', "中/"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"a\u0000b"', "a\0b"),
    ],
)
def test_j2_text_may_be_a_number_and_keeps_its_digits(written: str, text: str) -> None:
    assert parse_param('{"a":' + written + "}").read_text("a") == text


@pytest.mark.parametrize("written", ["true", "false", "{}", "[]", '["x"]'])
def test_j2_what_is_no_text_is_refused_by_name(written: str) -> None:
    assert refusal_of('{"a":' + written + "}", "read_text", "a") == "a must be text"


@pytest.mark.parametrize("written", [r'"\ud800"', r'"x\udc00\ud800"', r"'\uDFFF'"])
def test_j2_a_text_that_utf8_cannot_spell_is_refused(written: str) -> None:
    assert refusal_of('{"a":' + written + "}", "read_text", "a") == "a holds half a surrogate pair"


def test_j2_numbers_may_be_texts() -> None:
    param = parse_param('{"a":"36.70","b":"12","c":12.0,"d":-3}')
    assert (param.read_number("a"), param.read_whole_number("b")) == (36.7, 12)
    assert (param.read_whole_number("c"), param.read_whole_number("d")) == (12, -3)


def test_j2_what_is_no_number_is_refused_by_name() -> None:
    for written in ('"x"', "true", "[1]", "{}", "NaN", "1e999", '"1,5"'):
        assert refusal_of('{"a":' + written + "}", "read_number", "a") == "a must be a number"
    for written in ("1.5", '"1.5"', "1e300", "9007199254740994"):
        assert refusal_of('{"a":' + written + "}", "read_whole_number", "a") == "a must be a whole number"


@pytest.mark.parametrize(
    "written", ['{"b":1}', r'"{\"b\":1}"', "'{b:1}'", r'" { b : \"1\" } "'], ids=["object", "text", "loose", "spaces"]
)
def test_j2_an_object_may_be_json_text(written: str) -> None:
    inner = parse_param('{"a":' + written + "}").read_object("a")
    assert isinstance(inner, Param)
    assert inner.read_text("b") == "1"


@pytest.mark.parametrize("written", ["1", "[]", "true", '"x"', '"[]"', '"{"', r'"\"{}\""'])
def test_j2_what_is_no_object_is_refused_by_name(written: str) -> None:
    assert refusal_of('{"a":' + written + "}", "read_object", "a") == "a must be an object"


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ('["6543831380287827968","2"]', ["6543831380287827968", "2"]),
        ("[6543831380287827968, 2 ]", ["6543831380287827968", "2"]),
        ('"[\\"6543831380287827968\\", 2]"', ["6543831380287827968", "2"]),
        ("'[1,]'", ["1"]),
        ('"6543831380287827968"', ["6543831380287827968"]),
        ("6543831380287827968", ["6543831380287827968"]),
        ("[]", []),
        ('"[]"', []),
    ],
)
def test_j2_a_list_of_ids_may_be_a_list_or_json_text_of_one_or_one_bare_id(written: str, ids: list[str]) -> None:
    assert parse_param('{"taskids":' + written + "}").read_ids("taskids") == ids


@pytest.mark.parametrize("written", ["{}", "true", "[{}]", "[[1]]", "[null]", "[true]", '"[1"', '"[null]"'])
def test_j2_what_is_no_list_of_ids_is_refused_by_name(written: str) -> None:
    assert refusal_of('{"taskids":' + written + "}", "read_ids", "taskids") == "taskids must be a list of ids"


def test_j3_several_names_are_one_field_and_the_last_counts() -> None:
    assert parse_param('{"taskId":"1"}').read_text("taskid", "taskId") == "1"
    assert parse_param('{"taskid":"1","taskId":"2"}').read_text("taskid", "taskId") == "2"
    assert parse_param('{"taskId":"2","taskid":"1"}').read_text("taskid", "taskId") == "1"
    assert refusal_of('{"taskId":{}}', "read_text", "taskid", "taskId") == "taskid must be text"


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ('[{"b":1}, {b:2}]', ["1", "2"]),
        (r'"[{\"b\":1}]"', ["1"]),
        ('{"b":1}', ["1"]),
        (r'"{\"b\":1}"', ["1"]),
        ("[]", []),
    ],
)
def test_j2_a_list_of_objects_may_be_json_text_or_one_object(written: str, texts: list[str]) -> None:
    read = parse_param('{"task":' + written + "}").read_objects("task")
    assert read is not None
    assert [each.read_text("b") for each in read] == texts


@pytest.mark.parametrize("written", ["1", "true", "[1]", "[[]]", "[null]", '"x"', '"[{}"'])
def test_j2_what_is_no_list_of_objects_is_refused_by_name(written: str) -> None:
    assert refusal_of('{"task":' + written + "}", "read_objects", "task") == "task must be a list of objects"


@pytest.mark.parametrize("written", ["null", '""', '"null"'])
def test_j2_an_empty_list_of_objects_is_nothing(written: str) -> None:
    assert parse_param('{"task":' + written + "}").read_objects("task") is None


def test_a_list_of_objects_may_be_as_rich_as_the_text_it_stands_in() -> None:
    text = '{"task":[{"a":[' + ",".join("1" * 30_000) + "]}]}"
    with pytest.raises(ProtocolError, match="too many values"):
        parse_param(text)
    objects = parse_param(text, max_marks=40_000).read_objects("task")
    assert objects is not None
    assert [len(each.read_ids("a") or ()) for each in objects] == [30_000]
