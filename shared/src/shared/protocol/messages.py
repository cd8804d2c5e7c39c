"""The messages on TCP as frozen values, and their Protobuf bytes (M1–M7). The generated protobuf classes stop here."""

from functools import lru_cache

import msgspec
from google.protobuf.message import DecodeError

from shared.protocol.apicodes import Apicode
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.generated.device.v1 import messages_pb2

DEFAULT_VERSION = "v1.0.0"
"""The version of an answer to a request that had none, and of pushed commands (M5, C1)."""

_SHORT_CHARACTERS = 32
"""Of version and response together: `{}` and nothing are kept, a list of tasks or a token is not."""


class AuthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """C_AUTH (2.1), either layout."""

    version: str
    sn: str
    apicode: str
    access_id: str
    access_key: str
    access_secret: str | None
    """The nine-field layout's sixth value (M2); None in the eight-field layout."""
    time_stamp: str
    param: str
    sign: str


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """C_HEARTBEAT or C_SIGN_IN (2.2, 2.3)."""

    version: str
    sn: str
    token: str
    apicode: str
    time_stamp: str
    param: str
    sign: str


def decode_request(frame: bytes) -> AuthRequest | DeviceRequest:
    """Reads a frame; field 3 tells the two messages apart (M4).

    Raises ProtocolError(PARAM) where the bytes are not Protobuf, or a string is not UTF-8 (F4).
    """
    try:
        message = messages_pb2.DeviceRequest.FromString(frame)
        if message.token == Apicode.C_AUTH:
            return _auth_request(messages_pb2.AuthRequest.FromString(frame))
    except DecodeError as error:
        raise ProtocolError(ErrorCode.PARAM, "frame is not a Protobuf message of the standard") from error
    return DeviceRequest(
        version=message.version,
        sn=message.sn,
        token=message.token,
        apicode=message.apicode,
        time_stamp=message.time_stamp,
        param=message.param,
        sign=message.sign,
    )


def _auth_request(message: messages_pb2.AuthRequest) -> AuthRequest:
    access_secret: str | None = None
    time_stamp, param, sign = message.field_6, message.field_7, message.field_8
    if message.HasField("field_9"):  # the nine-field layout (M2)
        access_secret = message.field_6
        time_stamp, param, sign = message.field_7, message.field_8, message.field_9
    return AuthRequest(
        version=message.version,
        sn=message.sn,
        apicode=message.apicode,
        access_id=message.access_id,
        access_key=message.access_key,
        access_secret=access_secret,
        time_stamp=time_stamp,
        param=param,
        sign=sign,
    )


def encode_response(*, version: str, success: bool, apicode: str, error: str = "", response: str = "") -> bytes:
    """An answer or a pushed command (M5, C1), without the length before it."""
    return messages_pb2.Response(
        version=version or DEFAULT_VERSION, success=success, apicode=apicode, error=error, response=response
    ).SerializeToString()


def error_text(code: ErrorCode, detail: str) -> str:
    """The error member of an answer (M6)."""
    errmsg = ProtocolError(code, detail).errmsg
    # A detail may quote a name out of param, and JSON's escapes can spell half a surrogate pair, which UTF-8 cannot.
    encodable = errmsg.encode("utf-8", "replace").decode()
    return msgspec.json.encode({"errorcode": code.code, "errmsg": encodable}).decode()


def success_response(request: AuthRequest | DeviceRequest, response: str = "") -> bytes:
    """The answer to a request that was carried out; `response` is JSON text (M7)."""
    if len(request.version) + len(response) > _SHORT_CHARACTERS:
        return encode_response(version=request.version, success=True, apicode=request.apicode, response=response)
    return _short_success(request.version, request.apicode, response)


@lru_cache(maxsize=256)  # most answers of all devices are the same few: 0.1 µs in place of 0.8
def _short_success(version: str, apicode: str, response: str) -> bytes:
    return encode_response(version=version, success=True, apicode=apicode, response=response)


def error_response(request: AuthRequest | DeviceRequest | None, error: ProtocolError) -> bytes:
    """The answer to a request that was refused; None for a frame that was not understood (F3, F4)."""
    version, apicode = ("", "") if request is None else (request.version, request.apicode)
    return encode_response(version=version, success=False, apicode=apicode, error=error_text(error.code, error.detail))
