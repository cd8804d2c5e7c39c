"""Requests over HTTPS and their answers (section 3): how they are written, signed and verified. No socket, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terminal_simulator.habits import Account, Habits
from terminal_simulator.signing import ParamStyle, sign, signed_text, write_body, write_param
from terminal_simulator.wire import MalformedAnswer, read_members

VERSION = "v1.0.0"
WITHOUT_TASK_ID = ("T_GET_TASKS", "T_UPDATE_TASKS_STATUS")
RESPONSE_IS_NOT_SIGNED = ("T_DEL_DEVICE_PERSON", "T_CLEAR_DEVICE_PERSON", "T_UPDATE_DEVICE_VERSION")
PARAM_IS_PRINTED_AS_TEXT = ("T_SEND_PERSON", "T_UPDATE_DEVICE_PERSON")


class WrongSignature(MalformedAnswer):
    """The platform's signature is not the one that the standard's formula gives."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the one address of the T_ interfaces."""

    apicode: str
    task_ids: tuple[str, ...]
    token: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Download:
    """A GET of a link that the platform gave; of `end` bytes at most, without `is_range` of the whole file."""

    url: str
    etag: str = ""
    """What is held already: asked for with If-None-Match."""
    start: int = 0
    end: int = 0
    """The byte after the last one wanted."""
    is_range: bool = False


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came of a Download; status 0 where nothing came, time and again."""

    status: int
    body: bytes = b""
    etag: str = ""


def make_call(
    apicode: str,
    members: Mapping[str, object] | None,
    task_ids: tuple[str, ...],
    *,
    sn: str,
    token: str,
    account: Account,
    habits: Habits,
) -> Call:
    """A signed request; without `members` it has no param."""
    style = habits.style
    task_id = {} if apicode in WITHOUT_TASK_ID else {"taskid": task_ids[0]}
    param = None if members is None else write_param(members, style)
    signed = "" if members is None else signed_text(members, style, habits.form)
    head = {
        "version": VERSION,
        "sn": sn,
        "token": token,
        "apicode": apicode,
        **task_id,
        "sign": sign(VERSION, sn, token, *task_id.values(), apicode, signed, account.access_secret),
    }
    as_text = style is ParamStyle.LOOSE and apicode in PARAM_IS_PRINTED_AS_TEXT  # 3.3.4, 3.4.4
    return Call(apicode, task_ids, token, write_body(head, param, style, as_text=as_text).encode())


def read_answer(call: Call, body: bytes, access_secret: str) -> dict[str, Any]:
    """The answer to a call, its signature verified over success, taskid and response as they stand in the text.

    Raises MalformedAnswer; WrongSignature. An error may come without a signature: where the platform does not know
    whose secret to use.
    """
    texts, answer = read_members(body)
    success = answer.get("success")
    if not isinstance(success, bool) or not (success or isinstance(answer.get("error"), dict)):
        raise MalformedAnswer("an answer without success, or without an error where there is none")
    if "sign" in answer or success:
        expected = sign(
            str(answer.get("version", "")),
            "true" if success else "false",
            "" if call.apicode in WITHOUT_TASK_ID else call.task_ids[0],
            "" if call.apicode in RESPONSE_IS_NOT_SIGNED else texts.get("response", ""),
            access_secret,
        )
        if answer.get("sign") != expected:
            raise WrongSignature("the platform's signature is wrong")
    return answer
