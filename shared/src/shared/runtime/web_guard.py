"""The layer around every web application: security headers, a bound on the body, a deadline, and the last resort."""

import asyncio
import logging

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.problems import problem_response, unavailable_response

log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Set where the answer does not say otherwise itself."""


class _Exchange:
    """One request and its answer, watched on the way through."""

    def __init__(self, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._bytes_left = max_body_bytes
        self.answering = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_left -= len(message.get("body", b""))
        if self._bytes_left < 0:
            # FastAPI lets an HTTPException out of its reading of the body as it is
            raise HTTPException(413, "the body is too large", {"Connection": "close"})
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answering = True
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


class WebGuard:
    """ASGI middleware; add it by `guard`."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, deadline_seconds: float | None) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._deadline_seconds = deadline_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(receive, send, self._max_body_bytes)
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_body_bytes:
            answer = problem_response(413, "the body is too large", {"Connection": "close"})
            await answer(scope, exchange.receive, exchange.send)
            return
        try:
            async with asyncio.timeout(self._deadline_seconds) as deadline:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if exchange.answering:
                raise
            if deadline.expired():
                answer = unavailable_response("the answer took too long; please try again")
            else:
                log.exception("a request failed")
                answer = problem_response(500, "this is our fault, and it has been logged")
            await answer(scope, exchange.receive, exchange.send)


def guard(app: FastAPI, *, max_body_bytes: int, deadline_seconds: float | None) -> None:
    """Puts the guard around everything in `app` that answers. Without a deadline the routes see to theirs."""
    app.add_middleware(WebGuard, max_body_bytes=max_body_bytes, deadline_seconds=deadline_seconds)
