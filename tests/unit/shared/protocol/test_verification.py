"""E1, E2: every check can fail, and of two faults the one that E2 names first is answered.

The signatures are computed here from S2's formulas, not by the code under test.
"""

import hashlib
import itertools

import msgspec
import pytest

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import TaskRequest
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.signatures import SignForm
from shared.protocol.verification import (
    AuthFacts,
    SessionFacts,
    Verified,
    VerifiedTask,
    check_head,
    verify_auth,
    verify_request,
    verify_task_request,
)

NOW_MS = 1616872568000
TIME_STAMP = "20210328031608"
SECRET = "93f6218530984c32a3bf2b3d03dcb417"
KIB_64 = 64 * 1024

AUTH_FACTS = AuthFacts(
    access_key="a9f88d5b5f4e4c94962ee3feaa85cdc3",
    access_secret=SECRET,
    active=True,
    bound_elsewhere=False,
    device_enabled=True,
    window_seconds=600,
    sign_form=None,
)
SESSION_FACTS = SessionFacts(
    sn="1388186", access_secret=SECRET, ended=False, window_seconds=600, pinned=None, remembered=None
)


def md5(*parts: str) -> str:
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def auth_request(
    *,
    sn: str = "1388186",
    access_key: str = AUTH_FACTS.access_key,
    access_secret: str | None = None,
    time_stamp: str = TIME_STAMP,
    param: str = "{}",
    sign: str | None = None,
) -> AuthRequest:
    access_id = "e752cf16af1c462a9859d565ebaac6c7"
    right = md5("v1.0.0", sn, "C_AUTH", access_id, access_key, time_stamp, param, SECRET)
    return AuthRequest(
        version="v1.0.0",
        sn=sn,
        apicode="C_AUTH",
        access_id=access_id,
        access_key=access_key,
        access_secret=access_secret,
        time_stamp=time_stamp,
        param=param,
        sign=right if sign is None else sign,
    )


def device_request(
    *,
    sn: str = "1388186",
    apicode: str = "C_HEARTBEAT",
    time_stamp: str = TIME_STAMP,
    param: str = "{}",
    sign: str | None = None,
) -> DeviceRequest:
    token = "696e8019b6fe4dbcb7e5ced91a1c771c"
    right = md5("v1.0.0", sn, token, apicode, time_stamp, param, SECRET)
    return DeviceRequest(
        version="v1.0.0",
        sn=sn,
        token=token,
        apicode=apicode,
        time_stamp=time_stamp,
        param=param,
        sign=right if sign is None else sign,
    )


def judge_auth(request: AuthRequest, facts: AuthFacts | None) -> SignForm:
    check_head(request)
    return verify_auth(request, facts, NOW_MS)


def judge_request(request: DeviceRequest, facts: SessionFacts | None) -> Verified:
    check_head(request)
    return verify_request(request, facts, NOW_MS)


# E2, line by line: the fault, its code, a word of its detail.
AUTH_ORDER = [
    ("sn's length", ErrorCode.PARAM, "sn is not"),
    ("accessId unknown", ErrorCode.SIGN, "accessId or accessKey"),
    ("accessKey wrong", ErrorCode.SIGN, "accessId or accessKey"),
    ("sixth value wrong", ErrorCode.SIGN, "accessId or accessKey"),
    ("credential revoked", ErrorCode.REVOKED, "credential revoked"),
    ("sn bound to another vendor", ErrorCode.SIGN, "another vendor"),
    ("device disabled", ErrorCode.REVOKED, "device disabled"),
    ("timeStamp", ErrorCode.TIMESTAMP, "timeStamp"),
    ("param no JSON", ErrorCode.PARAM, ""),
    ("sign", ErrorCode.SIGN, "sign wrong"),
]
REQUEST_ORDER = [
    ("apicode", ErrorCode.APICODE, "apicode"),
    ("sn's length", ErrorCode.PARAM, "sn is not"),
    ("token unknown", ErrorCode.TOKEN, "token"),
    ("token of another sn", ErrorCode.SIGN, "another sn"),
    ("session ended", ErrorCode.REVOKED, "revoked or device disabled"),
    ("timeStamp", ErrorCode.TIMESTAMP, "timeStamp"),
    ("param no JSON", ErrorCode.PARAM, ""),
    ("sign", ErrorCode.SIGN, "sign wrong"),
]


