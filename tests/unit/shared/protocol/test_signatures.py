"""Signatures of requests against a naive reading of S1 to S4 that shares nothing with the code."""

import hashlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.params import Param, parse_param
from shared.protocol.signatures import (
    SignForm,
    auth_sign_matches,
    cut_out,
    forms_to_try,
    md5_hex,
    member_cuts,
    request_sign_form,
    signs_equal,
)
from tests.unit.shared.protocol import json_texts
from tests.unit.shared.protocol.json_texts import Writer, merged

SECRET = "93f6218530984c32a3bf2b3d03dcb417"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sign_in(param: str, signed_param: str) -> tuple[DeviceRequest, Param]:
    request = DeviceRequest(
        version="v1.0.0",
        sn="1388186",
        token="696e8019b6fe4dbcb7e5ced91a1c771c",
        apicode="C_SIGN_IN",
        time_stamp="20210328031608",
        param=param,
        sign=md5("v1.0.01388186696e8019b6fe4dbcb7e5ced91a1c771cC_SIGN_IN20210328031608" + signed_param + SECRET),
    )
    return request, parse_param(param)


def form(param: str, signed: str, *, pinned: SignForm | None = None, remembered: SignForm | None = None) -> Any:
    request, read = sign_in(param, signed)
    return request_sign_form(request, read, SECRET, pinned=pinned, remembered=remembered)


def spans_of(text: str) -> list[tuple[str, int, int]]:
    """Name, start and end of each member of a strict JSON object, found one character at a time."""
    found: list[tuple[str, int, int]] = []
    depth, in_string, escaped = 0, False, False
    start = end = -1
    for at, character in enumerate(text):
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            depth += 1
        if depth == 1 and not in_string and start >= 0 and character in ",}":
            name = json.loads("[" + text[start : text.index(":", start + _name_length(text[start:]))] + "]")[0]
            found.append((name, start, end))
            start = -1
        elif depth >= 1 and (depth, character) != (1, "{") and character not in " \t\r\n":
            start = at if start < 0 and (depth > 1 or character not in ",") else start
            end = at + 1
        if not in_string and character in "}]":
            depth -= 1
    return found


def _name_length(text: str) -> int:
    """Length of the string that the text begins with."""
    return json.JSONDecoder().raw_decode(text)[1]


def naive_cut(text: str) -> str:
    """One img after the other, by the words of S4, until there is none."""
    while True:
        members = spans_of(text)
        at = next((at for at, (name, _, _) in enumerate(members) if name == "img"), None)
        if at is None:
            return text
        _, start, end = members[at]
        if at + 1 < len(members):
            end = members[at + 1][1]
        elif at > 0:
            start = members[at - 1][2]
        text = text[:start] + text[end:]


def test_s4_the_naive_cutter_finds_the_members_of_a_text_that_is_hard_to_read() -> None:
    text = r'{ "a\"}," : [1,{"img":"x"}] ,"img": "{,\\" , "":{} }'
    spans = spans_of(text)
    assert [name for name, _, _ in spans] == ['a"},', "img", ""]
    assert [text[start:end] for _, start, end in spans] == [
        r'"a\"}," : [1,{"img":"x"}]',
        r'"img": "{,\\"',
        '"":{}',
    ]


@given(st.data(), json_texts.pairs)
def test_s4_what_is_cut_is_what_the_naive_cutter_cuts(data: st.DataObject, members: list[tuple[str, Any]]) -> None:
    text = Writer(data.draw).object(members)
    param = parse_param(text)
    assert cut_out(text, member_cuts(param.members, "img")) == naive_cut(text)


@given(st.data(), json_texts.pairs)
def test_s3_whatever_form_was_signed_is_found(data: st.DataObject, members: list[tuple[str, Any]]) -> None:
    text = Writer(data.draw).object(members)
    kept = merged([(name, value) for name, value in members if name != "img"])
    as_sent, compact, in_order = naive_cut(text), json_texts.compact(kept), json_texts.compact(kept, sort=True)
    assert form(text, as_sent) is SignForm.AS_SENT
    assert form(text, compact) is (SignForm.AS_SENT if compact == as_sent else SignForm.COMPACT)
    expected = SignForm.SORTED if in_order != compact else SignForm.COMPACT
    assert form(text, in_order) is (SignForm.AS_SENT if in_order == as_sent else expected)


MEMBERS = ['"personId" : "4508004291609636864"', '"type":1', '"img":"/9j/4A=="', '"recordTime":1609744974000']


@pytest.mark.parametrize("order", list(itertools.permutations(MEMBERS)), ids=lambda order: "-".join(order)[:40])
def test_s4_every_key_order_is_signed_without_its_img(order: tuple[str, ...]) -> None:
    kept = [member for member in order if not member.startswith('"img"')]
    # With one comma and no space between members, cutting one leaves exactly the others.
    as_sent = "{" + ",".join(kept) + "}"
    assert form("{" + ",".join(order) + "}", as_sent) is SignForm.AS_SENT
    compact = as_sent.replace(" : ", ":")
    assert form("{" + ",".join(order) + "}", compact) is SignForm.COMPACT
    in_order = '{"personId":"4508004291609636864","recordTime":1609744974000,"type":1}'
    assert form("{" + ",".join(order) + "}", in_order) in (SignForm.SORTED, SignForm.COMPACT)
    assert form("{" + ",".join(order) + "}", in_order, pinned=SignForm.SORTED) is SignForm.SORTED


