"""The work of each task (3.3 to 3.8). A job is a generator: it yields what is to be asked or downloaded next, is sent
what came of it, and returns how the task ended. No socket, no clock."""

import base64
import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Any

from terminal_simulator.calls import Download, Downloaded
from terminal_simulator.face import picture
from terminal_simulator.habits import Habits
from terminal_simulator.holdings import Face, HeldPerson, Holdings
from terminal_simulator.signing import ParamStyle
from terminal_simulator.tally import Tally
from terminal_simulator.wire import MalformedAnswer

NO_FACE_FOUND, NO_PICTURE, NO_ROOM = "404_1", "404_2", "507_1"
"""Why a face or a person was not taken. The standard prints the first two and explains none."""
JPEG = b"\xff\xd8\xff"
MOST_FACE_BYTES = 4 * 1024 * 1024
RANGE_BYTES = 256 * 1024


class Status(IntEnum):
    """How a task ended (3.2.2)."""

    DONE = 1
    FAILED = 2
    UNSUPPORTED = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended, and the codes of whom it failed for."""

    status: Status
    failed_persons: Mapping[str, str] | None = None
    failed_faces: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it was given or pushed."""

    task_id: str
    apicode: str
    param: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """A call of the task's own interface; without `members` it has no param."""

    members: Mapping[str, object] | None = None


Step = Ask | Download
Reply = Mapping[str, Any] | Downloaded
Job = Generator[Step, Reply, Outcome]


