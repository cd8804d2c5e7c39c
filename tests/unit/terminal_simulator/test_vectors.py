"""The simulator against the vectors of the protocol, which were written by hand from the standard."""

import json
from pathlib import Path
from typing import Any

import pytest

from terminal_simulator.calls import Call, read_answer
from terminal_simulator.signing import sign
from terminal_simulator.wire import FrameReader, decode_answer, encode_frame, encode_message

VECTORS = Path(__file__).parents[2] / "vectors"
AS_A_TERMINAL_WRITES = (
    "C_AUTH as printed: nine values",
    "C_AUTH as the table has it: eight values",
    "C_AUTH without param: proto3 leaves the empty string out",
    "C_HEARTBEAT as printed",
    "C_SIGN_IN as printed, its param broken as printed",
    "C_SIGN_IN with the quote mended",
    "Chinese and an emoji",
)


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def frame_of(vector: dict[str, Any]) -> bytes:
    return b"".join(bytes.fromhex(head) + text.encode() for head, text in vector["frame"])


MESSAGES = {vector["name"]: vector for vector in load("messages.json")}


@pytest.mark.parametrize("name", AS_A_TERMINAL_WRITES)
def test_m1_to_m3_a_request_is_written_as_the_vector_has_it(name: str) -> None:
    vector = MESSAGES[name]
    values = [value for value in vector["values"].values() if value is not None]  # in the order of the tables
    assert encode_frame(encode_message(values)) == frame_of(vector)


@pytest.mark.parametrize("vector", load("answers.json")["answers"], ids=lambda vector: str(vector["name"]))
def test_m5_every_answer_of_the_vectors_is_read(vector: dict[str, Any]) -> None:
    (message,) = FrameReader().feed(frame_of(vector))
    answer, values = decode_answer(message), vector["values"]
    assert (answer.version, answer.success, answer.apicode) == (values["version"], values["success"], values["apicode"])
    assert answer.error == (json.loads(values["error"]) if values["error"] else None)
    assert answer.response == (json.loads(values["response"]) if values["response"] else None)


@pytest.mark.parametrize(
    "vector",
    [case for case in load("auth.json")["cases"] if case["outcome"] == "accepted"],
    ids=lambda vector: str(vector["name"]),
)
def test_s1_the_signature_of_an_accepted_vector_is_ours(vector: dict[str, Any]) -> None:
    assert sign(vector["signed"]) == vector["frame"][-1][1].lower()


INTERFACES = load("task_interfaces.json")


@pytest.mark.parametrize(
    "vector",
    [call for call in INTERFACES["calls"] if call["task"] and json.loads(call["answer"])["success"]],
    ids=lambda vector: str(vector["name"]),
)
def test_s5_every_answer_of_the_interfaces_verifies(vector: dict[str, Any]) -> None:
    call = Call(vector["task"]["apicode"], (vector["task"]["taskid"],), INTERFACES["token"], b"")
    answer = read_answer(call, vector["answer"].encode(), INTERFACES["accessSecret"])
    assert answer["sign"] == vector["answerSign"]
