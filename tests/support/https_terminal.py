"""A device's side of the T_ interfaces over real HTTPS, signed and verified by the tests' own code."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.task_api import error_code, make_body, read_answer


class HttpsTerminal:
    """A device with a token that it has from its C_AUTH over TCP."""

    def __init__(self, http: aiohttp.ClientSession, sn: str, token: str, secret: str) -> None:
        self._http = http
        self.sn = sn
        self.token = token
        self._secret = secret

    async def ask(self, apicode: str, param: object) -> Any:
        """The answer, its signature verified."""
        body = make_body(apicode, param, sn=self.sn, token=self.token, secret=self._secret)
        async with self._http.post("/api/device", data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 200
            return read_answer(await answer.read(), secret=self._secret)

    async def get_tasks(self, *task_ids: str) -> list[Mapping[str, str]]:
        """T_GET_TASKS."""
        answer = await self.ask("T_GET_TASKS", {"taskids": list(task_ids)})
        assert answer["success"], answer
        return list(answer["response"]["tasks"])

    async def report(self, task_ids: Sequence[str], status: int, **members: object) -> str:
        """T_UPDATE_TASKS_STATUS; "" or the error code."""
        tasks = [{"taskId": list(task_ids), "status": status, **members}]
        return error_code(
            await self.ask("T_UPDATE_TASKS_STATUS", {"task": tasks, "personCount": 300, "faceCount": 200})
        )


@asynccontextmanager
async def https_terminal(base: str, ca: Path, sn: str, token: str, secret: str) -> AsyncIterator[HttpsTerminal]:
    """A device of task-api at a base URL, which checks the platform's certificate."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca)))
    async with aiohttp.ClientSession(base, connector=connector) as http:
        yield HttpsTerminal(http, sn, token, secret)
