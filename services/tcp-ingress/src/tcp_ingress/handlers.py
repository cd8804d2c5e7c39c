"""What is done for each interface: gather what is needed, decide by a pure function, act.

Most requests wait for nothing but an acknowledgement by Kafka, and that by a callback: some 15,000 instructions fewer a
sign-in than by a task (callgrind). Only what has to be looked up first is a coroutine.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from shared.domain.attendance import AttendanceEvent, Coordinate, PictureReference, SensitiveParts, event_id, rfc3339
from shared.domain.authentication import AuthCall
from shared.domain.devices import site_at
from shared.domain.events import SIGN_IN_TOPIC, SYNTHETIC_TOPIC, sensitive_records, sign_in_record
from shared.domain.sessions import Session
from shared.kafka.producer import RecordTooLarge
from shared.protocol.apicodes import Apicode
from shared.protocol.device_time import parse_time_stamp
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.messages import AuthRequest, DeviceRequest, error_response, success_response
from shared.protocol.sign_in import SignIn, read_heartbeat, read_sign_in
from shared.protocol.verification import Verified, check_head, verify_request
from shared.runtime.clock import Clock
from shared.runtime.tasks import spawn
from shared.runtime.tracing import NOT_TRACED, SampledSpan, Tracing
from shared.runtime.unavailable import Unavailable
from tcp_ingress.auth_client import AuthClient
from tcp_ingress.device_cache import CachedSession, DeviceCache
from tcp_ingress.frame_spans import end_frame_span, frame_span, look_up_span, note_listing
from tcp_ingress.group_commit import GroupCommit
from tcp_ingress.metrics import SUCCESS, IngressMetrics
from tcp_ingress.presence_batches import Carrier, PresenceBatches
from tcp_ingress.task_lists import NOTHING, TaskLists

log = logging.getLogger(__name__)

ERROR_CODES = {code.code: code for code in ErrorCode}
UNBOUNDED_TEXTS = ("extra", "iris_info", "qr_code_info", "health_info")
"""What of a passage may be as large as its frame, besides the picture."""
SENSITIVE = ("picture", "picture_type", "iris_info", "extra")
"""What of a passage goes to the sensitive topic."""


class Answer(NamedTuple):
    """What leaves for the device; `alive` says that the peer is none that may be cut off for sending only rubbish."""

    message: bytes
    alive: bool
    outcome: str = SUCCESS
    """Or an error code."""


Done = Callable[[Answer | None], None]
"""Takes the answer, or None where a defect of ours kept one from being made."""


class _Frame(NamedTuple):
    """How and when a request came, and who takes its answer; `began` and `deadline` are of the loop's clock."""

    carrier: Carrier
    began: float
    deadline: float
    now_ms: int
    span: SampledSpan | None
    done: Done


