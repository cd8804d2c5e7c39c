"""A bench for a terminal's errands: the test's hands are its clock and its platform, whose signatures are made here."""

import hashlib
import json
from dataclasses import replace
from random import Random
from typing import Any

from terminal_simulator.calls import Call, Download, Downloaded
from terminal_simulator.errands import Errands
from terminal_simulator.habits import Account, Habits
from terminal_simulator.holdings import Holdings
from terminal_simulator.tally import Tally

SN, TOKEN, SECRET = "1388186", "696e8019b6fe4dbcb7e5ced91a1c771c", "93f6218530984c32a3bf2b3d03dcb417"
ACCOUNT = Account("id", "key", SECRET)
A, B = "6541951958563696640", "6541951958626611200"
RELIABLE = Habits(
    failed_share=0,
    unsupported_share=0,
    failed_persons_share=0,
    failed_faces_share=0,
    straying_share=0,
    lost_share=0,
)


def reliable(**changed: Any) -> Habits:
    """Habits of a terminal that does everything right, but for what is changed."""
    return replace(RELIABLE, **changed)


def md5(*fields: str) -> str:
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def success(response: str | None = None, signed: str | None = None) -> bytes:
    """A signed answer; `signed` is what stands between success and the secret, where it is not the response."""
    member = "" if response is None else f'"response": {response} ,'
    signature = md5("v1.0.0", "true", (response or "") if signed is None else signed, SECRET)
    return f'{{"version":"v1.0.0", "success":true,{member}"sign":"{signature}"}}'.encode()


def success_to(call: Call, response: object = None) -> bytes:
    """A signed answer to a task's own interface (S5)."""
    text = None if response is None else json.dumps(response, ensure_ascii=False, separators=(",", ":"))
    pages = ("T_SEND_PERSON", "T_UPDATE_DEVICE_PERSON", "T_POST_DEVICE_PERSON")
    return success(text, call.task_ids[0] + (text or "" if call.apicode in pages else ""))


def refusal(code: str, *, signed: bool = True, task_id: str = "") -> bytes:
    sign = f',"sign":"{md5("v1.0.0", "false", task_id, SECRET)}"' if signed else ""
    return f'{{"version":"v1.0.0","success":false,"error":{{"errorcode":"{code}","errmsg":"…"}}{sign}}}'.encode()


def given(*tasks: tuple[str, str]) -> bytes:
    """T_GET_TASKS's answer; a task is its id and its apicode."""
    return success(json.dumps({"tasks": [{"taskid": task_id, "apicode": apicode} for task_id, apicode in tasks]}))


def param_of(call: Call) -> Any:
    return json.loads(call.body)["param"]


class Bench:
    """A terminal's errands."""

    def __init__(self, habits: Habits = RELIABLE, seed: int = 5) -> None:
        self.now = 1000.0
        self.tally = Tally()
        self.holdings = Holdings()
        self.errands = Errands(SN, ACCOUNT, habits, self.tally, Random(seed), self.holdings)

    def call(self, apicode: str) -> Call:
        """The call that is due now, whose interface is the one expected."""
        call = self.errands.next_call(TOKEN, self.now)
        assert isinstance(call, Call)
        assert call.apicode == apicode
        return call

    def download(self) -> Download:
        """The download that is due now."""
        call = self.errands.next_call(TOKEN, self.now)
        assert isinstance(call, Download)
        return call

    def is_idle(self) -> bool:
        return self.errands.wake_at() is None and self.errands.next_call(TOKEN, self.now) is None

    def answer(self, call: Call, body: bytes) -> str:
        return self.errands.answered(call, body, self.now)

    def give(self, apicode: str, response: object = None) -> Call:
        """Answers the call that is due now with success; the call."""
        call = self.call(apicode)
        assert self.answer(call, success_to(call, response)) == ""
        return call

    def load(self, status: int, body: bytes = b"", etag: str = "") -> Download:
        """Answers the download that is due now; the download."""
        download = self.download()
        self.errands.downloaded(Downloaded(status, body, etag), self.now)
        return download

    def report(self) -> dict[str, Any]:
        """The report that is due now, taken by the platform: its one task object, with the counts beside it."""
        call = self.call("T_UPDATE_TASKS_STATUS")
        param = param_of(call)
        self.answer(call, success())
        (task,) = param["task"]
        return {**task, "personCount": param["personCount"], "faceCount": param["faceCount"]}
