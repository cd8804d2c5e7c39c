"""Whether a request may be carried out: the checks of E2 in the order of E2, as straight-line code.

Each check is one function that raises ProtocolError. What must be looked up (credential, session) comes as facts.
"""

import hmac

import msgspec

from shared.protocol.apicodes import HTTPS_APICODES, TCP_APICODES, Apicode
from shared.protocol.device_time import check_time_stamp
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import TaskRequest, task_request_sign_form
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.params import Param, has_control_character, parse_param
from shared.protocol.signatures import SignForm, auth_sign_matches, request_sign_form

MAX_SMALL_PARAM_BYTES = 64 * 1024
"""param of C_AUTH and C_HEARTBEAT (J1); that of C_SIGN_IN carries a picture and is bounded by its frame."""

MAX_SN_CHARACTERS = 64


_WITH_TOKEN = TCP_APICODES - {Apicode.C_AUTH}


class AuthFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the credential that a C_AUTH names, and of the device."""

    access_key: str
    access_secret: str
    active: bool
    """The credential was not revoked."""
    bound_elsewhere: bool
    """The sn belongs to another vendor."""
    device_enabled: bool
    window_seconds: int
    sign_form: SignForm | None
    """The vendor's pinned form (S3)."""


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the session that a token names."""

    sn: str
    access_secret: str
    ended: bool
    """The credential was revoked, or the device disabled (E1)."""
    window_seconds: int
    pinned: SignForm | None
    """The vendor's pinned form (S3)."""
    remembered: SignForm | None
    """The form that matched last in this session (S3)."""


class Verified(msgspec.Struct, frozen=True):
    """What the checks found out on their way."""

    sent_at_ms: int
    param: Param
    form: SignForm


class VerifiedTask(msgspec.Struct, frozen=True):
    """The same of a T_ request, which carries no time."""

    param: Param | None
    """None where the request has none."""
    form: SignForm


def check_head(request: AuthRequest | DeviceRequest | TaskRequest) -> None:
    """The checks that need no facts: apicode, then sn's length. Raises ProtocolError."""
    if isinstance(request, DeviceRequest) and request.apicode not in _WITH_TOKEN:
        _check_apicode(request.apicode)
    elif isinstance(request, TaskRequest):
        _check_task_apicode(request.apicode)
    _check_sn(request.sn)


def verify_auth(request: AuthRequest, facts: AuthFacts | None, now_ms: int) -> SignForm:
    """C_AUTH after check_head, up to its sign; gives the form that was signed. Facts None: no such accessId.

    A replay (E4) is for the caller to find, after this. Raises ProtocolError.
    """
    facts = _check_access_key(request, facts)
    _check_credential_active(facts)
    _check_not_bound_elsewhere(facts)
    _check_device_enabled(facts)
    check_time_stamp(request.time_stamp, now_ms, facts.window_seconds)
    param = _parse_auth_param(request.param)
    return _check_auth_sign(request, param, facts)


def verify_request(request: DeviceRequest, facts: SessionFacts | None, now_ms: int) -> Verified:
    """C_HEARTBEAT or C_SIGN_IN after check_head, up to its sign. Facts None: no such token. Raises ProtocolError."""
    facts = _check_token(request, facts)
    _check_not_ended(facts)
    sent_at_ms = check_time_stamp(request.time_stamp, now_ms, facts.window_seconds)
    param = _parse_request_param(request)
    form = _check_request_sign(request, param, facts)
    return Verified(sent_at_ms, param, form)


def verify_task_request(request: TaskRequest, facts: SessionFacts | None) -> VerifiedTask:
    """A T_ request after check_head, up to its sign. Facts None: no such token. Raises ProtocolError."""
    facts = _check_token(request, facts)
    _check_not_ended(facts)
    param = request.read_param()
    form = _check_task_sign(request, param, facts)
    return VerifiedTask(param, form)


