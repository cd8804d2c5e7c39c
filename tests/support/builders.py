"""Messages of the protocol as bytes, right by default, wrong where a test wants them so.

They are built with the simulator's wire and signing code, never with the server's, so that a misreading cannot agree
with itself.
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from terminal_simulator.signing import ParamStyle, SignForm, sign, signed_text, write_param
from terminal_simulator.wire import encode_message

VERSION = "v1.0.0"
PERSON = "4508004291609636864"
BEIJING_SECONDS = 8 * 3600


class Credentials(Protocol):
    """What a vendor's terminals authenticate with."""

    @property
    def access_id(self) -> str: ...
    @property
    def access_key(self) -> str: ...
    @property
    def access_secret(self) -> str: ...


@dataclass(frozen=True)
class Vendor:
    """A vendor's credentials, as the operators' API shows them once."""

    access_id: str
    access_key: str
    access_secret: str


def time_stamp(offset_seconds: float = 0) -> str:
    """yyyyMMddHHmmss in Asia/Shanghai, now or so many seconds from now (E3)."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + BEIJING_SECONDS + offset_seconds))


def now_ms() -> int:
    """A recordTime of this moment."""
    return time.time_ns() // 1_000_000


def make_auth(
    vendor: Credentials,
    sn: str,
    *,
    nine_fields: bool = False,
    version: str = VERSION,
    apicode: str = "C_AUTH",
    access_id: str | None = None,
    access_key: str | None = None,
    sent_secret: str | None = None,
    stamp: str | None = None,
    param: str = "{}",
    signed_param: str | None = None,
    signature: str | None = None,
) -> bytes:
    """C_AUTH in the table's eight-field layout, or in the printed nine-field one (M1, M2).

    `sent_secret` is the nine-field layout's sixth value; `signed_param` is signed where it differs from `param`.
    """
    access_id = vendor.access_id if access_id is None else access_id
    access_key = vendor.access_key if access_key is None else access_key
    stamp = time_stamp() if stamp is None else stamp
    if signature is None:
        text = param if signed_param is None else signed_param
        signature = sign(version, sn, apicode, access_id, access_key, stamp, text, vendor.access_secret)
    secret = [vendor.access_secret if sent_secret is None else sent_secret] if nine_fields else []
    return encode_message([version, sn, apicode, access_id, access_key, *secret, stamp, param, signature])


def make_request(
    secret: str,
    sn: str,
    token: str,
    apicode: str,
    param: str,
    *,
    signed_param: str | None = None,
    version: str = VERSION,
    stamp: str | None = None,
    signature: str | None = None,
) -> bytes:
    """A request with a token (M3); `signed_param` is signed in place of `param` where they differ."""
    stamp = time_stamp() if stamp is None else stamp
    if signature is None:
        text = param if signed_param is None else signed_param
        signature = sign(version, sn, token, apicode, stamp, text, secret)
    return encode_message([version, sn, token, apicode, stamp, param, signature])


def make_heartbeat(
    secret: str,
    sn: str,
    token: str,
    *,
    param: str = '{"deviceVersion":"v14.8.7","devicelp":"192.168.1.11"}',
    apicode: str = "C_HEARTBEAT",
    signed_param: str | None = None,
    version: str = VERSION,
    stamp: str | None = None,
    signature: str | None = None,
) -> bytes:
    """C_HEARTBEAT (2.2)."""
    return make_request(
        secret, sn, token, apicode, param, signed_param=signed_param, version=version, stamp=stamp, signature=signature
    )


def sign_in_members(
    *,
    person_id: str = PERSON,
    record_time: int | str | None = None,
    sign_in_type: int | str = 1,
    picture: bytes | None = None,
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The members of C_SIGN_IN's param in the order in which the standard prints them, then the others."""
    members: dict[str, object] = {"personId": person_id, "type": sign_in_type}
    if picture is not None:
        members["img"] = base64.b64encode(picture).decode()
    members["recordTime"] = now_ms() if record_time is None else record_time
    return members | dict(extra or {})


def make_sign_in(
    secret: str,
    sn: str,
    token: str,
    *,
    person_id: str = PERSON,
    record_time: int | str | None = None,
    sign_in_type: int | str = 1,
    picture: bytes | None = None,
    extra: Mapping[str, object] | None = None,
    style: ParamStyle = ParamStyle.STRICT,
    form: SignForm = SignForm.AS_SENT,
    param: str | None = None,
    signed_param: str | None = None,
    version: str = VERSION,
    stamp: str | None = None,
    signature: str | None = None,
) -> bytes:
    """C_SIGN_IN (2.3). `param` replaces the text built from the members; then it is signed whole unless told else."""
    if param is None:
        members = sign_in_members(
            person_id=person_id, record_time=record_time, sign_in_type=sign_in_type, picture=picture, extra=extra
        )
        param = write_param(members, style)
        if signed_param is None:
            signed_param = signed_text(members, style, form)
    return make_request(
        secret,
        sn,
        token,
        "C_SIGN_IN",
        param,
        signed_param=signed_param,
        version=version,
        stamp=stamp,
        signature=signature,
    )
