"""Signatures against values that md5sum gave, and the texts of param that are signed against texts written by hand."""

import pytest

from terminal_simulator.signing import ParamStyle, SignForm, sign, signed_text, write_param

MEMBERS = {
    "personId": "4508004291609636864",
    "type": 1,
    "img": "aGk=",
    "recordTime": "1609744974000",
    "coordinate": {"longitude": 120.15, "latitude": 30.28},
    "address": "杭州",
}


def test_s1_the_signature_is_the_md5_of_the_fields_joined() -> None:
    # printf '%s' 'v1.0.01388186C_AUTHidkey20210328031608{}secret' | md5sum
    signature = sign("v1.0.0", "1388186", "C_AUTH", "id", "key", "20210328031608", "{}", "secret")
    assert signature == "6e152b6145c1cee714d4f410a6147a97"


def test_s1_the_signature_is_over_utf_8() -> None:
    # printf '杭州' | md5sum
    assert sign("杭", "州") == "69d6beffab0807555951e7f947224de3"


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            ParamStyle.STRICT,
            '{"personId": "4508004291609636864", "type": 1, "img": "aGk=", "recordTime": "1609744974000", '
            '"coordinate": {"longitude": 120.15, "latitude": 30.28}, "address": "杭州"}',
        ),
        (
            ParamStyle.LOOSE,
            '{personId:"4508004291609636864",type:1,img:"aGk=",recordTime:"1609744974000",'
            'coordinate:{longitude:120.15,latitude:30.28},address:"杭州"}',
        ),
    ],
)
def test_j1_param_is_written_in_either_style(style: ParamStyle, expected: str) -> None:
    assert write_param(MEMBERS, style) == expected


@pytest.mark.parametrize(
    ("style", "form", "expected"),
    [
        (
            ParamStyle.STRICT,
            SignForm.AS_SENT,
            '{"personId": "4508004291609636864", "type": 1, "recordTime": "1609744974000", '
            '"coordinate": {"longitude": 120.15, "latitude": 30.28}, "address": "杭州"}',
        ),
        (
            ParamStyle.LOOSE,
            SignForm.AS_SENT,
            '{personId:"4508004291609636864",type:1,recordTime:"1609744974000",'
            'coordinate:{longitude:120.15,latitude:30.28},address:"杭州"}',
        ),
        (
            ParamStyle.LOOSE,
            SignForm.COMPACT,
            '{"personId":"4508004291609636864","type":1,"recordTime":"1609744974000",'
            '"coordinate":{"longitude":120.15,"latitude":30.28},"address":"杭州"}',
        ),
        (
            ParamStyle.STRICT,
            SignForm.SORTED,
            '{"address":"杭州","coordinate":{"latitude":30.28,"longitude":120.15},'
            '"personId":"4508004291609636864","recordTime":"1609744974000","type":1}',
        ),
    ],
)
def test_s3_s4_each_form_signs_its_text_without_the_picture(style: ParamStyle, form: SignForm, expected: str) -> None:
    assert signed_text(MEMBERS, style, form) == expected
