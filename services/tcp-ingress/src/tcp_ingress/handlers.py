"""What is done for each interface: gather what is needed, decide by a pure function, act.

A request goes through `answer_at_once` first; where that gives None it needs to wait for something, and
`answer_later` answers it within the deadline, whatever hangs.
"""

import asyncio
import hashlib
import logging
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

    def answer_at_once(self, request: AuthRequest | DeviceRequest, carrier: Carrier) -> Answer | None:
        """The answer to a head that is wrong, or to a heartbeat whose session is held here; else None."""
        if not self._tracing.should_sample():
            return self._answer_at_once(request, carrier, None)
        span = frame_span(self._tracing, request, carrier.address)
        answer = self._answer_at_once(request, carrier, span)
        if answer is not None:  # else answer_later decides anew, and this span is as if it had never been
            end_frame_span(span, request, answer.outcome)
        return answer

    def _answer_at_once(
        self, request: AuthRequest | DeviceRequest, carrier: Carrier, span: SampledSpan | None
    ) -> Answer | None:
        cached: CachedSession | None = None
        try:
            check_head(request)
            if isinstance(request, AuthRequest) or request.apicode != Apicode.C_HEARTBEAT:
                return None
            now_ms = self._clock.now_ms()
            cached = self._cache.held(request.token, now_ms)
            tasks = None if cached is None else self._task_lists.held(cached.session.sn)
            if tasks is None:
                return None
            self._verify_heartbeat(request, carrier, cached, now_ms, span)
            return self._listed(request, tasks, span)
        except ProtocolError as error:
            return self._refused(request, error, cached)
        except Unavailable:
            return self._unavailable(request, cached)

    async def answer_later(self, request: AuthRequest | DeviceRequest, carrier: Carrier) -> Answer:
        """The answer to what answer_at_once left."""
        began = asyncio.get_running_loop().time()
        now_ms = self._clock.now_ms()
        deadline = began + self._deadline_seconds
        span = frame_span(self._tracing, request, carrier.address) if self._tracing.should_sample() else None
        cached: CachedSession | None = None
        try:
            if isinstance(request, AuthRequest):
                answer = await self._authenticate(request, carrier, now_ms, deadline, span)
            else:
                cached = await self._session(request.token, now_ms, deadline, span)
                work = self._sign_in if request.apicode == Apicode.C_SIGN_IN else self._heartbeat
                answer = await work(request, carrier, cached, now_ms, deadline, span)
        except ProtocolError as error:
            answer = self._refused(request, error, cached)
        except Unavailable as error:
            answer = self._unavailable(request, cached)
            if span is not None:  # a line for each would be a storm of them
                log.warning("%s answered 500_01: %s", request.apicode, error, extra={"span": span})
        self._metrics.latency.record(request.apicode, asyncio.get_running_loop().time() - began, span)
        if span is not None:
            end_frame_span(span, request, answer.outcome)
        return answer

    def fault(self, error: ProtocolError) -> Answer:
        """The answer to a frame that was not understood (F3, F4)."""
        return self._refused(None, error, None)

    def left(self, carrier: Carrier, *, was_told_to: bool) -> None:
        """The connection is closed; `was_told_to`: by ourselves, and for no reason of its own."""
        self._presence.left(carrier, was_told_to=was_told_to)

    async def _authenticate(
        self, request: AuthRequest, carrier: Carrier, now_ms: int, deadline: float, span: SampledSpan | None
    ) -> Answer:
        generation = self._cache.generation
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._auth.authenticate(AuthCall(request, carrier.address), span)
        except TimeoutError:
            raise Unavailable("session: no answer within the deadline") from None
        if reply.session is None:
            code = ERROR_CODES.get(reply.error_code or "", ErrorCode.SYSTEM)
            raise ProtocolError(code, reply.detail)
        self._cache.opened(reply.session, now_ms, generation)
        self._presence.accepted(carrier, reply.session, parse_time_stamp(request.time_stamp), now_ms, span=span)
        self._task_lists.want(reply.session.sn)
        return self._done(request, msgspec.json.encode({"token": reply.session.token}).decode())

    async def _heartbeat(
        self,
        request: DeviceRequest,
        carrier: Carrier,
        cached: CachedSession | None,
        now_ms: int,
        deadline: float,
        span: SampledSpan | None,
    ) -> Answer:
        self._verify_heartbeat(request, carrier, cached, now_ms, span)
        try:
            async with asyncio.timeout_at(deadline):
                tasks = await self._task_lists.find(request.sn)
        except TimeoutError:
            tasks = NOTHING  # the next heartbeat lists them
        return self._listed(request, tasks, span)

    def _listed(self, request: DeviceRequest, tasks: str, span: SampledSpan | None) -> Answer:
        maker = self._task_lists.take_maker(request.sn)
        if maker is not None and tasks != NOTHING:
            note_listing(self._tracing, request.sn, maker, span)
        return self._done(request, tasks)

    def _verify_heartbeat(
        self,
        request: DeviceRequest,
        carrier: Carrier,
        cached: CachedSession | None,
        now_ms: int,
        span: SampledSpan | None,
    ) -> None:
        cached, verified = self._verified(request, cached, now_ms)
        told = read_heartbeat(verified.param)
        self._cache.accepted(cached, now_ms, verified.form)
        self._presence.accepted(
            carrier, cached.session, verified.sent_at_ms, now_ms, told.device_version, told.device_ip, span=span
        )

    async def _sign_in(
        self,
        request: DeviceRequest,
        carrier: Carrier,
        cached: CachedSession | None,
        now_ms: int,
        deadline: float,
        span: SampledSpan | None,
    ) -> Answer:
        cached, verified = self._verified(request, cached, now_ms)
        passage = read_sign_in(verified.param, now_ms)
        # The device proved itself: its token lives on (T1), also where the work itself then has to be sent again.
        self._cache.accepted(cached, now_ms, verified.form)
        self._presence.accepted(carrier, cached.session, verified.sent_at_ms, now_ms, span=span)
        try:
            await self._publish(cached.session, passage, verified.sent_at_ms, now_ms, deadline, span)
        except RecordTooLarge as too_large:
            # A frame may grow by writing its texts as JSON. The passage and its picture count more than they do.
            log.warning(
                "a sign-in is larger than the topics take, and goes without its texts: %s",
                too_large,
                extra={"span": span},
            )
            self._metrics.shortened += 1
            short = msgspec.structs.replace(passage, **dict.fromkeys(UNBOUNDED_TEXTS))
            try:
                await self._publish(cached.session, short, verified.sent_at_ms, now_ms, deadline, span)
            except RecordTooLarge as error:
                # Only where the topics take less than a frame: the terminal keeps the passage, an operator the limit.
                log.error(  # noqa: TRY400 -- no stack needed
                    "a sign-in cannot be stored: KAFKA_MAX_MESSAGE_BYTES is below the frame's limit",
                    extra={"span": span},
                )
                raise ProtocolError(ErrorCode.SYSTEM, "larger than can be stored") from error
        return self._done(request, "")

    async def _publish(
        self,
        session: Session,
        passage: SignIn,
        sent_at_ms: int,
        now_ms: int,
        deadline: float,
        span: SampledSpan | None,
    ) -> None:
        topic = SIGN_IN_TOPIC
        if session.synthetic:  # nobody's attendance, and nobody's face (ADR 0022)
            topic, passage = SYNTHETIC_TOPIC, msgspec.structs.replace(passage, **dict.fromkeys(SENSITIVE))
        event, parts = attendance(session, passage, sent_at_ms, now_ms)
        records = sign_in_record(event, now_ms, topic), sensitive_records(event, parts, now_ms)
        await self._commit.publish(*records, deadline, span)

    def _verified(
        self, request: DeviceRequest, cached: CachedSession | None, now_ms: int
    ) -> tuple[CachedSession, Verified]:
        if cached is None:
            verify_request(request, None, now_ms)
            raise AssertionError("a request without a session was verified")
        return cached, verify_request(request, self._cache.facts(cached), now_ms)

    async def _session(
        self, token: str, now_ms: int, deadline: float, span: SampledSpan | None
    ) -> CachedSession | None:
        cached = self._cache.held(token, now_ms)
        if cached is not None:
            return cached
        try:
            with look_up_span(span):
                async with asyncio.timeout_at(deadline):
                    return await self._cache.find(token, now_ms)
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

    def _unavailable(self, request: AuthRequest | DeviceRequest, cached: CachedSession | None) -> Answer:
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
