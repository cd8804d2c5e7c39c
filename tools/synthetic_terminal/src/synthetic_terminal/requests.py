"""What the terminal sends: C_AUTH and C_SIGN_IN as frames, and the id that its sign-in gets. No socket, no clock."""

import time
import uuid
from collections.abc import Mapping

from terminal_simulator.habits import Account
from terminal_simulator.signing import ParamStyle, SignForm, sign, signed_text, write_param
from terminal_simulator.wire import encode_frame, encode_message

VERSION = "v1.0.0"
BEIJING_SECONDS = 8 * 3600
PERSON = "SYNTHETIC"
"""Nobody: persons have decimal ids."""
IC_CARD = 2
EVENT_NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")
"""Of design rule 2: whoever knows what was sent knows the id, and can look whether it is stored."""


def auth_frame(sn: str, account: Account, now_ms: int) -> bytes:
    """C_AUTH, without a param."""
    head = (VERSION, sn, "C_AUTH", account.access_id, account.access_key, _time_stamp(now_ms))
    return encode_frame(encode_message([*head, "", sign(*head, account.access_secret)]))


def sign_in_frame(sn: str, account: Account, token: str, record_time_ms: int, now_ms: int) -> bytes:
    """C_SIGN_IN, as small as one can be."""
    members: Mapping[str, object] = {"personId": PERSON, "type": IC_CARD, "recordTime": record_time_ms}
    head = (VERSION, sn, token, "C_SIGN_IN", _time_stamp(now_ms))
    signed = signed_text(members, ParamStyle.STRICT, SignForm.AS_SENT)
    param = write_param(members, ParamStyle.STRICT)
    return encode_frame(encode_message([*head, param, sign(*head, signed, account.access_secret)]))


def event_id(sn: str, record_time_ms: int) -> str:
    """The id of that sign-in."""
    return str(uuid.uuid5(EVENT_NAMESPACE, f"{sn}\x1f{PERSON}\x1f{record_time_ms}\x1f{IC_CARD}"))


def _time_stamp(now_ms: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(now_ms // 1000 + BEIJING_SECONDS))
