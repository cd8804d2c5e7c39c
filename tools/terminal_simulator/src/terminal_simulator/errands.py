"""A terminal's tasks (3.1, 3.2): which it has to fetch, to do, to report. No socket, no clock.

1. A task is heard of in a heartbeat, and then fetched, or it comes whole with a pushed command. It is done once.
2. Its outcome is reported until the platform has taken the report. The platform lists it until then, so that nothing
   is lost with an answer; what heartbeats list no more is forgotten.
3. One call is under way at a time. What the platform cannot do now is asked again after a pause.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Any

from terminal_simulator.habits import Habits
from terminal_simulator.signing import ParamStyle, sign, signed_text, write_body, write_param
from terminal_simulator.tally import Tally
from terminal_simulator.wire import MalformedAnswer, read_members

VERSION = "v1.0.0"
KNOWN_APICODES = frozenset(
    (
        "T_SEND_PERSON",
        "T_UPDATE_DEVICE_PERSON",
        "T_DEL_DEVICE_PERSON",
        "T_CLEAR_DEVICE_PERSON",
        "T_UPDATE_DEVICE_VERSION",
        "T_POST_DEVICE_PERSON",
    )
)
MOST_TASKS_A_CALL = 50
MOST_SIGNATURE_REFUSALS = 3
REFUSED_TOKEN = ("401_01", "401_02", "400_04")


class Status(IntEnum):
    """How a task ended (3.2.2)."""

    DONE = 1
    FAILED = 2
    UNSUPPORTED = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A request over HTTPS."""

    apicode: str
    task_ids: tuple[str, ...]
    token: str
    body: bytes