def auth_with(faults: set[str]) -> tuple[AuthRequest, AuthFacts | None]:
    request = auth_request(
        sn="" if "sn's length" in faults else "1388186",
        access_key="f" * 32 if "accessKey wrong" in faults else AUTH_FACTS.access_key,
        access_secret="e" * 32 if "sixth value wrong" in faults else SECRET,
        time_stamp="20210328010000" if "timeStamp" in faults else TIME_STAMP,
        param="not JSON" if "param no JSON" in faults else "{}",
        sign="0" * 32 if "sign" in faults else None,
    )
    if "accessId unknown" in faults:
        return request, None
    facts = msgspec.structs.replace(
        AUTH_FACTS,
        active="credential revoked" not in faults,
        bound_elsewhere="sn bound to another vendor" in faults,
        device_enabled="device disabled" not in faults,
    )
    return request, facts


def request_with(faults: set[str]) -> tuple[DeviceRequest, SessionFacts | None]:
    request = device_request(
        apicode="" if "apicode" in faults else "C_HEARTBEAT",
        sn="" if "sn's length" in faults else "1388186",
        time_stamp="20210328010000" if "timeStamp" in faults else TIME_STAMP,
        param="not JSON" if "param no JSON" in faults else "{}",
        sign="0" * 32 if "sign" in faults else None,
    )
    if "token unknown" in faults:
        return request, None
    facts = msgspec.structs.replace(
        SESSION_FACTS,
        sn="another" if "token of another sn" in faults else request.sn,
        ended="session ended" in faults,
    )
    return request, facts


def pairs(order: list[tuple[str, ErrorCode, str]]) -> list[tuple[str, str, ErrorCode, str]]:
    """Each fault alone (with itself), and with each that E2 names later: the earlier one is the answer."""
    return [
        (earlier, later, code, detail)
        for (earlier, code, detail), (later, _, _) in itertools.combinations_with_replacement(order, 2)
    ]


@pytest.mark.parametrize(("earlier", "later", "code", "detail"), pairs(AUTH_ORDER))
def test_e2_of_two_faults_c_auth_answers_the_earlier(earlier: str, later: str, code: ErrorCode, detail: str) -> None:
    request, facts = auth_with({earlier, later})

    with pytest.raises(ProtocolError) as raised:
        judge_auth(request, facts)

    assert raised.value.code is code
    assert detail in raised.value.detail


@pytest.mark.parametrize(("earlier", "later", "code", "detail"), pairs(REQUEST_ORDER))
def test_e2_of_two_faults_a_request_answers_the_earlier(earlier: str, later: str, code: ErrorCode, detail: str) -> None:
    request, facts = request_with({earlier, later})

    with pytest.raises(ProtocolError) as raised:
        judge_request(request, facts)

    assert raised.value.code is code
    assert detail in raised.value.detail


def test_e2_a_request_without_fault_is_verified() -> None:
    request, facts = request_with(set())

    verified = judge_request(request, facts)

    assert (verified.sent_at_ms, verified.form, verified.param.text) == (NOW_MS, SignForm.AS_SENT, "{}")


def test_e2_a_c_auth_without_fault_gives_the_form_of_its_sign() -> None:
    request, facts = auth_with(set())

    assert judge_auth(request, facts) is SignForm.AS_SENT