class Handlers:
    """The three interfaces on TCP."""

    def __init__(
        self,
        cache: DeviceCache,
        auth: AuthClient,
        commit: GroupCommit,
        presence: PresenceBatches,
        task_lists: TaskLists,
        clock: Clock,
        metrics: IngressMetrics,
        deadline_seconds: float,
        tracing: Tracing = NOT_TRACED,
    ) -> None:
        self._cache = cache
        self._auth = auth
        self._commit = commit
        self._presence = presence
        self._task_lists = task_lists
        self._clock = clock
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._tracing = tracing

    def handle(self, request: AuthRequest | DeviceRequest, carrier: Carrier, done: Done) -> Answer | None:
        """The answer where it is at hand. Else None, and `done` takes it: once, after this has returned, and within
        the deadline, whatever hangs."""
        span = frame_span(self._tracing, request, carrier.address) if self._tracing.should_sample() else None
        began, now_ms = asyncio.get_running_loop().time(), self._clock.now_ms()
        frame = _Frame(carrier, began, began + self._deadline_seconds, now_ms, span, done)
        answer = self._answer_at_once(request, frame)
        if answer is not None and span is not None:
            end_frame_span(span, request, answer.outcome)
        return answer

    def fault(self, error: ProtocolError) -> Answer:
        """The answer to a frame that was not understood (F3, F4)."""
        return self._refused(None, error, None)

    def left(self, carrier: Carrier, *, was_told_to: bool) -> None:
        """The connection is closed; `was_told_to`: by ourselves, and for no reason of its own."""
        self._presence.left(carrier, was_told_to=was_told_to)

    # ── what needs no look-up, and what does ─────────────────────────────────────────────────────────────────────

    def _answer_at_once(self, request: AuthRequest | DeviceRequest, frame: _Frame) -> Answer | None:
        cached: CachedSession | None = None
        try:
            check_head(request)
            if isinstance(request, DeviceRequest) and (cached := self._cache.held(request.token, frame.now_ms)):
                if request.apicode == Apicode.C_SIGN_IN:
                    published = self._sign_in(request, frame, cached)
                    published.add_done_callback(partial(self._signed_in, request, frame, cached))
                    return None
                tasks = self._task_lists.held(cached.session.sn)
                if tasks is not None:
                    self._verify_heartbeat(request, frame, cached)
                    return self._listed(request, frame, tasks)
        except (ProtocolError, Unavailable) as error:
            return self._failed(request, frame, error, cached)
        spawn(self._answer_later(request, frame), "request")
        return None

    async def _answer_later(self, request: AuthRequest | DeviceRequest, frame: _Frame) -> None:
        answer: Answer | None = None
        cached: CachedSession | None = None
        try:
            if isinstance(request, AuthRequest):
                answer = await self._authenticate(request, frame)
            else:
                cached = await self._session(request.token, frame)
                if request.apicode == Apicode.C_SIGN_IN:
                    await self._sign_in(request, frame, cached)
                    answer = self._done(request, "")
                else:
                    answer = await self._heartbeat(request, frame, cached)
        except (ProtocolError, Unavailable) as error:
            answer = self._failed(request, frame, error, cached)
        finally:
            self._end(request, frame, answer)

    def _signed_in(
        self, request: DeviceRequest, frame: _Frame, cached: CachedSession, published: "asyncio.Future[None]"
    ) -> None:
        answer: Answer | None = None
        try:
            published.result()
            answer = self._done(request, "")
        except Unavailable as error:
            answer = self._failed(request, frame, error, cached)
        finally:
            self._end(request, frame, answer)

    def _end(self, request: AuthRequest | DeviceRequest, frame: _Frame, answer: Answer | None) -> None:
        if answer is not None:
            took = asyncio.get_running_loop().time() - frame.began
            self._metrics.latency.record(request.apicode, took, frame.span)
            if frame.span is not None:
                end_frame_span(frame.span, request, answer.outcome)
        frame.done(answer)

    # ── the interfaces ───────────────────────────────────────────────────────────────────────────────────────────

    async def _authenticate(self, request: AuthRequest, frame: _Frame) -> Answer:
        generation = self._cache.generation
        try:
            async with asyncio.timeout_at(frame.deadline):
                reply = await self._auth.authenticate(AuthCall(request, frame.carrier.address), frame.span)
        except TimeoutError:
            raise Unavailable("session: no answer within the deadline") from None
        if reply.session is None:
            code = ERROR_CODES.get(reply.error_code or "", ErrorCode.SYSTEM)
            raise ProtocolError(code, reply.detail)
        self._cache.opened(reply.session, frame.now_ms, generation)
        self._presence.accepted(
            frame.carrier, reply.session, parse_time_stamp(request.time_stamp), frame.now_ms, span=frame.span
        )
        self._task_lists.want(reply.session.sn)
        return self._done(request, msgspec.json.encode({"token": reply.session.token}).decode())

    async def _heartbeat(self, request: DeviceRequest, frame: _Frame, cached: CachedSession | None) -> Answer:
        self._verify_heartbeat(request, frame, cached)
        try:
            async with asyncio.timeout_at(frame.deadline):
                tasks = await self._task_lists.find(request.sn)
        except TimeoutError:
            tasks = NOTHING  # the next heartbeat lists them
        return self._listed(request, frame, tasks)

    def _listed(self, request: DeviceRequest, frame: _Frame, tasks: str) -> Answer:
        maker = self._task_lists.take_maker(request.sn)
        if maker is not None and tasks != NOTHING:
            note_listing(self._tracing, request.sn, maker, frame.span)
        return self._done(request, tasks)

    def _verify_heartbeat(self, request: DeviceRequest, frame: _Frame, cached: CachedSession | None) -> None:
        cached, verified = self._verified(request, cached, frame.now_ms)
        told = read_heartbeat(verified.param)
        self._accepted(frame, cached, verified, told.device_version, told.device_ip)

    def _sign_in(self, request: DeviceRequest, frame: _Frame, cached: CachedSession | None) -> "asyncio.Future[None]":
        """The outcome of what was published. Raises ProtocolError and Unavailable."""
        cached, verified = self._verified(request, cached, frame.now_ms)
        passage = read_sign_in(verified.param, frame.now_ms)
        # The device proved itself: its token lives on (T1), also where the work itself then has to be sent again.
        self._accepted(frame, cached, verified)
        try:
            return self._publish(cached.session, passage, verified.sent_at_ms, frame)
        except RecordTooLarge as too_large:
            # A frame may grow by writing its texts as JSON. The passage and its picture count more than they do.
            log.warning(
                "a sign-in is larger than the topics take, and goes without its texts: %s",
                too_large,
                extra={"span": frame.span},
            )
            self._metrics.shortened += 1
            short = msgspec.structs.replace(passage, **dict.fromkeys(UNBOUNDED_TEXTS))
            try:
                return self._publish(cached.session, short, verified.sent_at_ms, frame)
            except RecordTooLarge as error:
                # Only where the topics take less than a frame: the terminal keeps the passage, an operator the limit.
                log.error(  # noqa: TRY400 -- no stack needed
                    "a sign-in cannot be stored: KAFKA_MAX_MESSAGE_BYTES is below the frame's limit",
                    extra={"span": frame.span},
                )
                raise ProtocolError(ErrorCode.SYSTEM, "larger than can be stored") from error

    def _publish(self, session: Session, passage: SignIn, sent_at_ms: int, frame: _Frame) -> "asyncio.Future[None]":
        topic, now_ms = SIGN_IN_TOPIC, frame.now_ms
        if session.synthetic:  # nobody's attendance, and nobody's face (ADR 0022)
            topic, passage = SYNTHETIC_TOPIC, msgspec.structs.replace(passage, **dict.fromkeys(SENSITIVE))
        event, parts = attendance(session, passage, sent_at_ms, now_ms)
        records = sign_in_record(event, now_ms, topic), sensitive_records(event, parts, now_ms)
        return self._commit.publish(*records, frame.deadline, frame.span)

    def _accepted(
        self,
        frame: _Frame,
        cached: CachedSession,
        verified: Verified,
        device_version: str | None = None,
        device_ip: str | None = None,
    ) -> None:
        self._cache.accepted(cached, frame.now_ms, verified.form)
        self._presence.accepted(
            frame.carrier,
            cached.session,
            verified.sent_at_ms,
            frame.now_ms,
            device_version,
            device_ip,
            span=frame.span,
        )

    def _verified(
        self, request: DeviceRequest, cached: CachedSession | None, now_ms: int
    ) -> tuple[CachedSession, Verified]:
        if cached is None:
            verify_request(request, None, now_ms)
            raise AssertionError("a request without a session was verified")
        return cached, verify_request(request, self._cache.facts(cached), now_ms)

    async def _session(self, token: str, frame: _Frame) -> CachedSession | None:
        cached = self._cache.held(token, frame.now_ms)
        if cached is not None:
            return cached
        try:
            with look_up_span(frame.span):
                async with asyncio.timeout_at(frame.deadline):
                    return await self._cache.find(token, frame.now_ms)
        except TimeoutError:
            raise Unavailable("Redis: no answer within the deadline") from None

    def _done(self, request: AuthRequest | DeviceRequest, response: str) -> Answer:
        self._metrics.answered(request.apicode, SUCCESS)
        return Answer(success_response(request, response), alive=True)

    def _refused(
        self, request: AuthRequest | DeviceRequest | None, error: ProtocolError, cached: CachedSession | None
    ) -> Answer:
        self._metrics.answered(request.apicode if request is not None else "", error.code.code)
        self._metrics.refusals.add(None if cached is None else cached.session.vendor_id, error.code.code)
        return Answer(error_response(request, error), error.code is ErrorCode.SYSTEM, error.code.code)

    def _failed(
        self,
        request: AuthRequest | DeviceRequest,
        frame: _Frame,
        error: ProtocolError | Unavailable,
        cached: CachedSession | None,
    ) -> Answer:
        if isinstance(error, ProtocolError):
            return self._refused(request, error, cached)
        if frame.span is not None:  # a line for each would be a storm of them
            log.warning("%s answered 500_01: %s", request.apicode, error, extra={"span": frame.span})
        return self._refused(request, ProtocolError(ErrorCode.SYSTEM, "not available now, send again"), cached)


