"""A histogram for the hot path: recording adds to plain integers (measured: the SDK's own costs as much as a frame)."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, Metric
from prometheus_client.core import Exemplar as PrometheusExemplar
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from shared.runtime.tracing import SampledSpan


class _Exemplar(NamedTuple):
    """What was recorded, and in which trace."""

    amount: float
    time_ns: int
    span: SampledSpan

    def as_prometheus(self) -> PrometheusExemplar:
        ids = {"trace_id": self.span.trace_id, "span_id": self.span.span_id}
        return PrometheusExemplar(ids, self.amount, self.time_ns / 1e9)

    def as_otlp(self) -> OtlpExemplar:
        context = self.span.context
        return OtlpExemplar({}, self.amount, self.time_ns, context.span_id, context.trace_id)


class _Series:
    """Of one value of the label."""

    __slots__ = ("counts", "exemplars", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0
        self.exemplars: dict[int, _Exemplar] = {}
        """By bucket the newest that was sampled."""


class PlainHistogram(Collector):
    """Seconds in buckets by one label, whose values are from a fixed list. Read by /metrics and the OTLP export."""

    def __init__(
        self,
        name: str,
        label: str,
        description: str,
        bounds: Sequence[float],
        start_ns: int,
        values: Iterable[str] = (),
    ) -> None:
        self._name = name
        self._label = label
        self._description = description
        self._bounds = bounds
        self._start_ns = start_ns
        self._series = {value: _Series(len(bounds) + 1) for value in values}

    def record(self, label_value: str, amount: float, span: SampledSpan | None = None) -> None:
        """Adds one; `span` is the sampled one that took so long."""
        series = self._series.get(label_value)
        if series is None:
            series = self._series[label_value] = _Series(len(self._bounds) + 1)
        bucket = bisect_left(self._bounds, amount)
        series.counts[bucket] += 1
        series.sum += amount
        if span is not None:
            series.exemplars[bucket] = _Exemplar(amount, time.time_ns(), span)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For Prometheus, whose buckets add up."""
        family = HistogramMetricFamily(self._name, self._description, labels=[self._label])
        bounds = [*map(str, self._bounds), "+Inf"]
        for value, series in list(self._series.items()):
            total = 0
            buckets: list[tuple[str, float] | tuple[str, float, PrometheusExemplar]] = []
            for number, (bound, count) in enumerate(zip(bounds, series.counts, strict=True)):
                total += count
                exemplar = series.exemplars.get(number)
                bucket = bound, float(total)
                buckets.append(bucket if exemplar is None else (*bucket, exemplar.as_prometheus()))
            family.add_metric([value], buckets, sum_value=series.sum)
        yield family

    def as_otlp(self, now_ns: int) -> Metric:
        """For OTLP, from the exporter's thread."""
        points = [
            HistogramDataPoint(
                attributes={self._label: value},
                start_time_unix_nano=self._start_ns,
                time_unix_nano=now_ns,
                count=sum(series.counts),
                sum=series.sum,
                bucket_counts=list(series.counts),
                explicit_bounds=self._bounds,
                min=None,  # type: ignore[arg-type]  # optional in OTLP, and not kept
                max=None,  # type: ignore[arg-type]  # as above
                exemplars=[exemplar.as_otlp() for exemplar in list(series.exemplars.values())],
            )
            for value, series in list(self._series.items())
        ]
        return Metric(self._name, self._description, "s", Histogram(points, AggregationTemporality.CUMULATIVE))
