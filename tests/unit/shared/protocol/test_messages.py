"""M1–M7: requests out of frames, answers into bytes. The printed examples stand in tests/vectors."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol import messages
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.generated.device.v1 import messages_pb2
from shared.protocol.messages import (
    AuthRequest,
    DeviceRequest,
    decode_request,
    encode_response,
    error_response,
    error_text,
    success_response,
)

HEARTBEAT = DeviceRequest(
    version="v2.0", sn="1388186", token="", apicode="C_HEARTBEAT", time_stamp="", param="", sign=""
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def string_field(tag: bytes, text: str) -> bytes:
    """A string of the wire format, written out here: tag, length in groups of seven bits, UTF-8; empty: nothing."""
    value = text.encode()
    size, length = len(value), bytearray()
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    length.append(size)
    return tag + bytes(length) + value if value else b""


@given(version=TEXT.filter(bool), success=st.booleans(), apicode=TEXT, error=TEXT, response=TEXT)
def test_m5_an_answer_is_the_wire_formats_bytes_in_the_tables_order(
    version: str, success: bool, apicode: str, error: str, response: str
) -> None:
    expected = (
        string_field(b"\x0a", version)
        + (b"\x10\x01" if success else b"")
        + string_field(b"\x1a", apicode)
        + string_field(b"\x22", error)
        + string_field(b"\x2a", response)
    )

    assert (
        encode_response(version=version, success=success, apicode=apicode, error=error, response=response) == expected
    )


@pytest.mark.parametrize("characters", [127, 128, 16_383, 16_384, 2_100_000])
def test_m5_a_long_answer_is_the_wire_formats_bytes(characters: int) -> None:
    text = "人" + "x" * (characters - 3)

    built = encode_response(version="v1.0.0", success=True, apicode="", response=text)

    assert built == b"\x0a\x06v1.0.0\x10\x01" + string_field(b"\x2a", text)


def test_m5_an_answer_to_a_request_without_version_says_v1_0_0() -> None:
    answer = messages_pb2.Response.FromString(encode_response(version="", success=True, apicode="C_SIGN_IN"))

    assert answer.version == "v1.0.0"


def test_m5_success_echoes_version_and_apicode() -> None:
    answer = messages_pb2.Response.FromString(success_response(HEARTBEAT, "{}"))

    assert (answer.version, answer.success, answer.apicode) == ("v2.0", True, "C_HEARTBEAT")
    assert (answer.error, answer.response) == ("", "{}")


@given(version=TEXT.filter(bool) | st.sampled_from(["v1.0.0", "v2.0"]), response=TEXT | st.sampled_from(["", "{}"]))
def test_m7_a_success_is_the_same_bytes_however_often_and_for_whomever(version: str, response: str) -> None:
    for apicode in ("C_HEARTBEAT", "C_SIGN_IN", "C_HEARTBEAT"):
        request = msgspec.structs.replace(HEARTBEAT, version=version, apicode=apicode)
        expected = string_field(b"\x0a", version) + b"\x10\x01" + string_field(b"\x1a", apicode)

        assert success_response(request, response) == expected + string_field(b"\x2a", response)


def test_design_rule_7_answers_that_are_kept_are_few_and_short() -> None:
    before = messages._short_success.cache_info().currsize
    for count in range(40):
        success_response(HEARTBEAT, f'{{"taskids":["6541951958563{count:06}"]}}')
        success_response(msgspec.structs.replace(HEARTBEAT, version="v" * 33))
    assert messages._short_success.cache_info().currsize == before
    for count in range(1_000):
        success_response(msgspec.structs.replace(HEARTBEAT, version=f"v{count}"), "{}")
    assert messages._short_success.cache_info().currsize == 256


def test_m5_an_error_echoes_version_and_apicode() -> None:
    error = ProtocolError(ErrorCode.TOKEN, "no such token")

    answer = messages_pb2.Response.FromString(error_response(HEARTBEAT, error))

    assert (answer.version, answer.success, answer.apicode) == ("v2.0", False, "C_HEARTBEAT")
    assert answer.error == '{"errorcode":"401_01","errmsg":"token 不存在: no such token"}'
    assert answer.response == ""


def test_f4_the_answer_to_a_frame_that_did_not_decode_has_no_apicode() -> None:
    answer = messages_pb2.Response.FromString(error_response(None, ProtocolError(ErrorCode.PARAM, "no message")))

    assert (answer.version, answer.success, answer.apicode) == ("v1.0.0", False, "")
    assert json.loads(answer.error)["errorcode"] == "400_02"


@given(st.sampled_from(ErrorCode), TEXT)
def test_m6_error_text_is_compact_json_that_reads_back(code: ErrorCode, detail: str) -> None:
    text = error_text(code, detail)

    assert json.loads(text) == {"errorcode": code.code, "errmsg": f"{code.text}: {detail}" if detail else code.text}
    assert text.startswith(f'{{"errorcode":"{code.code}","errmsg":"{code.text}')


def test_m6_a_detail_with_half_a_surrogate_pair_still_leaves_as_utf_8() -> None:
    answer = error_response(None, ProtocolError(ErrorCode.PARAM, "\ud800 unknown"))

    assert json.loads(messages_pb2.Response.FromString(answer).error)["errmsg"] == "param 解析失败: ? unknown"


def text_field(number: int, text: str) -> bytes:
    return string_field(bytes((number * 8 + 2,)), text)


def test_m2_the_presence_of_field_9_decides_the_layout() -> None:
    eight = b"".join(text_field(number, f"value {number}") for number in (1, 2, 4, 5, 6, 7, 8))
    eight += text_field(3, "C_AUTH")

    assert decode_request(eight) == AuthRequest(
        version="value 1", sn="value 2", apicode="C_AUTH", access_id="value 4", access_key="value 5",
        access_secret=None, time_stamp="value 6", param="value 7", sign="value 8",
    )  # fmt: skip
    assert decode_request(eight + text_field(9, "value 9")) == AuthRequest(
        version="value 1", sn="value 2", apicode="C_AUTH", access_id="value 4", access_key="value 5",
        access_secret="value 6", time_stamp="value 7", param="value 8", sign="value 9",
    )  # fmt: skip


@pytest.mark.parametrize("token", ["", "c_auth", "C_AUTH ", "C_HEARTBEAT", "696e8019b6fe4dbcb7e5ced91a1c771c"])
def test_m4_any_other_field_3_is_a_device_request(token: str) -> None:
    request = decode_request(text_field(3, token) + text_field(4, "C_HEARTBEAT"))

    assert isinstance(request, DeviceRequest)
    assert (request.token, request.apicode) == (token, "C_HEARTBEAT")


@given(st.binary(max_size=200))
def test_f4_any_bytes_are_a_request_or_a_400_02(frame: bytes) -> None:
    code = None
    try:
        decode_request(frame)
    except ProtocolError as error:
        code = error.code

    assert code in (None, ErrorCode.PARAM)
