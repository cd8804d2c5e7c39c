"""task-api over memory stores, and requests of terminals, signed by S2's formulas and none of the server's code."""

import hashlib
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from shared.domain.control import ControlEntry
from shared.domain.links import Links
from shared.domain.persons import NewPerson
from shared.domain.sealing import Sealer
from shared.domain.tasks import DEVICE, HistoryEntry, Task, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import ManualClock
from shared.stores.control_reader import ControlReader
from shared.stores.ended_view import EndedView
from shared.stores.interfaces import NewSession, NewTask
from shared.stores.memory import MemoryControlStream, MemoryDeviceStore, MemoryEndedStore, MemorySessionStore
from shared.stores.memory_firmware import MemoryFirmwareStore
from shared.stores.memory_persons import MemoryFaceStore, MemoryPersonStore
from shared.stores.memory_rosters import MemoryRosterMarks, MemoryRosterStore
from shared.stores.memory_tasks import MemoryLock, MemoryPendingTasks, MemoryTaskStore
from task_api.app import create_app
from task_api.device_endpoint import DeviceEndpoint
from task_api.downloads import Downloads
from task_api.interfaces.interface import Parts
from task_api.metrics import TaskApiMetrics
from task_api.sessions import Sessions
from task_api.settings import TaskApiSettings
from tests.support.session_values import NOW_MS, make_session
from tests.support.task_values import make_task

SN = "1388186"
TOKEN = "696e8019b6fe4dbcb7e5ced91a1c771c"
SECRET = "93f6218530984c32a3bf2b3d03dcb417"
VERSION = "v1.0.0"
GRACE_MS = 60_000


def md5(*fields: str) -> str:
    """S1."""
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def make_body(
    apicode: str,
    param: object = None,
    *,
    sn: object = SN,
    token: str = TOKEN,
    task_id: str | None = None,
    sign: str | None = None,
    secret: str = SECRET,
    version: str = VERSION,
) -> bytes:
    """A request as a JSON library writes it; param, where it is no text, as compact JSON. Signed as S2 says for the
    interfaces that carry their ids in param, and for the others with their taskid."""
    text = param if isinstance(param, str) else "" if param is None else json.dumps(param, separators=(",", ":"))
    body: dict[str, object] = {"version": version, "sn": sn, "token": token, "apicode": apicode}
    if task_id is not None:
        body["taskid"] = task_id
    body["sign"] = md5(version, str(sn), token, task_id or "", apicode, text, secret) if sign is None else sign
    head = json.dumps(body, separators=(",", ":"))
    if param is None:
        return head.encode()
    return f'{head[:-1]},"param":{json.dumps(text) if isinstance(param, str) else text}}}'.encode()


def read_answer(body: bytes, *, task_id: str = "", response_signed: bool = True, secret: str = SECRET) -> Any:
    """The answer, its signature verified over the exact text of `response` (S5)."""
    answer = json.loads(body)
    response = ""
    if "response" in answer and response_signed:
        text = body.decode()
        response = text[text.index('"response":') + len('"response":') : text.rindex(',"sign":')]
        assert json.loads(response) == answer["response"]
    success = "true" if answer["success"] else "false"
    assert answer["sign"] == md5(answer["version"], success, task_id, response, secret)
    return answer


def error_code(answer: Any) -> str:
    """The error code of an answer; "" where it is a success."""
    return "" if answer["success"] else str(answer["error"]["errorcode"])


async def ask_over_https(https: str, ca: Path, body: bytes) -> None:
    """A device's request to a running task-api, which succeeds."""
    trusted = ssl.create_default_context(cafile=ca)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{https}/api/device", data=body, ssl=trusted) as answer,
    ):
        assert (await answer.json())["success"], await answer.text()


class TaskApi:
    """The device endpoint and everything behind it, in memory."""

    def __init__(self, settings: TaskApiSettings | None = None) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.told = MemoryControlStream()
        """What the pending index told: a stream of its own, so that a test reads it and nobody else does."""
        self.session_store = MemorySessionStore(self.clock, self.control)
        self.ended_store = MemoryEndedStore(self.clock, self.control)
        self.tasks = MemoryTaskStore()
        self.pending = MemoryPendingTasks(self.told)
        self.lock = MemoryLock()
        self.metrics = TaskApiMetrics()
        self.sealer = Sealer({"k1": b"0" * 32})
        view = EndedView(GRACE_MS)
        self.ended = ControlReader(self.control, self.ended_store, view, self.clock)
        self.sessions = Sessions(self.session_store, view, self.sealer, self.clock)
        self.settings = settings or TaskApiSettings()
        self.persons = MemoryPersonStore()
        self.links = Links({"k1": b"1" * 32}, "https://devices.example")
        self.devices = MemoryDeviceStore()
        self.rosters = MemoryRosterStore()
        self.roster_marks = MemoryRosterMarks(self.rosters, self.devices, self.clock)
        parts = Parts(
            tasks=self.tasks,
            pending=self.pending,
            persons=self.persons,
            devices=self.devices,
            rosters=self.rosters,
            roster_marks=self.roster_marks,
            links=self.links,
        )
        self.endpoint = DeviceEndpoint(self.settings, self.sessions, parts, self.clock, self.metrics)
        self.faces = MemoryFaceStore()
        self.firmware = MemoryFirmwareStore()
        self.downloads = Downloads(self.links, self.faces, self.firmware, self.clock, self.metrics, self.settings)
        self.app = create_app(self.settings, self.endpoint, self.downloads, self.metrics)

    async def begin(self, *, sn: str = SN, token: str = TOKEN, secret: str = SECRET, **changes: object) -> None:
        """Opens a device's session; the control stream is read from here on."""
        session = make_session(token, sn, sealed_secret=self.sealer.seal(secret, "a1"), **changes)
        await self.session_store.open_many([NewSession(session=session, sign=f"sign of {token}", replay_window_ms=1)])
        await self.ended.read_once()
        assert await self.told.read(1) is None

    async def add(self, *tasks: Task) -> None:
        """Stores tasks and lists them in the index."""
        await self.tasks.add_many([NewTask(task=task) for task in tasks])
        for task in tasks:
            await self.pending.add_many({task.sn: [task.task_id]})
        await self.told.read(1)

    async def add_naming(self, task_id: str, apicode: Apicode, *person_ids: str) -> None:
        """Stores a task that names persons."""
        task = make_task(task_id, SN, apicode=apicode, named_persons=len(person_ids))
        await self.tasks.add_many([NewTask(task=task, person_ids=person_ids)])

    async def put_person(self, person_id: str, name: str = "张三", *, face: bool = False) -> None:
        """A person, with or without a face."""
        new = NewPerson(person_id=person_id, name=name, site_ids=("s1",), idcard_no=None, phone=None, hashes=())
        await self.persons.put_many([new], NOW_MS)
        if face:
            await self.persons.set_face(person_id, "a" * 64, 1000, NOW_MS)

    async def end(self, task_id: str, state: TaskState = TaskState.DONE) -> None:
        """Ends a task without telling the index."""
        await self.tasks.change([task_id], HistoryEntry(at_ms=NOW_MS, state=state, actor=DEVICE))

    async def task(self, task_id: str) -> Task:
        """A task as stored."""
        return (await self.tasks.find([task_id]))[task_id]

    async def listed(self, sn: str = SN) -> Sequence[str]:
        """What a heartbeat would list."""
        return (await self.pending.oldest([sn], 50))[0]

    async def changes_told(self) -> Sequence[ControlEntry] | None:
        """What the index told the control stream since the last look."""
        return await self.told.read(1)
