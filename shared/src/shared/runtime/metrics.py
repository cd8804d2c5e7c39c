"""The metrics of a process: hot counts are plain integers that an observable instrument reads (measured: a labelled
counter costs as much as a whole frame). Each service defines its own in its metrics.py."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from prometheus_client import CollectorRegistry

from shared.runtime.histogram import PlainHistogram

Counts = Mapping[str, int]
"""Count by the one label's value."""


class ProcessMetrics:
    """The meter of one service process and the registry that its admin port serves."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=self.registry, scope_info_enabled=False)
        self.resource = _resource(service)
        self.provider = MeterProvider([reader], self.resource)
        self.meter: Meter = self.provider.get_meter(service)
        self.histograms: list[PlainHistogram] = []

    def counter(self, name: str, description: str, read: Callable[[], int]) -> None:
        """A monotonic count without labels, read when it is scraped or exported."""
        self.meter.create_observable_counter(name, [lambda _options: [Observation(read())]], description=description)

    def counter_by(self, name: str, label: str, description: str, counts: Counts) -> None:
        """A monotonic count by one label. `counts` is read at each scrape, so the caller just adds to its integers."""

        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            # a list first: an OTLP export reads it in a thread of its own
            return [Observation(count, {label: value}) for value, count in list(counts.items())]

        self.meter.create_observable_counter(name, [observe], description=description)

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A value as of the scrape."""
        self.meter.create_observable_gauge(name, [lambda _options: [Observation(read())]], description=description)

    def histogram_by(self, name: str, label: str, description: str, bounds: Sequence[float]) -> PlainHistogram:
        """Seconds by one label, for the hot path."""
        histogram = PlainHistogram(name, label, description, bounds, time.time_ns())
        self.registry.register(histogram)
        self.histograms.append(histogram)
        return histogram

    def close(self) -> None:
        """Ends the provider; what is served afterwards is empty."""
        self.provider.shutdown()


def _resource(service: str) -> Resource:
    """What the process is; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what we would say."""
    ours = {"service.name": service, "service.namespace": "site-access", "service.instance.id": secrets.token_hex(16)}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
