"""The share of frames that are traced, over real sockets and Kafka: none leaves no mark, all leave one each."""

import logging

import pytest

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC
from shared.runtime.settings import TelemetrySettings
from tests.fixtures.otlp import OtlpReceiver
from tests.support.builders import make_heartbeat, make_sign_in
from tests.support.ingress import Parts, running_ingress
from tests.support.topics import read_topic

JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)


async def work(parts: Parts, otlp: OtlpReceiver, ratio: float, sn: str) -> list[dict[str, bytes]]:
    """A terminal does one of everything; the headers of its records."""
    telemetry = TelemetrySettings(exporter_otlp_endpoint=otlp.url, traces_sampler_arg=ratio)
    secret = parts.vendor.access_secret
    async with running_ingress(parts, telemetry=telemetry) as ingress, ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
        await terminal.ask(make_sign_in(secret, sn, token, picture=JPEG))
    records = [one for topic in (SIGN_IN_TOPIC, SENSITIVE_TOPIC) for one in await read_topic(parts.kafka, topic)]
    return [dict(record.headers) for record in records if record.key == sn.encode()]


async def test_nothing_is_exported_and_no_record_is_marked_where_nothing_is_sampled(
    parts: Parts, otlp: OtlpReceiver
) -> None:
    headers = await work(parts, otlp, 0.0, "sn-untraced")
    assert len(headers) == 2
    assert [one for one in headers if "traceparent" in one] == []
    assert otlp.spans == []
    assert ("tcp-ingress", "tcp_ingress_answers") in otlp.metrics
    assert sum(point.count for point in otlp.histograms["tcp_ingress_answer_seconds"]) >= 2


async def test_every_frame_has_one_span_and_every_record_its_mark_where_all_are_sampled(
    parts: Parts, otlp: OtlpReceiver
) -> None:
    headers = await work(parts, otlp, 1.0, "sn-traced")
    marked = sorted(one["traceparent"].decode() for one in headers)
    published = [*otlp.named("attendance.sign-in.v1 publish"), *otlp.named("attendance.sensitive.v1 publish")]
    assert marked == sorted(f"00-{span.trace_id}-{span.span_id}-01" for span in published)
    assert len(marked) == 2
    for apicode in ("C_AUTH", "C_HEARTBEAT", "C_SIGN_IN"):
        frame = otlp.one(f"device {apicode}", site_access__sn="sn-traced")
        assert (frame.parent, frame.attributes["client.address"], frame.failed) == ("", "127.0.0.1", False)


async def test_a_log_line_of_a_sampled_frame_is_passed_its_span(
    parts: Parts, otlp: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    small = parts.kafka.model_copy(update={"max_message_bytes": 1200})
    limited = Parts(small, parts.redis, parts.mongo, parts.session_port, parts.vendor, parts.presence)
    with caplog.at_level(logging.WARNING, "tcp_ingress.handlers"):
        await work(limited, otlp, 1.0, "sn-too-large")
    frame = otlp.one("device C_SIGN_IN", site_access__sn="sn-too-large")
    assert frame.failed
    assert frame.attributes["error.type"] == frame.attributes["site_access.outcome"] == "500_01"
    (record,) = (one for one in caplog.records if "larger than the topics take" in one.message)
    assert vars(record)["span"].trace_id == frame.trace_id
