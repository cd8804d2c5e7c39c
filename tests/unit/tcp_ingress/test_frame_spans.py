"""A sampled frame: what its span says, what it passes on, and that an unsampled one touches nothing."""

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.trace import SpanKind

from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, Record
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.runtime.tracing import SampledSpan
from shared.runtime.unavailable import Unavailable
from tcp_ingress.auth_client import AuthClient
from tcp_ingress.frame_spans import end_frame_span, frame_span, look_up_span
from tcp_ingress.group_commit import CommitBounds, GroupCommit
from tests.support.attendance import event_record, make_event, picture_record
from tests.support.spans import KeptSpans, attributes, span_id, trace_id

BOUNDS = CommitBounds(
    gather_seconds=0, batch_records=10, batch_bytes=10_000, max_in_flight_sign_ins=10, max_in_flight_bytes=10_000
)
AUTH = AuthRequest(
    version="",
    sn="sn-1",
    apicode="C_AUTH",
    access_id="",
    access_key="",
    access_secret=None,
    time_stamp="",
    param="",
    sign="",
)


class NotedSender:
    """Acknowledges at once, or fails."""

    max_batch_bytes = 10_000

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.fault: Exception | None = None

    def partition_for(self, _topic: str, _key: bytes) -> int:
        return 0

    async def send(self, _topic: str, _partition: int, records: Sequence[Record]) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent += records


async def publish(sender: NotedSender, span: SampledSpan | None) -> None:
    event = make_event()
    deadline = asyncio.get_running_loop().time() + 5
    try:
        await GroupCommit(sender, sender, BOUNDS).publish(event_record(event), [picture_record(event)], deadline, span)
    finally:
        await asyncio.sleep(0)  # spans end with the same turn of the loop, in no order


def beat(sn: str = "sn-1", apicode: str = "C_HEARTBEAT") -> DeviceRequest:
    return DeviceRequest(version="", sn=sn, token="t" * 32, apicode=apicode, time_stamp="", param="{}", sign="s" * 32)


@pytest.mark.parametrize(
    ("request_", "outcome", "name", "said"),
    [
        (beat(), "success", "device C_HEARTBEAT", {"site_access.apicode": "C_HEARTBEAT", "site_access.sn": "sn-1"}),
        (beat(apicode="13800138000"), "400_01", "device other", {"site_access.apicode": "other"}),
        (beat(sn="x" * 65), "400_02", "device C_HEARTBEAT", {"site_access.apicode": "C_HEARTBEAT"}),
    ],
)
def test_a_frames_span_says_what_was_asked_and_what_became_of_it(
    request_: DeviceRequest, outcome: str, name: str, said: dict[str, str]
) -> None:
    kept = KeptSpans()
    end_frame_span(frame_span(kept.tracing, request_, "192.0.2.1"), request_, outcome)
    span = kept.one(name)
    assert span.kind is SpanKind.SERVER
    assert attributes(span).items() >= {**said, "site_access.outcome": outcome, "network.transport": "tcp"}.items()
    assert span.status.is_unset
    assert "13800138000" not in span.to_json()
    assert "x" * 65 not in span.to_json()


def test_only_a_fault_of_ours_is_an_error_of_the_span() -> None:
    kept = KeptSpans()
    end_frame_span(frame_span(kept.tracing, beat(), "192.0.2.1"), beat(), "500_01")
    span = kept.one("device C_HEARTBEAT")
    assert not span.status.is_ok
    assert attributes(span)["error.type"] == "500_01"


def test_a_look_up_of_an_unsampled_frame_has_no_span() -> None:
    with look_up_span(None) as span:
        assert span is None


async def test_the_records_of_a_sampled_sign_in_carry_the_spans_that_publish_them() -> None:
    kept, sender = KeptSpans(), NotedSender()
    with kept.tracing.start("frame", SpanKind.SERVER) as span:
        await publish(sender, span)
    headers = {record.topic: dict(record.headers)["traceparent"].decode() for record in sender.sent}
    for topic in (SENSITIVE_TOPIC, SIGN_IN_TOPIC):
        published = kept.one(f"{topic} publish")
        assert published.parent is not None
        assert published.parent.span_id == span_id(kept.one("frame"))
        assert headers[topic] == f"00-{trace_id(published):032x}-{span_id(published):016x}-01"


async def test_the_records_of_an_unsampled_sign_in_carry_nothing() -> None:
    sender = NotedSender()
    await publish(sender, None)
    assert len(sender.sent) == 2
    assert [record for record in sender.sent if "traceparent" in dict(record.headers)] == []


async def test_a_record_that_is_not_acknowledged_marks_its_span() -> None:
    kept, sender = KeptSpans(), NotedSender()
    sender.fault = Unavailable("Kafka: away")
    with pytest.raises(Unavailable), kept.tracing.start("frame", SpanKind.SERVER) as span:
        await publish(sender, span)
    assert attributes(kept.one(f"{SENSITIVE_TOPIC} publish"))["error.type"] == "Unavailable"
    assert kept.names == [f"{SENSITIVE_TOPIC} publish", "frame"]


class NotingAuth(AuthClient):
    """Notes what would be posted."""

    def __init__(self) -> None:
        super().__init__(
            None,  # type: ignore[arg-type]  # nothing is posted
            "http://session",
            "token",
            group_seconds=0,
            group_size=10,
            groups_in_flight=1,
            max_waiting=10,
            deadline_seconds=1,
        )
        self.posted: list[tuple[int, str | None]] = []

    async def _post(self, calls: list[AuthCall], span: SampledSpan | None) -> list[AuthReply]:
        self.posted.append((len(calls), None if span is None else span.traceparent))
        return [AuthReply(error_code="400_04") for _ in calls]


async def test_a_group_of_c_auths_is_one_call_in_the_first_sampled_ones_trace_and_links_to_the_others() -> None:
    kept, auth = KeptSpans(), NotingAuth()
    frames = [frame_span(kept.tracing, AUTH, "192.0.2.1") for _ in range(2)]
    call = AuthCall(AUTH, "192.0.2.1")
    await asyncio.gather(auth.authenticate(call), *(auth.authenticate(call, frame) for frame in frames))
    post = kept.one("POST")
    assert post.kind is SpanKind.CLIENT
    assert post.parent is not None
    assert post.parent.span_id == frames[0].context.span_id
    assert [link.context.span_id for link in post.links] == [frames[1].context.span_id]
    assert auth.posted == [(3, f"00-{trace_id(post):032x}-{span_id(post):016x}-01")]


async def test_a_group_without_a_sampled_c_auth_is_posted_without_a_trace() -> None:
    auth = NotingAuth()
    await auth.authenticate(AuthCall(AUTH, "192.0.2.1"))
    assert auth.posted == [(1, None)]
