"""A console behind a real socket, with its stores in memory: what attacks on HTTP itself need."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.runtime.lifecycle import Lifecycle
from shared.runtime.web import open_web
from tests.support.raw_http import HOST, RawAnswer, exchange, request
from tests.unit.console_service.parts import ADMIN_TOKEN, Parts

BEARER = f"Authorization: Bearer {ADMIN_TOKEN}"
COOKIE = f"Cookie: operator_token={ADMIN_TOKEN}"
OWN_PAGE = "X-Requested-With: console"
JSON = "Content-Type: application/json"


@dataclass(frozen=True)
class AttackedConsole:
    """A console by its port, and what is behind it."""

    port: int
    parts: Parts

    async def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> RawAnswer:
        """The one answer to a request."""
        answers = await exchange(self.port, request(method, target, *headers, body=body))
        assert len(answers) == 1, (method, target[:100], answers)
        return answers[0]

    async def site_names(self) -> list[str]:
        """The sites that there are; it also shows that the console goes on serving."""
        answer = await self.ask("GET", "/api/v1/sites", BEARER)
        assert answer.status == 200, answer
        return [site["name"] for site in json.loads(answer.body)["items"]]


@asynccontextmanager
async def attacked_console() -> AsyncIterator[AttackedConsole]:
    """A console that serves until the block ends."""
    parts = Parts(public_base_url="https://console.example")
    async with open_web(Lifecycle(), parts.app, HOST, 0) as port:
        yield AttackedConsole(port, parts)