class Work:
    """Starts the jobs of one terminal, which change what it holds."""

    def __init__(self, holdings: Holdings, habits: Habits, tally: Tally, random: Random) -> None:
        self._holdings = holdings
        self._habits = habits
        self._tally = tally
        self._random = random
        self._has_reported = False
        self._jobs = {
            "T_SEND_PERSON": self._take_persons,
            "T_UPDATE_DEVICE_PERSON": self._take_persons,
            "T_DEL_DEVICE_PERSON": self._delete_persons,
            "T_CLEAR_DEVICE_PERSON": self._clear,
            "T_UPDATE_DEVICE_VERSION": self._install,
            "T_POST_DEVICE_PERSON": self._report,
        }

    def start(self, task: Task) -> Job | None:
        """The job of a task; None where the terminal does not know its interface. Jobs raise MalformedAnswer."""
        begin = self._jobs.get(task.apicode)
        return None if begin is None else begin(task)

    def _take_persons(self, _: Task) -> Job:
        failed_persons: dict[str, str] = {}
        failed_faces: dict[str, str] = {}
        page, pages = 1, 1
        while page <= pages:
            wish = {"currentPage": page, "totalPage": pages, "size": self._habits.page_size}
            response = yield from _ask(wish)
            pages = _whole_number(response, "totalPage")
            for person in _objects(response, "data"):
                person_id = _text(person, "personId")
                if self._random.random() < self._habits.failed_persons_share:
                    failed_persons[person_id] = NO_ROOM
                    continue
                face, code = yield from self._take_face(person_id, person)
                if code:
                    failed_faces[person_id] = code
                self._holdings.persons[person_id] = HeldPerson(_text(person, "name"), face)
                self._tally.persons_taken += 1
            page += 1
        self._tally.persons_failed += len(failed_persons)
        self._tally.faces_failed += len(failed_faces)
        return Outcome(Status.DONE, failed_persons, failed_faces)

    def _take_face(self, person_id: str, person: Mapping[str, Any]) -> Generator[Step, Reply, tuple[Face | None, str]]:
        """The person's face as it is now, and the code where there is one and it cannot be taken."""
        urls = person.get("imgUrls") or person.get("imgUrIs")  # printed with an I in 3.3.5
        if not urls:
            return None, ""
        held = self._holdings.persons.get(person_id)
        known = None if held is None else held.face
        url = str(urls[0] if isinstance(urls, list) else urls)
        loaded = yield from _download(Download(url, known.etag if known else "", end=MOST_FACE_BYTES))
        if loaded.status == 304 and known is not None:
            return known, ""
        if loaded.status != 200 or not loaded.body.startswith(JPEG) or len(loaded.body) >= MOST_FACE_BYTES:
            return None, NO_PICTURE
        if self._random.random() < self._habits.failed_faces_share:
            return None, NO_FACE_FOUND
        self._tally.faces_taken += 1
        return Face(loaded.etag, hashlib.sha256(loaded.body).hexdigest()), ""

    def _delete_persons(self, _: Task) -> Job:
        response = yield from _ask()
        person_ids = response.get("personIds")
        if not isinstance(person_ids, list):
            raise MalformedAnswer("personIds is not a list")
        for person_id in map(str, person_ids):
            self._tally.persons_deleted += self._holdings.persons.pop(person_id, None) is not None
        return Outcome(Status.DONE)

    def _clear(self, _: Task) -> Job:
        yield from _ask()
        self._tally.persons_deleted += len(self._holdings.persons)
        self._holdings.persons.clear()
        return Outcome(Status.DONE)

    def _install(self, task: Task) -> Job:
        package = task.param
        # As printed (3.7.4) the request has no param.
        named = {name: package[name] for name in ("version", "size", "downloadUrl") if name in package}
        response = yield from _ask(named if named and self._habits.style is ParamStyle.STRICT else None)
        # The task's param was signed, this response was not: it only brings a newer link.
        package = package or response
        version, size = _text(package, "version"), _whole_number(package, "size")
        url = str(response.get("downloadUrl") or _text(package, "downloadUrl"))
        digest, loaded = hashlib.sha256(), 0
        while loaded < size:
            end = min(loaded + RANGE_BYTES, size)
            part = yield from _download(Download(url, start=loaded, end=end, is_range=True))
            if part.status not in (200, 206) or len(part.body) != end - loaded:
                return Outcome(Status.FAILED)
            digest.update(part.body)
            loaded = end
        if package.get("sha256") not in (None, digest.hexdigest()):
            return Outcome(Status.FAILED)
        self._holdings.device_version = version
        self._tally.packages_installed += 1
        return Outcome(Status.DONE)

    def _report(self, task: Task) -> Job:
        if not self._has_reported and self._random.random() < self._habits.straying_share:
            self._tally.strayed += self._holdings.stray(self._random)
        self._has_reported = True
        named = task.param.get("excludeFields", "")
        excluded = set(named if isinstance(named, list) else str(named).replace(" ", "").split(","))
        held, size = list(self._holdings.persons.items()), self._habits.page_size
        total = max(1, -(-len(held) // size))
        for page in range(1, total + 1):
            persons = held[(page - 1) * size : page * size]
            data = [_reported(person_id, person, excluded) for person_id, person in persons]
            yield from _ask({"data": data, "currentPage": page, "totalPage": total})
        self._tally.rosters_reported += 1
        return Outcome(Status.DONE)


def _reported(person_id: str, person: HeldPerson, excluded: set[str]) -> dict[str, object]:
    members: dict[str, object] = {"personId": person_id, "name": person.name}
    if person.face is not None:
        # A picture in the place of the one that was downloaded, whose bytes are not kept.
        members["img"] = base64.b64encode(picture(int(person.face.sha256[:12], 16))).decode()
    members["hasImg"] = int(person.face is not None)
    return {name: value for name, value in members.items() if name == "personId" or name not in excluded}


def _ask(members: Mapping[str, object] | None = None) -> Generator[Step, Reply, Mapping[str, Any]]:
    reply = yield Ask(members)
    if isinstance(reply, Downloaded):
        raise TypeError("an answer was waited for")
    return reply


def _download(download: Download) -> Generator[Step, Reply, Downloaded]:
    reply = yield download
    if not isinstance(reply, Downloaded):
        raise TypeError("a download was waited for")
    return reply


def _objects(response: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = response.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MalformedAnswer(f"{name} is not a list of objects")
    return value


def _whole_number(response: Mapping[str, Any], name: str) -> int:
    try:
        return int(response[name])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedAnswer(f"{name} is not a whole number") from error


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise MalformedAnswer(f"{name} is not a text")
    return value
