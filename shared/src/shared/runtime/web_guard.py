"""The layer around every web application: security headers, a bound on the body, a deadline, and the last resort."""

import asyncio
import logging
import re
from collections.abc import Sequence

import msgspec
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
        self.waits_for_body = False
        self._is_body_whole = False

    async def receive(self) -> Message:
        self.waits_for_body = not self._is_body_whole
        message = await self._receive()
        self.waits_for_body = False
        self._is_body_whole = not message.get("more_body", False)
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


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may cost."""

    max_body_bytes: int
    deadline_seconds: float | None
    """Until the answer is sent whole; None where the route sees to it itself, as one that streams does."""


class Exemption(msgspec.Struct, frozen=True, kw_only=True):
    """Other bounds for a route: uploads, and what streams."""

    method: str
    path: re.Pattern[str]
    """Of the whole path."""
    bounds: Bounds


class WebGuard:
    """ASGI middleware; add it by `guard`."""

    def __init__(self, app: ASGIApp, bounds: Bounds, exemptions: Sequence[Exemption]) -> None:
        self._app = app
        self._bounds = bounds
        self._exemptions = exemptions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bounds = self._bounds_of(scope)
        exchange = _Exchange(receive, send, bounds.max_body_bytes)
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > bounds.max_body_bytes:
            answer = problem_response(413, "the body is too large", {"Connection": "close"})
            await answer(scope, exchange.receive, exchange.send)
            return
        try:
            async with asyncio.timeout(bounds.deadline_seconds) as deadline:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if exchange.answering:
                raise
            if deadline.expired() and exchange.waits_for_body:
                answer = problem_response(408, "the body took too long", {"Connection": "close"})
            elif deadline.expired():
                answer = unavailable_response("the answer took too long; please try again")
            else:
                log.exception("a request failed")
                answer = problem_response(500, "this is our fault, and it has been logged")
            await answer(scope, exchange.receive, exchange.send)

    def _bounds_of(self, scope: Scope) -> Bounds:
        if scope["type"] == "http":
            for exemption in self._exemptions:
                if exemption.method == scope["method"] and exemption.path.fullmatch(scope["path"]):
                    return exemption.bounds
        return self._bounds


def guard(
    app: FastAPI,
    *,
    max_body_bytes: int,
    deadline_seconds: float | None,
    exemptions: Sequence[Exemption] = (),
) -> None:
    """Puts the guard around everything in `app` that answers."""
    bounds = Bounds(max_body_bytes=max_body_bytes, deadline_seconds=deadline_seconds)
    app.add_middleware(WebGuard, bounds=bounds, exemptions=exemptions)
