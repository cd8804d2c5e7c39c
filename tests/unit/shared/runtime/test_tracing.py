"""Spans: who decides, what is passed on, what never becomes visible."""

import asyncio

import pytest
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags

from shared.runtime.tracing import NOT_TRACED, as_current, child_of, current_span, sampled_parent
from tests.support.spans import KeptSpans, attributes, span_id, trace_id

# The example of the W3C recommendation "Trace Context", section 3.2.3.
W3C_EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_without_an_endpoint_nothing_is_ever_sampled() -> None:
    assert not NOT_TRACED.is_on
    assert not any(NOT_TRACED.should_sample() for _ in range(1000))


def test_the_ratio_is_the_share_of_what_is_sampled() -> None:
    assert not any(KeptSpans(0.0).tracing.should_sample() for _ in range(1000))
    assert all(KeptSpans(1.0).tracing.should_sample() for _ in range(1000))
    # binomial, n = 20,000, p = 0.1: five standard deviations are 212
    tracing = KeptSpans(0.1).tracing
    assert abs(sum(tracing.should_sample() for _ in range(20_000)) - 2000) < 212


def test_a_child_is_in_its_parents_trace_and_carries_on_by_its_traceparent() -> None:
    kept = KeptSpans()
    with kept.tracing.start("a", SpanKind.SERVER) as parent, parent.child("b", SpanKind.CLIENT) as child:
        sent = child.traceparent
    a, b = kept.one("a"), kept.one("b")
    assert trace_id(a) == trace_id(b)
    assert a.parent is None
    assert b.parent is not None
    assert b.parent.span_id == span_id(a)
    version, sent_trace, sent_span, flags = sent.split("-")
    assert (version, int(sent_trace, 16), int(sent_span, 16), flags) == ("00", trace_id(b), span_id(b), "01")


def test_what_a_traceparent_names_becomes_the_parent() -> None:
    parent = sampled_parent(W3C_EXAMPLE)
    assert parent is not None
    assert parent.trace_flags & TraceFlags.SAMPLED
    kept = KeptSpans()
    kept.tracing.start("far", SpanKind.CONSUMER, parent=parent, links=[parent]).end()
    far = kept.one("far")
    assert trace_id(far) == 0x4BF92F3577B34DA6A3CE929D0E0E4736
    assert far.parent is not None
    assert far.parent.span_id == 0x00F067AA0BA902B7
    assert [link.context.span_id for link in far.links] == [0x00F067AA0BA902B7]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "rubbish",
        W3C_EXAMPLE.removesuffix("1") + "0",
        W3C_EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        W3C_EXAMPLE.replace("00f067aa0ba902b7", "0" * 16),
        W3C_EXAMPLE.replace("00-", "ff-", 1),
    ],
)
def test_a_traceparent_that_is_absent_malformed_or_not_sampled_is_no_parent(text: str | None) -> None:
    assert sampled_parent(text) is None


def test_an_exception_marks_its_span_by_its_class_and_tells_nothing_of_its_text() -> None:
    kept = KeptSpans()
    with pytest.raises(ValueError, match="secret"), kept.tracing.start("a", SpanKind.SERVER):
        raise ValueError("a secret")
    a = kept.one("a")
    assert a.status.status_code is StatusCode.ERROR
    assert a.status.description is None
    assert attributes(a) == {"error.type": "ValueError"}
    assert list(a.events) == []


def test_a_child_of_nothing_is_nothing() -> None:
    with child_of(None, "a", SpanKind.CLIENT) as span:
        assert span is None


async def test_the_current_span_is_that_of_the_task_and_of_the_tasks_it_starts() -> None:
    kept = KeptSpans()

    async def seen() -> object:
        return current_span()

    async def traced() -> object:
        with kept.tracing.start("a", SpanKind.SERVER) as span, as_current(span):
            assert current_span() is span
            assert await asyncio.ensure_future(seen()) is span
        return current_span()

    assert list(await asyncio.gather(traced(), seen())) == [None, None]
