"""The vectors of frames, messages, answers and signed requests, read both ways."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.frames import FrameDecoder, FrameFault, encode_frame
from shared.protocol.generated.device.v1 import messages_pb2
from shared.protocol.messages import AuthRequest, decode_request, encode_response, error_text
from shared.protocol.verification import AuthFacts, SessionFacts, check_head, verify_auth, verify_request

Vector = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def spelt(text: str) -> bytes:
    """`02 4142 5a*300`: hex, and a byte that is repeated."""
    parts = (word.partition("*") for word in text.split())
    return b"".join(bytes.fromhex(word) * int(times or 1) for word, _, times in parts)


def frame_bytes(vector: Vector) -> bytes:
    return b"".join(bytes.fromhex(head) + text.encode() for head, text in vector["frame"])


def single_frame(vector: Vector) -> bytes:
    decoder = FrameDecoder(1 << 20)
    (frame,) = decoder.feed(frame_bytes(vector))
    assert decoder.awaited == 0
    return frame


def each(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


FRAMES: list[Vector] = load("frames.json")
MESSAGES: list[Vector] = load("messages.json")
ANSWERS: dict[str, list[Vector]] = load("answers.json")
AUTH: Vector = load("auth.json")


@each(FRAMES)
def test_f1_to_f3_a_stream_gives_its_frames(vector: Vector) -> None:
    decoder = FrameDecoder(vector["maxFrameBytes"])

    assert decoder.feed(spelt(vector["stream"])) == [spelt(frame) for frame in vector["frames"]]
    assert decoder.fault is (vector["fault"] and FrameFault[vector["fault"]])
    assert decoder.awaited == vector["awaited"]


@each([vector for vector in FRAMES if vector["canonical"]])
def test_f1_frames_encode_to_the_stream(vector: Vector) -> None:
    assert b"".join(encode_frame(spelt(frame)) for frame in vector["frames"]) == spelt(vector["stream"])


@each([vector for vector in MESSAGES if "values" in vector])
def test_m1_to_m4_a_frame_gives_its_request(vector: Vector) -> None:
    request = decode_request(single_frame(vector))

    assert type(request).__name__ == vector["message"]
    assert msgspec.structs.asdict(request) == vector["values"]


@each([vector for vector in MESSAGES if "error" in vector])
def test_f4_a_frame_that_does_not_decode_is_refused(vector: Vector) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode_request(single_frame(vector))

    assert raised.value.code.code == vector["error"]


@each(ANSWERS["answers"])
def test_m5_an_answer_encodes_to_its_bytes_and_reads_back(vector: Vector) -> None:
    values = vector["values"]

    assert encode_frame(encode_response(**values)) == frame_bytes(vector)
    read_back = messages_pb2.Response.FromString(single_frame(vector))
    assert {name: getattr(read_back, name) for name in values} == values


@each(ANSWERS["errors"])
def test_m6_error_is_compact_json_that_begins_with_the_standards_text(vector: Vector) -> None:
    code = next(code for code in ErrorCode if code.code == vector["code"])

    assert error_text(code, vector["detail"]) == vector["text"]


@each(AUTH["cases"])
def test_s2_e2_a_signed_request_has_its_outcome(vector: Vector) -> None:
    request = decode_request(single_frame(vector))
    signed_right = hashlib.md5(vector["signed"].encode(), usedforsecurity=False).hexdigest() == request.sign.lower()
    assert signed_right or "printed sign" in vector["name"]

    outcome, form = "accepted", None
    try:
        check_head(request)
        if isinstance(request, AuthRequest):
            assert request.access_id == AUTH["accessId"]
            facts = AuthFacts(
                access_key=AUTH["accessKey"],
                access_secret=AUTH["accessSecret"],
                active=True,
                bound_elsewhere=False,
                device_enabled=True,
                window_seconds=AUTH["windowSeconds"],
                sign_form=None,
            )
            form = verify_auth(request, facts, AUTH["nowMs"])
        else:
            assert request.token == AUTH["token"]
            session = SessionFacts(
                sn=AUTH["sn"],
                access_secret=AUTH["accessSecret"],
                ended=False,
                window_seconds=AUTH["windowSeconds"],
                pinned=None,
                remembered=None,
            )
            form = verify_request(request, session, AUTH["nowMs"]).form
    except ProtocolError as error:
        outcome = error.code.code

    assert (outcome, form) == (vector["outcome"], vector["form"])