def attendance(
    session: Session, passage: SignIn, sent_at_ms: int, received_ms: int
) -> tuple[AttendanceEvent, SensitiveParts]:
    """The event of a passage and what of it only the writer may read."""
    site_id, direction = site_at(session.site_history, passage.record_time_ms)
    image = None
    if passage.picture is not None and passage.picture_type is not None:
        digest = hashlib.sha256(passage.picture).hexdigest()
        image = PictureReference(digest, len(passage.picture), passage.picture_type)
    event = AttendanceEvent(
        event_id=event_id(session.sn, passage.person_id, passage.record_time_ms, passage.type),
        sn=session.sn,
        vendor_id=session.vendor_id,
        person_id=passage.person_id,
        type=passage.type,
        bit_type=passage.bit_type,
        record_time=passage.record_time_ms,
        sent_at=rfc3339(sent_at_ms),
        received_at=rfc3339(received_ms),
        site_id=site_id,
        direction=direction,
        temperature=passage.temperature,
        coordinate=None if passage.coordinate is None else Coordinate(*passage.coordinate),
        qr_code_info=None if passage.qr_code_info is None else msgspec.Raw(passage.qr_code_info.encode()),
        health_info=None if passage.health_info is None else msgspec.Raw(passage.health_info.encode()),
        image=image,
        image_dropped=passage.image_dropped,
    )
    parts = SensitiveParts(picture=passage.picture, iris_info=passage.iris_info, extra=passage.extra)
    return event, parts
