"""A histogram for the hot path: recording adds to plain integers (measured: the SDK's own costs as much as a frame)."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class PlainHistogram(Collector):
    """Seconds in buckets by one label, whose values are from a fixed list. Read by /metrics and the OTLP export."""

    def __init__(self, name: str, label: str, description: str, bounds: Sequence[float], start_ns: int) -> None:
        self._name = name
        self._label = label
        self._description = description
        self._bounds = bounds
        self._start_ns = start_ns
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def record(self, label_value: str, amount: float) -> None:
        """Adds one."""
        counts = self._counts.get(label_value)
        if counts is None:
            self._sums[label_value] = 0.0
            counts = self._counts[label_value] = [0] * (len(self._bounds) + 1)
        counts[bisect_left(self._bounds, amount)] += 1
        self._sums[label_value] += amount

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For Prometheus, whose buckets add up."""
        family = HistogramMetricFamily(self._name, self._description, labels=[self._label])
        for value, counts in self._counts.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([value], buckets, sum_value=self._sums[value])
        yield family

    def as_otlp(self, now_ns: int) -> Metric:
        """For OTLP, from the exporter's thread."""
        points = [
            HistogramDataPoint(
                attributes={self._label: value},
                start_time_unix_nano=self._start_ns,
                time_unix_nano=now_ns,
                count=sum(counts),
                sum=self._sums[value],
                bucket_counts=list(counts),
                explicit_bounds=self._bounds,
                min=None,  # type: ignore[arg-type]  # optional in OTLP, and not kept
                max=None,  # type: ignore[arg-type]  # as above
            )
            for value, counts in list(self._counts.items())
        ]
        return Metric(self._name, self._description, "s", Histogram(points, AggregationTemporality.CUMULATIVE))
