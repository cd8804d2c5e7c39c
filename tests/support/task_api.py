"""task-api over memory stores, and requests of terminals, signed by S2's formulas and none of the server's code."""

import hashlib
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from shared.domain.control import ControlEntry
from shared.domain.sealing import Sealer
from shared.domain.tasks import DEVICE, HistoryEntry, Task, TaskState
from shared.runtime.clock import ManualClock
from shared.stores.interfaces import NewSession, NewTask
from shared.stores.memory import MemoryControlStream, MemoryEndedStore, MemorySessionStore
from shared.stores.memory_tasks import MemoryLock, MemoryPendingTasks, MemoryTaskStore
from task_api.app import create_app
from task_api.device_endpoint import DeviceEndpoint
from task_api.ended_view import EndedView
from task_api.interfaces.interface import Parts
from task_api.metrics import TaskApiMetrics
from task_api.sessions import Sessions
from task_api.settings import TaskApiSettings
from tests.support.session_values import NOW_MS, make_session

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
        self.ended = EndedView(self.control, self.ended_store, self.clock, GRACE_MS)
        self.sessions = Sessions(self.session_store, self.ended, self.sealer)
        self.settings = settings or TaskApiSettings()
        parts = Parts(self.tasks, self.pending)
        self.endpoint = DeviceEndpoint(self.settings, self.sessions, parts, self.clock, self.metrics)
        self.app = create_app(self.settings, self.endpoint, self.metrics)

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