@pytest.mark.parametrize(
    ("apicode", "detail"),
    [
        ("", "apicode empty"),
        ("C_AUTH", "C_AUTH stands in field 4, it belongs in field 3"),
        ("T_GET_TASKS", "apicode is served over HTTPS"),
        ("T_POST_DEVICE_PERSON", "apicode is served over HTTPS"),
        ("C_HEARTBEATS", "apicode unknown"),
        ("c_heartbeat", "apicode unknown"),
        ("C_HEARTBEAT ", "apicode unknown"),
    ],
)
def test_e1_an_apicode_that_is_not_this_channels_is_400_01(apicode: str, detail: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_head(device_request(apicode=apicode))

    assert raised.value.code is ErrorCode.APICODE
    assert raised.value.detail == detail


@pytest.mark.parametrize("sn", ["1", "x" * 64, "设" * 64])
def test_j2_an_sn_of_1_to_64_characters_passes(sn: str) -> None:
    facts = msgspec.structs.replace(SESSION_FACTS, sn=sn)

    assert judge_request(device_request(sn=sn), facts).sent_at_ms == NOW_MS
    assert judge_auth(auth_request(sn=sn), AUTH_FACTS) is SignForm.AS_SENT


@pytest.mark.parametrize("sn", ["", "x" * 65])
def test_j2_an_sn_of_another_length_is_400_02(sn: str) -> None:
    for request in (auth_request(sn=sn), device_request(sn=sn)):
        with pytest.raises(ProtocolError) as raised:
            check_head(request)
        assert raised.value.code is ErrorCode.PARAM


@pytest.mark.parametrize("sn", ["a\nb", "\x00", "a\x1fb", "\x7f"])
def test_j2_an_sn_with_a_control_character_is_400_02(sn: str) -> None:
    for request in (auth_request(sn=sn), device_request(sn=sn)):
        with pytest.raises(ProtocolError, match="control character"):
            check_head(request)


def test_m2_the_nine_field_layouts_secret_is_checked_and_the_eight_field_layout_has_none() -> None:
    assert judge_auth(auth_request(access_secret=SECRET), AUTH_FACTS) is SignForm.AS_SENT
    assert judge_auth(auth_request(access_secret=None), AUTH_FACTS) is SignForm.AS_SENT
    for wrong in ("", SECRET.upper(), SECRET + " "):
        with pytest.raises(ProtocolError) as raised:
            judge_auth(auth_request(access_secret=wrong), AUTH_FACTS)
        assert raised.value.code is ErrorCode.SIGN


def test_e1_which_of_the_access_values_was_wrong_is_not_told() -> None:
    details = set()
    for request, facts in [
        (auth_request(), None),
        (auth_request(access_key="wrong"), AUTH_FACTS),
        (auth_request(access_key="错"), AUTH_FACTS),
        (auth_request(access_secret="wrong"), AUTH_FACTS),
    ]:
        with pytest.raises(ProtocolError) as raised:
            judge_auth(request, facts)
        details.add(raised.value.detail)

    assert details == {"accessId or accessKey wrong"}


@pytest.mark.parametrize("fault", [fault for fault, _, _ in AUTH_ORDER])
def test_m6_no_detail_of_c_auth_holds_a_secret_or_a_signature(fault: str) -> None:
    request, facts = auth_with({fault})

    with pytest.raises(ProtocolError) as raised:
        judge_auth(request, facts)

    for secret in (SECRET, AUTH_FACTS.access_key, request.access_key, auth_request().sign, request.sign):
        assert secret not in raised.value.errmsg


@pytest.mark.parametrize("fault", [fault for fault, _, _ in REQUEST_ORDER])
def test_m6_no_detail_of_a_request_holds_a_secret_a_token_or_a_signature(fault: str) -> None:
    request, facts = request_with({fault})

    with pytest.raises(ProtocolError) as raised:
        judge_request(request, facts)

    for secret in (SECRET, request.token, device_request().sign, request.sign):
        assert secret not in raised.value.errmsg


def test_e3_a_widened_window_counts_for_both_kinds() -> None:
    late = "20210328020000"  # 76 minutes before
    with pytest.raises(ProtocolError):
        judge_request(device_request(time_stamp=late), SESSION_FACTS)
    with pytest.raises(ProtocolError):
        judge_auth(auth_request(time_stamp=late), AUTH_FACTS)

    wide_session = msgspec.structs.replace(SESSION_FACTS, window_seconds=7200)
    assert judge_request(device_request(time_stamp=late), wide_session).sent_at_ms == NOW_MS - (76 * 60 + 8) * 1000
    wide_auth = msgspec.structs.replace(AUTH_FACTS, window_seconds=7200)
    assert judge_auth(auth_request(time_stamp=late), wide_auth) is SignForm.AS_SENT


def padded(param_bytes: int) -> str:
    return '{"a":"' + "x" * (param_bytes - 8) + '"}'


def test_j1_param_of_c_auth_and_c_heartbeat_is_64_kib_at_most() -> None:
    assert judge_auth(auth_request(param=padded(KIB_64)), AUTH_FACTS) is SignForm.AS_SENT
    assert judge_request(device_request(param=padded(KIB_64)), SESSION_FACTS).form is SignForm.AS_SENT

    with pytest.raises(ProtocolError) as raised:
        judge_auth(auth_request(param=padded(KIB_64 + 1)), AUTH_FACTS)
    assert raised.value.code is ErrorCode.PARAM
    with pytest.raises(ProtocolError) as raised:
        judge_request(device_request(param=padded(KIB_64 + 1)), SESSION_FACTS)
    assert raised.value.code is ErrorCode.PARAM


def test_j1_param_of_c_sign_in_has_no_limit_but_the_frames() -> None:
    request = device_request(apicode="C_SIGN_IN", param=padded(3_000_000))

    assert judge_request(request, SESSION_FACTS).form is SignForm.AS_SENT


def test_j1_param_of_c_auth_may_be_empty_and_that_of_the_others_may_not() -> None:
    assert judge_auth(auth_request(param=""), AUTH_FACTS) is SignForm.AS_SENT
    for apicode in ("C_HEARTBEAT", "C_SIGN_IN"):
        with pytest.raises(ProtocolError) as raised:
            judge_request(device_request(apicode=apicode, param=""), SESSION_FACTS)
        assert raised.value.code is ErrorCode.PARAM


def test_j1_a_missing_comma_is_accepted_in_c_auth_alone() -> None:
    param = '{deviceVersion:""extendSn:""}'

    assert judge_auth(auth_request(param=param), AUTH_FACTS) is SignForm.AS_SENT
    with pytest.raises(ProtocolError) as raised:
        judge_request(device_request(param=param), SESSION_FACTS)
    assert raised.value.code is ErrorCode.PARAM


@pytest.mark.parametrize("param", ["[]", '"text"', "1", "null"])
def test_j1_a_param_that_is_no_object_is_400_02(param: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        judge_request(device_request(param=param), SESSION_FACTS)
    assert raised.value.code is ErrorCode.PARAM


def test_s3_a_pinned_vendor_is_held_to_its_form() -> None:
    pinned = msgspec.structs.replace(SESSION_FACTS, pinned=SignForm.COMPACT)
    request = device_request(param='{ "a": 1 }')  # signed as sent

    assert judge_request(request, SESSION_FACTS).form is SignForm.AS_SENT
    with pytest.raises(ProtocolError) as raised:
        judge_request(request, pinned)
    assert raised.value.code is ErrorCode.SIGN

    compact = md5("v1.0.0", "1388186", request.token, "C_HEARTBEAT", TIME_STAMP, '{"a":1}', SECRET)
    signed_compact = device_request(param='{ "a": 1 }', sign=compact)
    assert judge_request(signed_compact, pinned).form is SignForm.COMPACT


def test_s3_c_auth_of_a_pinned_vendor_is_held_to_its_form() -> None:
    pinned = msgspec.structs.replace(AUTH_FACTS, sign_form=SignForm.SORTED)
    request = auth_request(param='{"b":1,"a":2}')  # signed as sent

    assert judge_auth(request, AUTH_FACTS) is SignForm.AS_SENT
    with pytest.raises(ProtocolError) as raised:
        judge_auth(request, pinned)
    assert raised.value.code is ErrorCode.SIGN


def test_s3_a_remembered_form_is_only_a_hint() -> None:
    remembered = msgspec.structs.replace(SESSION_FACTS, remembered=SignForm.SORTED)

    assert judge_request(device_request(param='{"b":1,"a":2}'), remembered).form is SignForm.AS_SENT


# ── T_ requests ───────────────────────────────────────────────────────────────────────────────────────────────────

TASK_ORDER = [
    ("apicode", ErrorCode.APICODE, "apicode"),
    ("sn's length", ErrorCode.PARAM, "sn is not"),
    ("token unknown", ErrorCode.TOKEN, "token"),
    ("token of another sn", ErrorCode.SIGN, "another sn"),
    ("session ended", ErrorCode.REVOKED, "revoked or device disabled"),
    ("param no JSON", ErrorCode.PARAM, ""),
    ("sign", ErrorCode.SIGN, "sign wrong"),
]


def task_request(
    *, apicode: str = "T_GET_TASKS", sn: str = "1388186", param: str | None = "{}", sign: str | None = None
) -> TaskRequest:
    token = "696e8019b6fe4dbcb7e5ced91a1c771c"
    right = md5("v1.0.0", sn, token, apicode, param or "", SECRET)
    return TaskRequest(
        version="v1.0.0",
        sn=sn,
        token=token,
        apicode=apicode,
        task_id=None,
        param_text=param,
        sign=right if sign is None else sign,
    )


def judge_task(request: TaskRequest, facts: SessionFacts | None) -> VerifiedTask:
    check_head(request)
    return verify_task_request(request, facts)


def task_with(faults: set[str]) -> tuple[TaskRequest, SessionFacts | None]:
    request = task_request(
        apicode="" if "apicode" in faults else "T_GET_TASKS",
        sn="" if "sn's length" in faults else "1388186",
        param="not JSON" if "param no JSON" in faults else "{}",
        sign="0" * 32 if "sign" in faults else None,
    )
    if "token unknown" in faults:
        return request, None
    facts = msgspec.structs.replace(
        SESSION_FACTS,
        sn="another" if "token of another sn" in faults else request.sn,
        ended="session ended" in faults,
    )
    return request, facts


@pytest.mark.parametrize(("earlier", "later", "code", "detail"), pairs(TASK_ORDER))
def test_e2_of_two_faults_a_task_request_answers_the_earlier(
    earlier: str, later: str, code: ErrorCode, detail: str
) -> None:
    request, facts = task_with({earlier, later})

    with pytest.raises(ProtocolError) as raised:
        judge_task(request, facts)

    assert raised.value.code is code
    assert detail in raised.value.detail


@pytest.mark.parametrize(
    ("apicode", "detail"),
    [("C_AUTH", "over TCP"), ("C_SIGN_IN", "over TCP"), ("T_NOTHING", "unknown"), ("t_get_tasks", "unknown")],
)
def test_e1_an_apicode_of_the_other_channel_or_of_none_is_400_01_over_https(apicode: str, detail: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_head(task_request(apicode=apicode))
    assert (raised.value.code, detail in raised.value.detail) == (ErrorCode.APICODE, True)


@pytest.mark.parametrize("param", [None, "{}"])
def test_s2_a_task_request_is_verified_with_and_without_param(param: str | None) -> None:
    verified = judge_task(task_request(param=param), SESSION_FACTS)

    assert verified.form is SignForm.AS_SENT
    assert (None if verified.param is None else verified.param.text) == param


def test_s3_a_task_request_of_a_pinned_vendor_is_held_to_its_form() -> None:
    pinned = msgspec.structs.replace(SESSION_FACTS, pinned=SignForm.COMPACT)

    with pytest.raises(ProtocolError) as raised:
        judge_task(task_request(param='{ "taskids": [] }'), pinned)
    assert raised.value.code is ErrorCode.SIGN