def _check_apicode(apicode: str) -> None:
    if not apicode:
        raise ProtocolError(ErrorCode.APICODE, "apicode empty")
    if apicode == Apicode.C_AUTH:
        raise ProtocolError(ErrorCode.APICODE, "C_AUTH stands in field 4, it belongs in field 3")
    if apicode in HTTPS_APICODES:
        raise ProtocolError(ErrorCode.APICODE, "apicode is served over HTTPS")
    if apicode not in TCP_APICODES:
        raise ProtocolError(ErrorCode.APICODE, "apicode unknown")


def _check_task_apicode(apicode: str) -> None:
    if not apicode:
        raise ProtocolError(ErrorCode.APICODE, "apicode empty")
    if apicode in TCP_APICODES:
        raise ProtocolError(ErrorCode.APICODE, "apicode is served over TCP")
    if apicode not in HTTPS_APICODES:
        raise ProtocolError(ErrorCode.APICODE, "apicode unknown")


def _check_sn(sn: str) -> None:
    if not 1 <= len(sn) <= MAX_SN_CHARACTERS:
        raise ProtocolError(ErrorCode.PARAM, "sn is not 1 to 64 characters")
    if has_control_character(sn):
        raise ProtocolError(ErrorCode.PARAM, "sn holds a control character")


def _check_access_key(request: AuthRequest, facts: AuthFacts | None) -> AuthFacts:
    # One detail for all of it: which of the values was wrong is nothing to tell a guesser.
    if facts is None or not _equal(request.access_key, facts.access_key):
        raise ProtocolError(ErrorCode.SIGN, "accessId or accessKey wrong")
    if request.access_secret is not None and not _equal(request.access_secret, facts.access_secret):
        raise ProtocolError(ErrorCode.SIGN, "accessId or accessKey wrong")
    return facts


def _check_credential_active(facts: AuthFacts) -> None:
    if not facts.active:
        raise ProtocolError(ErrorCode.REVOKED, "credential revoked")


def _check_not_bound_elsewhere(facts: AuthFacts) -> None:
    if facts.bound_elsewhere:
        raise ProtocolError(ErrorCode.SIGN, "sn belongs to another vendor")


def _check_device_enabled(facts: AuthFacts) -> None:
    if not facts.device_enabled:
        raise ProtocolError(ErrorCode.REVOKED, "device disabled")


def _parse_auth_param(text: str) -> Param | None:
    if not text:
        return None
    return parse_param(text, max_bytes=MAX_SMALL_PARAM_BYTES, missing_commas=True)


def _check_auth_sign(request: AuthRequest, param: Param | None, facts: AuthFacts) -> SignForm:
    form = auth_sign_matches(request, param, facts.access_secret, facts.sign_form)
    if form is None:
        raise ProtocolError(ErrorCode.SIGN, "sign wrong")
    return form


def _check_token(request: DeviceRequest | TaskRequest, facts: SessionFacts | None) -> SessionFacts:
    if facts is None:
        raise ProtocolError(ErrorCode.TOKEN, "no such token, or it expired")
    if facts.sn != request.sn:
        raise ProtocolError(ErrorCode.SIGN, "token belongs to another sn")
    return facts


def _check_not_ended(facts: SessionFacts) -> None:
    if facts.ended:
        raise ProtocolError(ErrorCode.REVOKED, "credential revoked or device disabled")


def _parse_request_param(request: DeviceRequest) -> Param:
    return parse_param(request.param, max_bytes=None if request.apicode == Apicode.C_SIGN_IN else MAX_SMALL_PARAM_BYTES)


def _check_request_sign(request: DeviceRequest, param: Param, facts: SessionFacts) -> SignForm:
    form = request_sign_form(request, param, facts.access_secret, pinned=facts.pinned, remembered=facts.remembered)
    if form is None:
        raise ProtocolError(ErrorCode.SIGN, "sign wrong")
    return form


def _check_task_sign(request: TaskRequest, param: Param | None, facts: SessionFacts) -> SignForm:
    form = task_request_sign_form(request, param, facts.access_secret, pinned=facts.pinned, remembered=facts.remembered)
    if form is None:
        raise ProtocolError(ErrorCode.SIGN, "sign wrong")
    return form


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