class Errands:
    """The tasks of one terminal; every time is seconds since the epoch and comes as an argument."""

    def __init__(self, sn: str, access_secret: str, habits: Habits, tally: Tally, random: Random) -> None:
        self._sn = sn
        self._access_secret = access_secret
        self._habits = habits
        self._tally = tally
        self._random = random
        self._persons = habits.persons
        """How many workers the terminal holds."""
        self._wanted: dict[str, None] = {}
        self._outcomes: dict[str, Status] = {}  # done and not reported yet
        self._reported: set[str] = set()
        self._under_way: Call | None = None
        self._pause_until = 0.0
        self._refusals = 0

    # what the terminal hears

    def listed(self, task_ids: Iterable[str]) -> None:
        """What a heartbeat lists."""
        now_listed = set(task_ids)
        self._reported &= now_listed
        for task_id in now_listed - self._reported - self._outcomes.keys():
            self._wanted[task_id] = None

    def pushed(self, command: Mapping[str, Any], apicode: str) -> None:
        """A command that the platform pushed."""
        task_id = str(command.get("taskid", ""))
        if task_id and task_id not in self._reported:
            self._wanted.pop(task_id, None)
            self._do(task_id, apicode)

    # what is to be asked

    @property
    def under_way(self) -> bool:
        """A call waits for its answer."""
        return self._under_way is not None

    def wake_at(self) -> float | None:
        """When the next call is due; None where there is none to make."""
        if self._under_way is not None or not (self._wanted or self._outcomes):
            return None
        return self._pause_until

    def next_call(self, token: str, now: float) -> Call | None:
        """The call to make now: reports first."""
        due_at = self.wake_at()
        if not token or due_at is None or now < due_at:
            return None
        task_ids = tuple(self._outcomes or self._wanted)[:MOST_TASKS_A_CALL]
        if self._outcomes:
            call = self._call("T_UPDATE_TASKS_STATUS", self._report(task_ids), task_ids, token)
        else:
            call = self._call("T_GET_TASKS", {"taskids": list(task_ids)}, task_ids, token)
        self._under_way = call
        return call

    def answered(self, call: Call, body: bytes, now: float) -> str:
        """Takes the answer; returns its error code, "" for success. Raises MalformedAnswer, after which the call is
        made again."""
        self._under_way = None
        self._pause(now)
        answer = read_answer(body, self._access_secret)
        if answer["success"]:
            self._pause_until = now
            self._refusals = 0
            if call.apicode == "T_GET_TASKS":
                self._fetched(call, answer.get("response"))
            else:
                self._were_reported(call)
            return ""
        code = str(answer["error"].get("errorcode", ""))
        self._refusals += code == "400_04"
        if code in ("400_01", "400_02") or self._refusals >= MOST_SIGNATURE_REFUSALS:
            self._drop(call)  # asking again would not help
        return code

    def not_answered(self, now: float) -> None:
        """The call came to nothing, and is made again later."""
        self._under_way = None
        self._pause(now)

    # the rest

    def _pause(self, now: float) -> None:
        self._pause_until = now + self._random.uniform(1.0, 5.0)

    def _fetched(self, call: Call, response: object) -> None:
        tasks = response.get("tasks") if isinstance(response, dict) else None
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "taskid" in task for task in tasks):
            raise MalformedAnswer("T_GET_TASKS without tasks")
        self._drop(call)  # what was not given has ended
        for task in tasks:
            self._tally.tasks_fetched += 1
            self._do(str(task["taskid"]), str(task.get("apicode", "")))

    def _do(self, task_id: str, apicode: str) -> None:
        if task_id in self._outcomes:
            return
        chance = self._random.random()
        if apicode not in KNOWN_APICODES or chance < self._habits.unsupported_share:
            self._outcomes[task_id] = Status.UNSUPPORTED
        elif chance < self._habits.unsupported_share + self._habits.failed_share:
            self._outcomes[task_id] = Status.FAILED
        else:
            self._outcomes[task_id] = Status.DONE
            if apicode == "T_CLEAR_DEVICE_PERSON":
                self._persons = 0

    def _report(self, task_ids: tuple[str, ...]) -> dict[str, object]:
        # The table has the ids as a list called taskId, the example one as taskid.
        if self._habits.style is ParamStyle.LOOSE:
            tasks = [{"taskid": task_id, "status": int(self._outcomes[task_id])} for task_id in task_ids]
        else:
            tasks = [{"taskId": [task_id], "status": int(self._outcomes[task_id])} for task_id in task_ids]
        return {"task": tasks, "personCount": self._persons, "faceCount": self._persons}

    def _were_reported(self, call: Call) -> None:
        for task_id in call.task_ids:
            self._tally.tasks_reported[self._outcomes[task_id].name.lower()] += 1
        self._drop(call)
        self._reported.update(call.task_ids)

    def _drop(self, call: Call) -> None:
        for task_id in call.task_ids:
            if call.apicode == "T_GET_TASKS":
                self._wanted.pop(task_id, None)
            else:
                self._outcomes.pop(task_id, None)

    def _call(self, apicode: str, members: Mapping[str, object], task_ids: tuple[str, ...], token: str) -> Call:
        style = self._habits.style
        signed = signed_text(members, style, self._habits.form)
        head = {
            "version": VERSION,
            "sn": self._sn,
            "token": token,
            "apicode": apicode,
            "sign": sign(VERSION, self._sn, token, apicode, signed, self._access_secret),
        }
        return Call(apicode, task_ids, token, write_body(head, write_param(members, style), style).encode())


def read_answer(body: bytes, access_secret: str) -> dict[str, Any]:
    """The answer, its signature verified: success and response as they stand in the text (3.1.3, 3.2.3).

    Raises MalformedAnswer. An error may come without a signature: where the platform does not know whose secret to use.
    """
    texts, answer = read_members(body)
    success = answer.get("success")
    if not isinstance(success, bool) or not (success or isinstance(answer.get("error"), dict)):
        raise MalformedAnswer("an answer without success, or without an error where there is none")
    if "sign" in answer or success:
        expected = sign(
            str(answer.get("version", "")), "true" if success else "false", texts.get("response", ""), access_secret
        )
        if answer.get("sign") != expected:
            raise MalformedAnswer("the platform's signature is wrong")
    return answer
