"""Sets up OpenTelemetry's SDK where an OTLP endpoint is set: traces, and the metrics that /metrics shows as well."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shared.runtime.histogram import PlainHistogram
from shared.runtime.metrics import SERIES_LIMITS, ProcessMetrics
from shared.runtime.settings import TelemetrySettings
from shared.runtime.tracing import NOT_TRACED, Tracing

SCOPE = "site_access"
MAX_LINKS = 1_000
"""A batch links to each sampled record in it."""


class _MetricExporter(OTLPMetricExporter):
    """Adds our own histograms, which are no instruments of the SDK's."""

    def __init__(self, endpoint: str, timeout_seconds: float, histograms: Sequence[PlainHistogram]) -> None:
        super().__init__(endpoint, timeout=timeout_seconds)
        self._histograms = histograms

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **options: Any
    ) -> MetricExportResult:
        now_ns = time.time_ns()
        ours = ScopeMetrics(
            InstrumentationScope(SCOPE), [histogram.as_otlp(now_ns) for histogram in self._histograms], ""
        )
        of_process = [
            ResourceMetrics(one.resource, [*one.scope_metrics, ours], one.schema_url)
            for one in metrics_data.resource_metrics
        ]
        return super().export(MetricsData(of_process), timeout_millis, **options)


@asynccontextmanager
async def open_telemetry(metrics: ProcessMetrics, settings: TelemetrySettings | None) -> AsyncIterator[Tracing]:
    """The process's spans; NOT_TRACED where no endpoint is set. What is left is sent when the context is left, within
    the exporter's own deadline. A collector that is away costs nobody an answer."""
    if settings is None or not settings.exporter_otlp_endpoint or settings.sdk_disabled:
        yield NOT_TRACED
        return
    endpoint, seconds = settings.exporter_otlp_endpoint.rstrip("/"), settings.exporter_otlp_timeout
    # ALWAYS_ON: what reaches the SDK was decided to be sampled before.
    provider = TracerProvider(
        ALWAYS_ON,
        metrics.resource,
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_links=MAX_LINKS),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=seconds)))
    exporter = _MetricExporter(f"{endpoint}/v1/metrics", seconds, metrics.histograms)
    reader = PeriodicExportingMetricReader(exporter, cardinality_limits=SERIES_LIMITS)
    metrics.provider.add_metric_reader(reader)
    try:
        yield Tracing(provider.get_tracer(SCOPE), settings.traces_sampler_arg)
    finally:
        # In threads, since they wait for the collector; ProcessMetrics does not know of this reader.
        await asyncio.gather(asyncio.to_thread(provider.shutdown), asyncio.to_thread(reader.shutdown))
