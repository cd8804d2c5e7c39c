"""The metrics of a process: hot counts are plain integers that an observable instrument reads (measured: a labelled
counter costs as much as a whole frame). Each service defines its own in its metrics.py."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

Counts = Mapping[str, int]
"""Count by the one label's value."""


class ProcessMetrics:
    """The meter of one service process and the registry that its admin port serves."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=self.registry, scope_info_enabled=False)
        self._provider = MeterProvider([reader], Resource.create({"service.name": service}))
        self.meter: Meter = self._provider.get_meter(service)

    def counter(self, name: str, description: str, read: Callable[[], int]) -> None:
        """A monotonic count without labels, read when it is scraped."""
        self.meter.create_observable_counter(name, [lambda _options: [Observation(read())]], description=description)

    def counter_by(self, name: str, label: str, description: str, counts: Counts) -> None:
        """A monotonic count by one label. `counts` is read at each scrape, so the caller just adds to its integers."""

        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(count, {label: value}) for value, count in counts.items()]

        self.meter.create_observable_counter(name, [observe], description=description)

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A value as of the scrape."""
        self.meter.create_observable_gauge(name, [lambda _options: [Observation(read())]], description=description)

    def close(self) -> None:
        """Ends the provider; what is served afterwards is empty."""
        self._provider.shutdown()
