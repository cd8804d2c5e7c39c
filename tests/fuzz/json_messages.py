"""Bodies of the T_ requests (J1, J4, S2 to S5): read or 400_02, never right without the secret, answers signed."""

import json

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import TaskRequest, encode_json_answer, parse_json_request
from shared.protocol.verification import SessionFacts, VerifiedTask, check_head, verify_task_request
from tests.fuzz.reading import outcome_of
from tests.unit.shared.protocol.test_signatures import md5

SECRET = "another secret than the one that signed the vectors"
WITHOUT_TASK_ID = ("T_GET_TASKS", "T_UPDATE_TASKS_STATUS")
RESPONSE_NOT_SIGNED = ("T_DEL_DEVICE_PERSON", "T_CLEAR_DEVICE_PERSON", "T_UPDATE_DEVICE_VERSION")


def check(data: bytes) -> None:
    """The input is one body."""
    request = outcome_of(lambda: parse_json_request(data))
    if isinstance(request, ProtocolError):
        assert request.code is ErrorCode.PARAM
        return
    facts = SessionFacts(
        sn=request.sn, access_secret=SECRET, ended=False, window_seconds=0, pinned=None, remembered=None
    )
    refusal = outcome_of(lambda: _verified(request, facts))
    assert isinstance(refusal, ProtocolError), "passed with a sign that was made without the secret"
    _check_answer(request, refusal)
    signed = _signed_as_sent(request)
    if signed is not None and refusal.code is ErrorCode.SIGN:  # the sign was all that was wrong with it
        assert isinstance(_verified(signed, facts), VerifiedTask)


def _verified(request: TaskRequest, facts: SessionFacts) -> VerifiedTask:
    check_head(request)
    return verify_task_request(request, facts)


def _signed_as_sent(request: TaskRequest) -> TaskRequest | None:
    """The same request with the right sign; None where pictures are cut out of its param (S4)."""
    if request.apicode == "T_POST_DEVICE_PERSON":
        return None
    task_id = "" if request.apicode in WITHOUT_TASK_ID else request.task_id or ""
    param = "" if request.apicode == "T_CLEAR_DEVICE_PERSON" else request.param_text or ""
    if any("\ud800" <= each <= "\udfff" for each in param):
        return None
    sign = md5(request.version + request.sn + request.token + task_id + request.apicode + param + SECRET)
    return TaskRequest(
        version=request.version,
        sn=request.sn,
        token=request.token,
        apicode=request.apicode,
        task_id=request.task_id,
        param_text=request.param_text,
        sign=sign,
    )


def _check_answer(request: TaskRequest, error: ProtocolError) -> None:
    version, task_id = request.version or "v1.0.0", request.task_id or ""
    refused = json.loads(_answer(request, None, error))
    assert refused["error"]["errorcode"] == error.code.code
    answered = json.loads(_answer(request, '{"taskids":[]}', None))
    for answer, signed in ((refused, ""), (answered, '{"taskids":[]}')):
        assert answer["version"] == version
        if not request.apicode.startswith("T_") or "sign" not in answer:
            assert "sign" not in answer
            continue
        parts = (task_id, signed)
        if request.apicode in WITHOUT_TASK_ID:
            parts = ("", signed)
        elif request.apicode in RESPONSE_NOT_SIGNED:
            parts = (task_id, "")
        success = "true" if answer["success"] else "false"
        assert answer["sign"] == md5(version + success + "".join(parts) + SECRET)


def _answer(request: TaskRequest, response: str | None, error: ProtocolError | None) -> bytes:
    return encode_json_answer(
        apicode=request.apicode,
        version=request.version,
        task_id=request.task_id,
        response=response,
        error=error,
        secret=SECRET,
    )
