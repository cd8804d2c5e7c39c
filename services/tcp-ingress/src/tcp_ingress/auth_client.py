"""C_AUTH to the session service, in groups: all that arrived within a few milliseconds are one call (measured).

While calls are under way, what arrives gathers for the next: a call costs session some 1,300 µs of CPU, and each C_AUTH
of it 30 µs. A further call goes beside them where it is full, or where they take long.
"""

import asyncio
import io
import logging
from collections import deque
from typing import NamedTuple

import aiohttp
import msgspec

from shared.domain.authentication import AuthCall, AuthReply
from shared.runtime.http_client_spans import answered
from shared.runtime.tasks import spawn
from shared.runtime.tracing import TRACEPARENT, SampledSpan
from shared.runtime.unavailable import Unavailable
from tcp_ingress.frame_spans import group_span

log = logging.getLogger(__name__)

PATH = "/internal/v1/authenticate"
MAX_GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of one call, far below what session takes (SESSION_MAX_BODY_BYTES): whoever sends frames of the largest size,
whichever field fills them, costs nobody else in his group the answer."""
MAX_BYTES_A_CHARACTER = 4
PATIENCE_SECONDS = 0.1
"""How long what waits gathers while a call is under way: a process of session that hangs stops no others."""


class _Waiting(NamedTuple):
    call: AuthCall
    reply: asyncio.Future[AuthReply]
    span: SampledSpan | None


class AuthClient:
    """Authenticates terminals at the session service; what waits and what is under way is bounded."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        group_seconds: float,
        group_size: int,
        groups_in_flight: int,
        max_waiting: int,
        deadline_seconds: float,
    ) -> None:
        self.groups = 0
        self._http = http
        self._url = url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"}
        self._group_seconds = group_seconds
        self._group_size = group_size
        self._groups_in_flight = groups_in_flight
        self._max_waiting = max_waiting
        self._timeout = aiohttp.ClientTimeout(total=deadline_seconds)
        self._waiting: deque[_Waiting] = deque()
        self._under_way = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[AuthReply])

    async def authenticate(self, call: AuthCall, span: SampledSpan | None = None) -> AuthReply:
        """The session, or the error to answer with; `span` is the C_AUTH's. Raises Unavailable."""
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable("session: too many C_AUTH waiting")
        reply: asyncio.Future[AuthReply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(call, reply, span))
        self._go_on()
        return await reply

    def _go_on(self) -> None:
        if len(self._waiting) >= self._group_size:
            self._send_next()
        else:
            self._gather()

    def _gather(self) -> None:
        """What waits goes after a while; or as soon as it is full, or nothing is under way any more."""
        if self._gathering is None and self._waiting and self._under_way < self._groups_in_flight:
            seconds = PATIENCE_SECONDS if self._under_way else self._group_seconds
            self._gathering = asyncio.get_running_loop().call_later(seconds, self._send_next)

    def _send_next(self) -> None:
        """Sends a group, and more while they are full; what is left gathers on."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        while self._waiting and self._under_way < self._groups_in_flight:
            if group := self._next_group():
                self._under_way += 1
                spawn(self._send(group), "authenticate")
            if len(self._waiting) < self._group_size:
                break
        self._gather()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < self._group_size:
            waiting = self._waiting[0]
            # One given up at its deadline while it waited would only open a session that nobody learns of.
            if not waiting.reply.done():
                size += _most_bytes(waiting.call)
                if group and size > MAX_GROUP_BYTES:
                    break
                group.append(waiting)
            self._waiting.popleft()
        return group

    async def _send(self, group: list[_Waiting]) -> None:
        self.groups += 1
        try:
            await self._ask(group)
        finally:
            self._under_way -= 1
            if self._under_way:
                self._go_on()
            else:
                self._send_next()

    async def _ask(self, group: list[_Waiting]) -> None:
        try:
            with group_span([waiting.span for waiting in group if waiting.span is not None], self._url) as span:
                replies = await self._post([waiting.call for waiting in group], span)
        except Unavailable as error:
            for waiting in group:
                if not waiting.reply.done():
                    waiting.reply.set_exception(Unavailable(str(error)))
            return
        for waiting, reply in zip(group, replies, strict=True):
            if not waiting.reply.done():
                waiting.reply.set_result(reply)

    async def _post(self, calls: list[AuthCall], span: SampledSpan | None) -> list[AuthReply]:
        headers = self._headers if span is None else {**self._headers, TRACEPARENT: span.traceparent}
        body = io.BytesIO(self._encoder.encode(calls))  # aiohttp warns of bytes above 1 MiB, which it writes at once
        try:
            async with self._http.post(self._url, data=body, headers=headers, timeout=self._timeout) as answer:
                if span is not None:
                    answered(span, answer.status)
                if answer.status != 200:
                    log.error("session service answered %s to C_AUTH", answer.status)
                    raise Unavailable(f"session: HTTP {answer.status}")
                replies = self._decoder.decode(await answer.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise Unavailable(f"session: {type(error).__name__}") from error
        if len(replies) != len(calls):
            raise Unavailable("session: another number of replies than of calls")
        return replies


def _most_bytes(call: AuthCall) -> int:
    """What the call takes at most: its texts in UTF-8, of which none has to be encoded to know that."""
    texts = msgspec.structs.astuple(call.request)
    return MAX_BYTES_A_CHARACTER * sum(len(text) for text in texts if text is not None)
