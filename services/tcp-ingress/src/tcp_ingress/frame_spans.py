"""The spans of a sampled frame: its own, the look-up of its session, the call that its C_AUTH is part of; and of a
task on its way to a device, pushed or listed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from opentelemetry.trace import SpanKind

from shared.domain.control import PushCommand
from shared.protocol.apicodes import Apicode
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.runtime.device_spans import describe_request, known_apicode
from shared.runtime.http_client_spans import call_attributes
from shared.runtime.telemetry_names import (
    APICODE,
    DEVICE_SPAN,
    HTTP_CLIENT_SPAN,
    LIST_SPAN,
    PUSH_SPAN,
    REDIS_SPAN,
    SN,
    TASK_ID,
)
from shared.runtime.tracing import NO_SPAN, SampledSpan, Tracing, child_of, sampled_parent

Request = AuthRequest | DeviceRequest

_LOOK_UP = {"db.system.name": "redis", "db.operation.name": "MGET"}


def frame_span(tracing: Tracing, request: Request, address: str) -> SampledSpan:
    """The span of a frame that was decided to be sampled."""
    attributes = {"network.transport": "tcp", "client.address": address}
    name = DEVICE_SPAN.format(apicode=known_apicode(request.apicode))
    return tracing.start(name, SpanKind.SERVER, attributes)


def end_frame_span(span: SampledSpan, request: Request, outcome: str) -> None:
    """Ends it with what became of the frame: `success`, or an error code."""
    describe_request(span, request.apicode, request.sn, outcome)
    span.end()


def look_up_span(frame: SampledSpan | None) -> AbstractContextManager[SampledSpan | None]:
    """Around the reading of a session that is not held. The call to Redis is one for many frames: this is the time
    that this one waits for it."""
    return child_of(frame, REDIS_SPAN.format(command="MGET"), SpanKind.CLIENT, _LOOK_UP)


def group_span(frames: Sequence[SampledSpan], url: str) -> AbstractContextManager[SampledSpan | None]:
    """Around the call to session, which is at `url`, for a group of C_AUTHs: child of the first sampled one, linked to
    the others."""
    if not frames:
        return NO_SPAN
    first, *others = frames
    name = HTTP_CLIENT_SPAN.format(method="POST")
    attributes = call_attributes("POST", "session", url)
    return first.child(name, SpanKind.CLIENT, attributes, [other.context for other in others])


def push_span(tracing: Tracing, command: PushCommand) -> AbstractContextManager[SampledSpan | None]:
    """Around the pushing of a command, in the trace of the request that made its task."""
    maker = sampled_parent(command.traceparent) if tracing.is_on else None
    if maker is None:
        return NO_SPAN
    attributes = {"network.transport": "tcp", APICODE: command.apicode, SN: command.sn, TASK_ID: command.task_id}
    return tracing.start(PUSH_SPAN.format(apicode=command.apicode), SpanKind.PRODUCER, attributes, parent=maker)


def note_listing(tracing: Tracing, sn: str, traceparent: str, frame: SampledSpan | None) -> None:
    """A heartbeat is the first to list what the traced request made: a step of that trace, linked to the heartbeat's
    own where that is sampled, which links back."""
    maker = sampled_parent(traceparent) if tracing.is_on else None
    if maker is None:
        return
    attributes = {"network.transport": "tcp", APICODE: Apicode.C_HEARTBEAT.value, SN: sn}
    links = [] if frame is None else [frame.context]
    tracing.start(LIST_SPAN, SpanKind.PRODUCER, attributes, parent=maker, links=links).end()
    if frame is not None:
        frame.link(maker)
