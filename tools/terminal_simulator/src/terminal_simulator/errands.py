"""A terminal's tasks (3.1, 3.2): which it has to fetch, to do, to report. No socket, no clock.

1. A task is heard of in a heartbeat, and then fetched, or it comes whole with a pushed command. It is done once, and
   the tasks that wait are done in any order.
2. Its outcome is reported until the platform has taken the report. The platform lists it until then, so that nothing
   is lost with an answer; what heartbeats list no more is forgotten.
3. One request is under way at a time. What the platform cannot do now is asked again after a pause.
4. A task that is to fail fails half-way: what it had changed by then stays so.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from terminal_simulator.calls import Call, Download, Downloaded, WrongSignature, make_call, read_answer
from terminal_simulator.habits import Account, Habits
from terminal_simulator.holdings import Holdings
from terminal_simulator.jobs import Job, Outcome, Reply, Status, Step, Task, Work
from terminal_simulator.signing import ParamStyle
from terminal_simulator.tally import Tally
from terminal_simulator.wire import MalformedAnswer

MOST_TASKS_A_CALL = 50
MOST_SIGNATURE_REFUSALS = 3
MOST_DOWNLOAD_TRIES = 3
MOST_STEPS_BEFORE_FAILING = 5
BUSY = 503
REFUSED_TOKEN = ("401_01", "401_02", "400_04")


@dataclass(slots=True)
class Running:
    """The job that is being done."""

    task: Task
    job: Job
    step: Step
    fails_after: int | None
    """Steps, where it is to fail."""
    tries: int = 0
    """Of the download that is its step."""


class Errands:
    """The tasks of one terminal; every time is seconds since the epoch and comes as an argument."""

    def __init__(
        self, sn: str, account: Account, habits: Habits, tally: Tally, random: Random, holdings: Holdings
    ) -> None:
        self._sn = sn
        self._account = account
        self._habits = habits
        self._tally = tally
        self._random = random
        self._holdings = holdings
        self._work = Work(holdings, habits, tally, random)
        self._wanted: dict[str, None] = {}
        self._given: dict[str, Task] = {}  # and not begun
        self._running: Running | None = None
        self._outcomes: dict[str, Outcome] = {}  # of ended ones, not reported yet
        self._reported: set[str] = set()
        self._under_way: Call | Download | None = None
        self._pause_until = 0.0
        self._refusals = 0

    # what the terminal hears

    def listed(self, task_ids: Iterable[str]) -> None:
        """What a heartbeat lists."""
        now_listed = set(task_ids)
        self._reported &= now_listed
        for task_id in now_listed - self._reported:
            if not self._is_known(task_id):
                self._wanted[task_id] = None

    def pushed(self, command: Mapping[str, Any], apicode: str) -> None:
        """A command that the platform pushed."""
        task_id = str(command.get("taskid", ""))
        if task_id and task_id not in self._reported:
            self._wanted.pop(task_id, None)
            self._take(task_id, apicode, command.get("param"))

    # what is to be asked

    @property
    def under_way(self) -> bool:
        """A request waits for its answer."""
        return self._under_way is not None

    def wake_at(self) -> float | None:
        """When the next request is due; None where there is none to make."""
        if self._under_way is not None or not (self._wanted or self._outcomes or self._running or self._given):
            return None
        return self._pause_until

    def next_call(self, token: str, now: float) -> Call | Download | None:
        """The request to make now: reports first."""
        due_at = self.wake_at()
        if not token or due_at is None or now < due_at:
            return None
        if not self._outcomes and not self._wanted and self._running is None:
            self._begin_one()
        if self._outcomes:
            task_ids = tuple(self._outcomes)[:MOST_TASKS_A_CALL]
            self._under_way = self._call("T_UPDATE_TASKS_STATUS", self._report(task_ids), task_ids, token)
        elif self._wanted:
            task_ids = tuple(self._wanted)[:MOST_TASKS_A_CALL]
            self._under_way = self._call("T_GET_TASKS", {"taskids": list(task_ids)}, task_ids, token)
        elif self._running is not None:
            self._under_way = self._next_step(self._running, token)
        return self._under_way

    def answered(self, call: Call, body: bytes, now: float) -> str:
        """Takes the answer to a call; returns its error code, "" for success. Raises MalformedAnswer, after which the
        call is made again, or its task fails."""
        if self._random.random() < self._habits.lost_share:
            self._tally.answers_lost += 1
            self.not_answered(now)
            return ""
        self._under_way = None
        self._pause(now)
        try:
            answer = read_answer(call, body, self._account.access_secret)
        except WrongSignature:
            self._tally.wrong_signatures += 1
            raise
        if answer["success"]:
            response = answer.get("response")
            if call.apicode == "T_GET_TASKS":
                self._fetched(call, response)
            self._pause_until = now
            self._refusals = 0
            if call.apicode == "T_UPDATE_TASKS_STATUS":
                self._were_reported(call)
            elif self._running is not None and call.apicode != "T_GET_TASKS":
                self._advance(self._running, response if isinstance(response, dict) else {})
            return ""
        code = str(answer["error"].get("errorcode", ""))
        self._refusals += code == "400_04"
        if code in ("400_01", "400_02") or self._refusals >= MOST_SIGNATURE_REFUSALS:
            self._drop(call)  # asking again would not help
        return code

    def downloaded(self, downloaded: Downloaded, now: float) -> None:
        """Takes what a download brought. Raises MalformedAnswer where the task fails by it."""
        if downloaded.status == BUSY:
            self.not_answered(now)
        elif self._running is not None:
            self._under_way = None
            self._advance(self._running, downloaded)

    def not_answered(self, now: float) -> None:
        """The request came to nothing, and is made again later; a download not for ever."""
        is_download = isinstance(self._under_way, Download)
        self._under_way = None
        self._pause(now)
        if is_download and self._running is not None:
            self._running.tries += 1
            if self._running.tries >= MOST_DOWNLOAD_TRIES:
                self._advance(self._running, Downloaded(status=0))

    # the rest

    def _pause(self, now: float) -> None:
        self._pause_until = now + self._random.uniform(1.0, 5.0)

    def _is_known(self, task_id: str) -> bool:
        is_running = self._running is not None and self._running.task.task_id == task_id
        return is_running or task_id in self._given or task_id in self._outcomes

    def _fetched(self, call: Call, response: object) -> None:
        tasks = response.get("tasks") if isinstance(response, dict) else None
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "taskid" in task for task in tasks):
            raise MalformedAnswer("T_GET_TASKS without tasks")
        self._drop(call)  # what was not given has ended
        for task in tasks:
            self._tally.tasks_fetched += 1
            self._take(str(task["taskid"]), str(task.get("apicode", "")), task.get("param"))

    def _take(self, task_id: str, apicode: str, param: object) -> None:
        if not self._is_known(task_id):
            self._given[task_id] = Task(task_id, apicode, _read_param(param))

    def _begin_one(self) -> None:
        task = self._given.pop(self._random.choice(list(self._given)))
        chance = self._random.random()
        job = self._work.start(task)
        if job is None or chance < self._habits.unsupported_share:
            self._outcomes[task.task_id] = Outcome(Status.UNSUPPORTED)
            return
        fails = chance < self._habits.unsupported_share + self._habits.failed_share
        fails_after = self._random.randint(1, MOST_STEPS_BEFORE_FAILING) if fails else None
        self._running = Running(task, job, next(job), fails_after)

    def _next_step(self, running: Running, token: str) -> Call | Download:
        step, task = running.step, running.task
        if isinstance(step, Download):
            return step
        return self._call(task.apicode, step.members, (task.task_id,), token)

    def _advance(self, running: Running, reply: Reply) -> None:
        try:
            running.step = running.job.send(reply)
        except StopIteration as ended:
            outcome: Outcome = ended.value
            self._end(running, outcome if running.fails_after is None else Outcome(Status.FAILED))
        except MalformedAnswer:
            self._end(running, Outcome(Status.FAILED))
            raise
        else:
            running.tries = 0
            if running.fails_after is not None:
                running.fails_after -= 1
                if running.fails_after == 0:
                    self._end(running, Outcome(Status.FAILED))

    def _end(self, running: Running, outcome: Outcome) -> None:
        running.job.close()
        self._running = None
        self._outcomes[running.task.task_id] = outcome

    def _report(self, task_ids: tuple[str, ...]) -> dict[str, object]:
        return {
            "task": [self._report_one(task_id, self._outcomes[task_id]) for task_id in task_ids],
            "personCount": len(self._holdings.persons),
            "faceCount": self._holdings.face_count,
        }

    def _report_one(self, task_id: str, outcome: Outcome) -> dict[str, object]:
        # The table has the ids as a list called taskId, the example one as taskid.
        is_loose = self._habits.style is ParamStyle.LOOSE
        members: dict[str, object] = {"taskid": task_id} if is_loose else {"taskId": [task_id]}
        members["status"] = int(outcome.status)
        for name, failed in (("failedPersons", outcome.failed_persons), ("failedFaces", outcome.failed_faces)):
            if failed:
                members[name] = [{"personId": person_id, "errCode": code} for person_id, code in failed.items()]
        return members

    def _were_reported(self, call: Call) -> None:
        for task_id in call.task_ids:
            self._tally.tasks_reported[self._outcomes[task_id].status.name.lower()] += 1
        self._drop(call)
        self._reported.update(call.task_ids)

    def _drop(self, call: Call) -> None:
        if call.apicode == "T_GET_TASKS":
            for task_id in call.task_ids:
                self._wanted.pop(task_id, None)
        elif call.apicode == "T_UPDATE_TASKS_STATUS":
            for task_id in call.task_ids:
                self._outcomes.pop(task_id, None)
        elif self._running is not None:
            self._running.job.close()
            self._running = None

    def _call(self, apicode: str, members: Mapping[str, object] | None, task_ids: tuple[str, ...], token: str) -> Call:
        return make_call(
            apicode, members, task_ids, sn=self._sn, token=token, account=self._account, habits=self._habits
        )


def _read_param(param: object) -> Mapping[str, Any]:
    """A task's param: text in T_GET_TASKS, an object in a command; what is neither says nothing."""
    try:
        read = json.loads(param) if isinstance(param, str) else param
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
