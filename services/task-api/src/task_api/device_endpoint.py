"""POST /api/device (T4): reads a request, checks it, hands it to its interface, signs the answer. Every answer is HTTP
200 with the protocol's own JSON (E5)."""

import asyncio
import logging

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import TaskRequest, encode_json_answer, parse_json_request
from shared.protocol.verification import check_head, verify_task_request
from shared.runtime.clock import Clock
from shared.runtime.device_spans import describe_request, known_apicode
from shared.runtime.telemetry_names import DEVICE_SPAN
from shared.runtime.tracing import current_span
from shared.runtime.unavailable import Unavailable
from task_api.interfaces.interface import Parts, TaskCall
from task_api.interfaces.table import HANDLERS
from task_api.metrics import SUCCESS, TaskApiMetrics
from task_api.sessions import KnownSession, Sessions
from task_api.settings import TaskApiSettings

log = logging.getLogger(__name__)

PATH = "/api/device"


class DeviceEndpoint:
    """The eight T_ interfaces at one address."""

    def __init__(
        self, settings: TaskApiSettings, sessions: Sessions, parts: Parts, clock: Clock, metrics: TaskApiMetrics
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._parts = parts
        self._clock = clock
        self._metrics = metrics
        self._held_bytes = 0

    async def serve(self, request: Request) -> Response:
        """The route. What it holds of all bodies together is bounded (design rule 7)."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.receive_deadline_seconds):
                async for chunk in request.stream():
                    self._held_bytes += len(chunk)
                    body += chunk
                    if self._held_bytes > self._settings.max_held_bytes:
                        return self._not_received("too much is being received, send again")
            return Response(await self.answer(bytes(body)), media_type="application/json")
        except TimeoutError:
            return self._not_received("the body did not come in time")
        except ClientDisconnect:
            return Response()  # nobody reads it
        finally:
            self._held_bytes -= len(body)

    async def answer(self, body: bytes) -> bytes:
        """The answer's body, whatever the request's."""
        try:
            request = parse_json_request(body)
        except ProtocolError as error:
            return self._refused(None, error, None)
        known: KnownSession | None = None
        try:
            async with asyncio.timeout(self._settings.request_deadline_seconds):
                check_head(request)
                known = await self._sessions.find(request.token)
                response = await self._carry_out(request, known)
        except ProtocolError as error:
            return self._refused(request, error, known)
        except (Unavailable, TimeoutError):
            return self._refused(request, ProtocolError(ErrorCode.SYSTEM, "not available now, send again"), known)
        except Exception:  # a terminal understands the protocol's own answer alone, to our bugs too (E5)
            log.exception("%s failed", request.apicode)
            return self._refused(request, ProtocolError(ErrorCode.SYSTEM, "not carried out, send again"), known)
        self._note(request, SUCCESS)
        return encode_json_answer(
            apicode=request.apicode,
            version=request.version,
            task_id=request.task_id,
            response=response,
            secret=_secret(request, known),
        )

    async def _carry_out(self, request: TaskRequest, known: KnownSession | None) -> str | None:
        verified = verify_task_request(request, None if known is None else self._sessions.facts(known))
        if known is None:
            raise AssertionError("a request without a session was verified")
        handler = HANDLERS[request.apicode]
        response = await handler(TaskCall(request, verified.param, self._clock.now_ms()), self._parts)
        await self._sessions.accepted(known.session, verified.form)
        return response

    def _refused(self, request: TaskRequest | None, error: ProtocolError, known: KnownSession | None) -> bytes:
        self._note(request, error.code.code)
        self._metrics.refusals.add(None if known is None else known.session.vendor_id, error.code.code)
        if request is None:
            return encode_json_answer(apicode="", version="", error=error, secret=None)
        return encode_json_answer(
            apicode=request.apicode,
            version=request.version,
            task_id=request.task_id,
            error=error,
            secret=_secret(request, known),
        )

    def _note(self, request: TaskRequest | None, outcome: str) -> None:
        self._metrics.answers[outcome] += 1
        if (span := current_span()) is not None:
            apicode, sn = ("", "") if request is None else (request.apicode, request.sn)
            span.set("http.route", PATH)
            span.rename(DEVICE_SPAN.format(apicode=known_apicode(apicode)))
            describe_request(span, apicode, sn, outcome)

    def _not_received(self, detail: str) -> Response:
        answer = self._refused(None, ProtocolError(ErrorCode.SYSTEM, detail), None)
        return Response(answer, media_type="application/json", headers={"Connection": "close"})


def _secret(request: TaskRequest, known: KnownSession | None) -> str | None:
    """With which the answer is signed: none where the token is not this device's."""
    return known.secret if known is not None and known.session.sn == request.sn else None
