"""Histograms lead from a metric to a trace: by the newest sampled one of each bucket, and by none that is not."""

from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanKind
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar

from shared.runtime.histogram import PlainHistogram
from shared.runtime.metrics import ProcessMetrics
from shared.runtime.tracing import SampledSpan
from tests.support.spans import KeptSpans


@pytest.fixture
def process() -> Iterator[ProcessMetrics]:
    process = ProcessMetrics("test-service")
    yield process
    process.close()


@pytest.fixture
def seconds(process: ProcessMetrics) -> PlainHistogram:
    return process.histogram_by("test_seconds", "kind", "How long", (0.1, 1.0), ["a"])


def span() -> SampledSpan:
    return KeptSpans().tracing.start("test", SpanKind.SERVER)


def exemplars(process: ProcessMetrics) -> dict[tuple[str, str], Exemplar]:
    """By label and upper bound, as a reader of OpenMetrics finds them."""
    text = generate_openmetrics(process.registry).decode()  # type: ignore[no-untyped-call]  # as prometheus_client has it
    return {
        (sample.labels["kind"], sample.labels["le"]): sample.exemplar
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # as above
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_a_bucket_shows_the_newest_sampled_one_with_its_trace_and_span(
    process: ProcessMetrics, seconds: PlainHistogram
) -> None:
    older, newest, slow = span(), span(), span()
    seconds.record("a", 0.02, older)
    seconds.record("a", 0.05, newest)
    seconds.record("a", 0.07)
    seconds.record("a", 3.0, slow)
    found = exemplars(process)
    assert found.keys() == {("a", "0.1"), ("a", "+Inf")}
    assert found["a", "0.1"].labels == {"trace_id": newest.trace_id, "span_id": newest.span_id}
    assert found["a", "0.1"].value == 0.05
    assert found["a", "+Inf"].labels["trace_id"] == slow.trace_id


def test_what_is_not_sampled_leaves_none(process: ProcessMetrics, seconds: PlainHistogram) -> None:
    seconds.record("a", 0.02)
    assert exemplars(process) == {}


def test_the_old_text_form_has_the_same_numbers_and_no_exemplars(
    process: ProcessMetrics, seconds: PlainHistogram
) -> None:
    seconds.record("a", 0.02, span())
    text = generate_latest(process.registry).decode()
    assert 'test_seconds_bucket{kind="a",le="0.1"} 1.0\n' in text
    assert "trace_id" not in text


def test_openmetrics_form_keeps_the_names_of_counters(process: ProcessMetrics) -> None:
    process.counter("test_named", "Without suffix", lambda: 1)
    process.counter("test_suffixed_total", "With suffix", lambda: 2)
    process.counter_by("test_labelled", ("vendor", "outcome"), "By two labels", {("v1", "400_04"): 3})
    names = ("test_named_total", "test_suffixed_total", "test_labelled_total")
    for generate in (generate_latest, generate_openmetrics):
        lines = generate(process.registry).decode().splitlines()
        assert [line for line in lines if line.startswith(names)] == [
            "test_named_total 1.0",
            "test_suffixed_total 2.0",
            'test_labelled_total{outcome="400_04",vendor="v1"} 3.0',
        ]
