"""The metrics of a process: hot counts are plain integers that an observable instrument reads (measured: a labelled
counter costs as much as a whole frame). Each service defines its own in its metrics.py."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from prometheus_client import CollectorRegistry

from shared.runtime.histogram import PlainHistogram

SERIES_LIMITS: dict[type, int] = {ObservableCounter: 25_000, ObservableGauge: 25_000}
"""Above what the metrics by vendor and by site can have: past the SDK's own limit of 2,000 it gives up their labels."""
Labels = str | tuple[str, str]
"""The name of one label, or of two."""
Counts = Mapping[str, int] | Mapping[tuple[str, str], int]
"""Count by the label's value, or by those of both."""


class ProcessMetrics:
    """The meter of one service process and the registry that its admin port serves."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        reader = PrometheusMetricReader(
            registry=self.registry, scope_info_enabled=False, cardinality_limits=SERIES_LIMITS
        )
        self.resource = _resource(service)
        self.provider = MeterProvider([reader], self.resource)
        self.meter: Meter = self.provider.get_meter(service)
        self.histograms: list[PlainHistogram] = []

    def counter(self, name: str, description: str, read: Callable[[], int]) -> None:
        """A monotonic count without labels, read when it is scraped or exported."""
        self.meter.create_observable_counter(name, [lambda _options: [Observation(read())]], description=description)

    def counter_by(self, name: str, labels: Labels, description: str, counts: Counts) -> None:
        """A monotonic count by labels. `counts` is read at each scrape, so the caller just adds to its integers."""
        self.meter.create_observable_counter(
            name, [lambda _options: _observations(labels, counts)], description=description
        )

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A value as of the scrape."""
        self.meter.create_observable_gauge(name, [lambda _options: [Observation(read())]], description=description)

    def gauge_by(self, name: str, labels: Labels, description: str, read: Callable[[], Counts]) -> None:
        """Values as of the scrape, by labels."""
        self.meter.create_observable_gauge(
            name, [lambda _options: _observations(labels, read())], description=description
        )

    def histogram_by(
        self, name: str, label: str, description: str, bounds: Sequence[float], values: Iterable[str] = ()
    ) -> PlainHistogram:
        """Seconds by one label, for the hot path; `values` are those that are shown before anything is recorded."""
        histogram = PlainHistogram(name, label, description, bounds, time.time_ns(), values)
        self.registry.register(histogram)
        self.histograms.append(histogram)
        return histogram

    def close(self) -> None:
        """Ends the provider; what is served afterwards is empty."""
        self.provider.shutdown()


def _observations(labels: Labels, counts: Counts) -> Iterable[Observation]:
    names = (labels,) if isinstance(labels, str) else labels
    # a list first: an OTLP export reads it in a thread of its own
    return [
        Observation(count, dict(zip(names, (values,) if isinstance(values, str) else values, strict=True)))
        for values, count in list(counts.items())
    ]


def _resource(service: str) -> Resource:
    """What the process is; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what we would say."""
    ours = {
        "service.name": service,
        "service.namespace": "site-access",
        "service.instance.id": secrets.token_hex(16),
        "service.version": version("shared"),  # which all packages of a release have in common
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
