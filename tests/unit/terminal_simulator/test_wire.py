"""The simulator's bytes against protobuf's own runtime and against bytes written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.generated.device.v1 import messages_pb2
from terminal_simulator.wire import (
    MAX_ANSWER_BYTES,
    Answer,
    FrameReader,
    MalformedAnswer,
    decode_answer,
    encode_frame,
    encode_message,
    encode_varint,
)


@pytest.mark.parametrize(("number", "expected"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02")])
def test_f1_a_length_is_a_base_128_varint(number: int, expected: str) -> None:
    # 300 → AC 02 is the standard's own example (1.2)
    assert encode_varint(number).hex() == expected


def test_f1_a_frame_is_its_length_and_the_message() -> None:
    assert encode_frame(b"\x0a\x01a") == b"\x03\x0a\x01a"


def test_m1_the_eight_field_layout_is_what_protobuf_writes() -> None:
    values = ["v1.0.0", "1388186", "C_AUTH", "id", "key", "20210328031608", "{}", "2764b4eb71b60c9898e388e1eb8ccc02"]
    message = messages_pb2.AuthRequest(
        version=values[0],
        sn=values[1],
        apicode=values[2],
        access_id=values[3],
        access_key=values[4],
        field_6=values[5],
        field_7=values[6],
        field_8=values[7],
    )
    assert encode_message(values) == message.SerializeToString()


def test_m2_the_nine_field_layout_is_what_protobuf_writes() -> None:
    values = ["v1.0.0", "1388186", "C_AUTH", "id", "key", "secret", "20210328031608", "{}", "sign"]
    message = messages_pb2.AuthRequest(
        version=values[0],
        sn=values[1],
        apicode=values[2],
        access_id=values[3],
        access_key=values[4],
        field_6=values[5],
        field_7=values[6],
        field_8=values[7],
        field_9=values[8],
    )
    assert encode_message(values) == message.SerializeToString()


@given(st.lists(st.text(), min_size=7, max_size=7))
def test_m3_any_device_request_is_what_protobuf_writes(values: list[str]) -> None:
    message = messages_pb2.DeviceRequest(
        version=values[0],
        sn=values[1],
        token=values[2],
        apicode=values[3],
        time_stamp=values[4],
        param=values[5],
        sign=values[6],
    )
    assert encode_message(values) == message.SerializeToString()


def test_m5_an_answer_written_by_protobuf_is_read() -> None:
    message = messages_pb2.Response(
        version="v1.0.0",
        success=False,
        apicode="C_AUTH",
        error='{"errorcode":"400_04","errmsg":"token 或 sign 验证失败"}',
    )
    answer = decode_answer(message.SerializeToString())
    assert answer == Answer(
        "v1.0.0", False, "C_AUTH", {"errorcode": "400_04", "errmsg": "token 或 sign 验证失败"}, None
    )
    assert (answer.errorcode, answer.errmsg) == ("400_04", "token 或 sign 验证失败")


def test_m5_unknown_fields_of_every_wire_type_are_passed_over() -> None:
    # 10 01 success; then fields 6 (varint), 7 (64 bits), 8 (text), 9 (32 bits); then 1a 01 41 apicode "A"
    message = bytes.fromhex("1001300539 01020304050607084202 61624d 010203041a0141")
    assert decode_answer(message) == Answer("", True, "A", None, None)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("0a05", "ends behind its message"),
        ("0a", "ends inside a varint"),
        ("0a01ff", "not UTF-8"),
        ("0801", "is a number"),
        ("12013f", "not a boolean"),
        ("0b", "wire type 3"),
        ("22017b", "not JSON"),
        ("220131", "not a JSON object"),
        ("ffffffffffffffffffff01", "longer than 10 bytes"),
    ],
)
def test_a_malformed_answer_is_named(message: str, fault: str) -> None:
    with pytest.raises(MalformedAnswer, match=fault):
        decode_answer(bytes.fromhex(message))


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 40))
def test_f2_frames_are_read_wherever_they_are_split(messages: list[bytes], step: int) -> None:
    stream = b"".join(encode_frame(message) for message in messages)
    reader = FrameReader()
    received = [frame for at in range(0, len(stream), step) for frame in reader.feed(stream[at : at + step])]
    assert received == messages


def test_a_frame_longer_than_any_answer_is_refused() -> None:
    with pytest.raises(MalformedAnswer, match="announces"):
        FrameReader().feed(encode_varint(MAX_ANSWER_BYTES + 1))
