"""The vectors of param, signatures, sign-ins and the HTTPS messages against the code (README.d-json.md)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import encode_json_answer, parse_json_request, task_request_sign_form
from shared.protocol.json_text import compact
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.params import parse_param
from shared.protocol.sign_in import read_heartbeat, read_sign_in
from shared.protocol.signatures import (
    SignForm,
    auth_sign_matches,
    cut_out,
    md5_hex,
    member_cuts,
    request_sign_form,
)

Case = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


PARAMS: list[Case] = load("params.json")
SIGNATURES: Case = load("signatures.json")
SIGN_INS: Case = load("sign_ins.json")
MESSAGES: Case = load("json_messages.json")


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[f"{case['origin']}: {case['name']}" for case in cases])


def form_of(value: str | None) -> SignForm | None:
    return None if value is None else SignForm(value)


@each([case for case in PARAMS if "error" in case])
def test_j1_param_that_is_no_json_object_is_refused(case: Case) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_param(case["text"])
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, case["error"])


@each([case for case in PARAMS if "members" in case])
def test_j1_param_is_read_member_by_member(case: Case) -> None:
    text = case["text"]
    param = parse_param(text, missing_commas=case.get("missingCommas", False))
    assert param.text == text
    assert [[member.name, text[member.value_start : member.end]] for member in param.members] == case["members"]


@each([case for case in PARAMS if "compact" in case])
def test_s3_compact_form_of_a_param(case: Case) -> None:
    assert compact(case["text"]) == case["compact"]


@each([case for case in PARAMS if "sorted" in case])
def test_s3_sorted_form_of_a_param(case: Case) -> None:
    assert compact(case["text"], sort_keys=True) == case["sorted"]


@each([case for case in PARAMS if "strict" in case])
def test_j5_loose_numbers_that_are_kept_become_strict_json(case: Case) -> None:
    assert compact(case["text"], strict_numbers=True) == case["strict"]


@each([case for case in PARAMS if "values" in case])
def test_j1_of_repeated_members_the_last_counts(case: Case) -> None:
    param = parse_param(case["text"])
    assert {name: param.read_text(name) for name in case["values"]} == case["values"]


@each([case for case in PARAMS if "withoutImg" in case])
def test_s4_img_is_cut_and_nothing_else(case: Case) -> None:
    param = parse_param(case["text"])
    assert cut_out(param.text, member_cuts(param.members, "img")) == case["withoutImg"]


@each(
    [
        case
        for case in SIGNATURES["auth"] + SIGNATURES["requests"] + MESSAGES["requests"] + MESSAGES["answers"]
        if case.get("signed") and "sign" in case
    ]
)
def test_s1_sign_is_the_md5_of_the_joined_fields(case: Case) -> None:
    # hashlib, not our function: the vector must be right by itself.
    expected = hashlib.md5(case["signed"].encode(), usedforsecurity=False).hexdigest()
    assert case["sign"].lower() == expected
    assert md5_hex(case["signed"]) == expected


@each(SIGNATURES["auth"])
def test_s2_sign_of_c_auth(case: Case) -> None:
    request = AuthRequest(
        version=SIGNATURES["version"],
        sn=SIGNATURES["sn"],
        apicode="C_AUTH",
        access_id=SIGNATURES["accessId"],
        access_key=SIGNATURES["accessKey"],
        access_secret=None,
        time_stamp=SIGNATURES["timeStamp"],
        param=case["param"],
        sign=case["sign"],
    )
    param = parse_param(request.param, missing_commas=True) if request.param else None
    form = auth_sign_matches(request, param, SIGNATURES["accessSecret"], form_of(case.get("pinned")))
    assert form == form_of(case["form"])


@each(SIGNATURES["requests"])
def test_s2_sign_of_a_request_over_tcp(case: Case) -> None:
    request = DeviceRequest(
        version={**SIGNATURES, **case}["version"],
        sn=SIGNATURES["sn"],
        token=SIGNATURES["token"],
        apicode=case["apicode"],
        time_stamp=SIGNATURES["timeStamp"],
        param=case["param"],
        sign=case["sign"],
    )
    form = request_sign_form(
        request,
        parse_param(request.param),
        SIGNATURES["accessSecret"],
        pinned=form_of(case.get("pinned")),
        remembered=form_of(case.get("remembered")),
    )
    assert form == form_of(case["form"])


@each([case for case in SIGN_INS["signIns"] if "values" in case])
def test_j5_sign_in_is_read(case: Case) -> None:
    sign_in = read_sign_in(parse_param(case["param"]), SIGN_INS["nowMs"])
    read = {name: getattr(sign_in, name) for name in sign_in.__struct_fields__}
    read["picture"] = None if sign_in.picture is None else sign_in.picture.hex()
    read["coordinate"] = None if sign_in.coordinate is None else list(sign_in.coordinate)
    assert {name: value for name, value in read.items() if value is not None} == case["values"]
    if sign_in.extra is not None:
        json.loads(sign_in.extra.encode(), parse_constant=pytest.fail)
    for kept in (sign_in.qr_code_info, sign_in.health_info):
        if kept is not None:
            # They stand in the event as they are, and the writer reads events with msgspec.
            msgspec.json.decode(kept.encode(), type=dict)


@each([case for case in SIGN_INS["signIns"] if "error" in case])
def test_j5_sign_in_that_is_refused_names_the_member(case: Case) -> None:
    param = parse_param(case["param"])
    with pytest.raises(ProtocolError) as refusal:
        read_sign_in(param, SIGN_INS["nowMs"])
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, case["error"])


@each([case for case in SIGN_INS["heartbeats"] if "values" in case])
def test_j3_heartbeat_is_read(case: Case) -> None:
    heartbeat = read_heartbeat(parse_param(case["param"]))
    assert {
        "device_version": heartbeat.device_version,
        "device_ip": heartbeat.device_ip,
    } == case["values"]


@each([case for case in SIGN_INS["heartbeats"] if "error" in case])
def test_j2_heartbeat_that_is_refused_names_the_member(case: Case) -> None:
    param = parse_param(case["param"])
    with pytest.raises(ProtocolError) as refusal:
        read_heartbeat(param)
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, case["error"])


@each(MESSAGES["requests"])
def test_j4_request_over_https_is_read(case: Case) -> None:
    request = parse_json_request(case["body"].encode())
    read = {name: getattr(request, name) for name in request.__struct_fields__ if name != "sign"}
    assert read == case["values"]


@each([case for case in MESSAGES["requests"] if "paramError" not in case])
def test_s2_sign_of_a_request_over_https(case: Case) -> None:
    request = parse_json_request(case["body"].encode())
    assert request.sign == case["sign"]
    secret = MESSAGES["accessSecret"]
    form = task_request_sign_form(request, request.read_param(), secret, pinned=None, remembered=None)
    assert form == form_of(case["form"])


@each([case for case in MESSAGES["requests"] if "paramError" in case])
def test_e2_param_is_looked_at_only_when_it_is_asked_for(case: Case) -> None:
    request = parse_json_request(case["body"].encode())
    with pytest.raises(ProtocolError) as refusal:
        request.read_param()
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, case["paramError"])


@each(MESSAGES["refusedBodies"])
def test_e5_body_that_is_not_understood_is_400_02(case: Case) -> None:
    body = bytes.fromhex(case["bodyHex"]) if "bodyHex" in case else case["body"].encode()
    with pytest.raises(ProtocolError) as refusal:
        parse_json_request(body)
    assert (refusal.value.code, refusal.value.detail) == (ErrorCode.PARAM, case["error"])


@each(MESSAGES["answers"])
def test_s5_answer_over_https(case: Case) -> None:
    error = None
    if "error" in case:
        code = next(code for code in ErrorCode if code.code == case["error"]["code"])
        error = ProtocolError(code, case["error"]["detail"])
    body = encode_json_answer(
        apicode=case["apicode"],
        version=case["version"],
        task_id=case["taskId"],
        response=case["response"],
        error=error,
        secret=case["secret"],
    )
    assert body.decode() == case["body"]
    sign = json.loads(body).get("sign")
    assert sign == (
        None if case["signed"] is None else hashlib.md5(case["signed"].encode(), usedforsecurity=False).hexdigest()
    )
