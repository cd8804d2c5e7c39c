"""What leaves the process over OTLP, and that a collector which is away costs nothing."""

import socket
import time

import pytest
from opentelemetry.trace import SpanKind

from shared.runtime.metrics import ProcessMetrics
from shared.runtime.settings import TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from tests.fixtures.otlp import OtlpReceiver


async def test_spans_and_metrics_arrive_at_the_endpoint_when_the_process_ends(otlp: OtlpReceiver) -> None:
    metrics = ProcessMetrics("test-service")
    metrics.counter("test_things_total", "Things", lambda: 3)
    seconds = metrics.histogram_by("test_seconds", "kind", "How long", (0.1, 1.0))
    for amount in (0.05, 0.5, 0.7, 4.0):
        seconds.record("a", amount)
    settings = TelemetrySettings(exporter_otlp_endpoint=otlp.url, traces_sampler_arg=1.0)
    async with open_telemetry(metrics, settings) as tracing:
        assert tracing.should_sample()
        with tracing.start("device C_AUTH", SpanKind.SERVER, {"site_access.sn": "A1"}) as span:
            span.child("POST", SpanKind.CLIENT).end()
        seconds.record("a", 0.25, span)
    metrics.close()
    device, post = otlp.one("device C_AUTH"), otlp.one("POST")
    assert (device.service, device.kind, device.parent) == ("test-service", "SERVER", "")
    assert (post.kind, post.parent, post.trace_id) == ("CLIENT", device.span_id, device.trace_id)
    assert device.attributes == {"site_access.sn": "A1"}
    assert ("test-service", "test_things_total") in otlp.metrics
    (point,) = otlp.histograms["test_seconds"]
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([0.1, 1.0], [1, 3, 1])
    assert (point.count, point.sum) == (5, 5.5)
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id.hex(), exemplar.span_id.hex()) == (device.trace_id, device.span_id)
    assert exemplar.as_double == 0.25
    assert otlp.resources["test-service"] == {
        "service.name": "test-service",
        "service.namespace": "site-access",
        "service.instance.id": metrics.resource.attributes["service.instance.id"],
        "service.version": "0.1.0",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": otlp.resources["test-service"]["telemetry.sdk.version"],
    }


async def test_the_share_that_is_traced_is_the_setting_and_one_in_a_hundred_by_default(otlp: OtlpReceiver) -> None:
    assert TelemetrySettings().traces_sampler_arg == 0.01
    metrics = ProcessMetrics("test-service")
    settings = TelemetrySettings(exporter_otlp_endpoint=otlp.url, traces_sampler_arg=0.0)
    async with open_telemetry(metrics, settings) as tracing:
        assert tracing.is_on
        assert not any(tracing.should_sample() for _ in range(100))
    metrics.close()


@pytest.mark.parametrize(
    "settings",
    [
        None,
        TelemetrySettings(),
        TelemetrySettings(exporter_otlp_endpoint=""),
        TelemetrySettings(exporter_otlp_endpoint="http://127.0.0.1:9", sdk_disabled=True),
    ],
)
async def test_without_an_endpoint_or_disabled_nothing_is_set_up(settings: TelemetrySettings | None) -> None:
    metrics = ProcessMetrics("test-service")
    async with open_telemetry(metrics, settings) as tracing:
        assert not tracing.is_on
    metrics.close()


async def test_the_service_is_named_as_opentelemetrys_own_variables_say(
    otlp: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gate-north")
    metrics = ProcessMetrics("test-service")
    settings = TelemetrySettings(exporter_otlp_endpoint=otlp.url)
    async with open_telemetry(metrics, settings) as tracing:
        tracing.start("POST", SpanKind.CLIENT).end()
    metrics.close()
    assert otlp.one("POST").service == "gate-north"


async def test_design_rule_12_a_collector_that_hangs_holds_up_the_end_for_its_deadline_at_most() -> None:
    metrics = ProcessMetrics("test-service")
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        settings = TelemetrySettings(exporter_otlp_endpoint=url, exporter_otlp_timeout=1)
        began = time.monotonic()
        async with open_telemetry(metrics, settings) as tracing:
            tracing.start("POST", SpanKind.CLIENT).end()
            assert time.monotonic() - began < 0.9
        metrics.close()
    assert 0.9 < time.monotonic() - began < 5
