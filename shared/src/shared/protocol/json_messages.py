"""The HTTPS form of requests and answers (J1, J4, E5) and their signatures (S2–S5)."""

from collections.abc import Sequence

import msgspec

from shared.protocol.apicodes import HTTPS_APICODES, Apicode
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_text import elements_at, members_at, quoted, string_value
from shared.protocol.messages import DEFAULT_VERSION, error_text
from shared.protocol.params import Param, parse_param
from shared.protocol.signatures import SignForm, cut_out, forms_to_try, matching_form, md5_hex, member_cuts

# Which fields a request signs, and which its answer (S2, S5): the interfaces that differ from the rest.
_WITHOUT_TASK_ID = frozenset((Apicode.T_GET_TASKS, Apicode.T_UPDATE_TASKS_STATUS))
_RESPONSE_NOT_SIGNED = frozenset(
    (Apicode.T_DEL_DEVICE_PERSON, Apicode.T_CLEAR_DEVICE_PERSON, Apicode.T_UPDATE_DEVICE_VERSION)
)


_MAX_MARKS = 200_000
"""Of a body and of its param: a roster of 10,000 persons on one page has 130,000, and the report of a task in which
10,000 persons and their faces failed 100,000 (json_text.MAX_MARKS)."""


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A T_ request (3.1 to 3.8); a text that was absent or null is empty."""

    version: str
    sn: str
    token: str
    apicode: str
    task_id: str | None
    param_text: str | None
    """param as sent: the exact text of the object, or what the string says (J4, S3); None where absent or null."""
    sign: str

    def read_param(self) -> Param | None:
        """Reads param; after token and credential were checked (E2). Raises ProtocolError (400_02)."""
        return None if self.param_text is None else parse_param(self.param_text, max_marks=_MAX_MARKS)


def parse_json_request(body: bytes) -> TaskRequest:
    """Reads the body of a T_ request, strict or loose (J1).

    Raises ProtocolError (400_02) where it is not UTF-8, not a JSON object, or a field of it is not text; no answer to
    that is signed (S5).
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(ErrorCode.PARAM, "body is not UTF-8") from error
    fields = parse_param(text, max_marks=_MAX_MARKS)
    return TaskRequest(
        version=fields.read_text("version") or "",
        sn=fields.read_text("sn") or "",
        token=fields.read_text("token") or "",
        apicode=fields.read_text("apicode") or "",
        task_id=fields.read_text("taskid", "taskId"),
        param_text=_param_text(fields),
        sign=fields.read_text("sign") or "",
    )


def _param_text(fields: Param) -> str | None:
    written = fields.written("param")
    if written is None or written == "null":
        return None
    if written[0] in "\"'":
        return string_value(written, 0, len(written)) or None
    return written


def task_request_sign_form(
    request: TaskRequest, param: Param | None, secret: str, *, pinned: SignForm | None, remembered: SignForm | None
) -> SignForm | None:
    """The form in which a T_ request's param was signed; None where the sign is wrong (S2–S4)."""
    task_id = None if request.apicode in _WITHOUT_TASK_ID else request.task_id
    head = (request.version, request.sn, request.token, task_id, request.apicode)
    forms = forms_to_try(pinned, remembered)
    return matching_form(request.sign, head, _signed_param(request.apicode, param), secret, forms)


def _signed_param(apicode: str, param: Param | None) -> str | None:
    if param is None or apicode == Apicode.T_CLEAR_DEVICE_PERSON:
        return None
    if apicode == Apicode.T_POST_DEVICE_PERSON:
        return cut_out(param.text, _picture_cuts(param))
    return param.text


def _picture_cuts(param: Param) -> list[tuple[int, int]]:
    """The img of every element of data (S4)."""
    text = param.text
    cuts: list[tuple[int, int]] = []
    for member in param.members:
        if member.name == "data" and text[member.value_start] == "[":
            for start, _ in elements_at(text, member.value_start):
                if text[start] == "{":
                    cuts += member_cuts(members_at(text, start), "img")
    return cuts


def encode_json_answer(
    *,
    apicode: str,
    version: str,
    task_id: str | None = None,
    response: str | None = None,
    error: ProtocolError | None = None,
    secret: str | None,
) -> bytes:
    """The body of the answer to a T_ request: success unless there is an error.

    `response` is compact JSON text; it stands in the body as it is signed. Without a secret, or for an apicode that
    is none of the T_ interfaces, the answer is not signed (S5).
    """
    version = version or DEFAULT_VERSION
    success = "true" if error is None else "false"
    members = [f'"version":{quoted(version)}', f'"success":{success}']
    if error is not None:
        response = None
        members.append(f'"error":{error_text(error.code, error.detail)}')
    elif response is not None:
        members.append(f'"response":{response}')
    if secret is not None and apicode in HTTPS_APICODES:
        sign = md5_hex(version, success, *_signed_of_answer(apicode, task_id, response), secret)
        members.append(f'"sign":"{sign}"')
    return ("{" + ",".join(members) + "}").encode()


def _signed_of_answer(apicode: str, task_id: str | None, response: str | None) -> Sequence[str | None]:
    if apicode in _WITHOUT_TASK_ID:
        return (response,)
    if apicode in _RESPONSE_NOT_SIGNED:
        return (task_id,)
    return task_id, response