def test_s3_the_remembered_form_is_tried_first_and_a_pin_alone() -> None:
    assert forms_to_try(None, None) == (SignForm.AS_SENT, SignForm.COMPACT, SignForm.SORTED)
    assert forms_to_try(None, SignForm.SORTED) == (SignForm.SORTED, SignForm.AS_SENT, SignForm.COMPACT)
    assert forms_to_try(None, SignForm.COMPACT) == (SignForm.COMPACT, SignForm.AS_SENT, SignForm.SORTED)
    assert forms_to_try(SignForm.COMPACT, SignForm.SORTED) == (SignForm.COMPACT,)


def test_s3_a_remembered_form_counts_before_as_sent_where_both_match() -> None:
    assert form('{"a":1}', '{"a":1}', remembered=SignForm.SORTED) is SignForm.SORTED
    assert form('{"b":1,"a":1}', '{"b":1,"a":1}', remembered=SignForm.SORTED) is SignForm.AS_SENT


@pytest.mark.parametrize("pinned", SignForm)
def test_s3_a_pin_takes_its_own_form_and_no_other(pinned: SignForm) -> None:
    texts = {
        SignForm.AS_SENT: '{"b": 1, "a": 2}',
        SignForm.COMPACT: '{"b":1,"a":2}',
        SignForm.SORTED: '{"a":2,"b":1}',
    }
    for signed, text in texts.items():
        assert form('{"b": 1, "a": 2}', text, pinned=pinned) is (pinned if signed is pinned else None)


def test_s1_any_change_of_a_signed_field_is_a_wrong_sign() -> None:
    request, param = sign_in('{"a":1}', '{"a":1}')
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    for name in ("version", "sn", "token", "time_stamp", "sign"):
        changed = DeviceRequest(**{**fields, name: fields[name] + "0"})
        assert request_sign_form(changed, param, SECRET, pinned=None, remembered=None) is None
    assert request_sign_form(request, parse_param('{"a":2}'), SECRET, pinned=None, remembered=None) is None
    assert request_sign_form(request, param, SECRET + "0", pinned=None, remembered=None) is None
    assert request_sign_form(request, param, SECRET, pinned=None, remembered=None) is SignForm.AS_SENT


def test_s1_absent_fields_are_skipped() -> None:
    assert md5_hex("a", None, "b", "") == md5("ab")
    assert md5_hex() == "d41d8cd98f00b204e9800998ecf8427e"  # RFC 1321, A.5: of the empty string
    assert md5_hex("abc") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321, A.5


@pytest.mark.parametrize(
    "received", ["", "x", "é", "签名", "\ud800", "0" * 31, "0" * 33, "0" * 32 + "\n", " " + "0" * 32]
)
def test_s1_a_sign_of_any_other_form_is_wrong_and_raises_nothing(received: str) -> None:
    assert not signs_equal("0" * 32, received)


@given(st.text(alphabet="abcdefABCDEF0123456789 \u212aİſ\ud800é", max_size=6))
def test_s1_a_sign_is_equal_where_its_lower_case_is_and_never_an_error_of_ours(received: str) -> None:
    assert signs_equal("abcde0", received) == (received.lower() == "abcde0")
    assert signs_equal(received.lower(), received) == received.isascii()


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=6))
def test_s1_absent_and_empty_fields_add_nothing(parts: list[str | None]) -> None:
    assert md5_hex(*parts) == md5("".join(part for part in parts if part is not None))


def test_s3_the_remembered_form_comes_first_and_the_others_keep_their_order() -> None:
    as_sent, compacted, sorted_keys = SignForm.AS_SENT, SignForm.COMPACT, SignForm.SORTED
    assert forms_to_try(None, None) == (as_sent, compacted, sorted_keys)
    assert forms_to_try(None, as_sent) == (as_sent, compacted, sorted_keys)
    assert forms_to_try(None, compacted) == (compacted, as_sent, sorted_keys)
    assert forms_to_try(None, sorted_keys) == (sorted_keys, as_sent, compacted)
    assert forms_to_try(compacted, sorted_keys) == (compacted,)


def test_s1_upper_and_mixed_case_hex_are_right() -> None:
    for received in ("abcdef" * 5, "ABCDEF" * 5, "aBcDeF" * 5):
        assert signs_equal("abcdef" * 5, received)


def test_s1_fields_that_utf8_cannot_spell_raise_nothing() -> None:
    # They can come out of JSON's escapes over HTTPS.
    assert len(md5_hex("\ud800")) == 32


def c_auth(param: str, signed: str) -> AuthRequest:
    return AuthRequest(
        version="v1.0.0",
        sn="1",
        apicode="C_AUTH",
        access_id="i",
        access_key="k",
        access_secret=None,
        time_stamp="t",
        param=param,
        sign=md5("v1.0.01C_AUTHikt" + signed + SECRET),
    )


@pytest.mark.parametrize("pinned", [None, *SignForm])
def test_s2_c_auth_signed_without_param_is_right_under_every_pin(pinned: SignForm | None) -> None:
    param = parse_param('{"b":1, "a":2}')
    assert auth_sign_matches(c_auth(param.text, ""), param, SECRET, pinned) is (pinned or SignForm.AS_SENT)


@pytest.mark.parametrize("pinned", [None, *SignForm])
def test_s2_c_auth_without_a_param_has_one_formula(pinned: SignForm | None) -> None:
    assert auth_sign_matches(c_auth("", ""), None, SECRET, pinned) is (pinned or SignForm.AS_SENT)
    assert auth_sign_matches(c_auth("", "{}"), None, SECRET, pinned) is None


def test_s2_an_img_in_the_param_of_c_auth_is_signed() -> None:
    param = parse_param('{"img":"x"}')
    assert auth_sign_matches(c_auth(param.text, param.text), param, SECRET, None) is SignForm.AS_SENT
    assert auth_sign_matches(c_auth(param.text, "{}"), param, SECRET, None) is None
