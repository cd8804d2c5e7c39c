"""A task is followed in the trace of whoever made it, and a device's requests link to the tasks that they are about."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from opentelemetry.trace import SpanKind

from shared.domain.tasks import DEVICE, HistoryEntry, TaskState
from shared.runtime.tracing import NOT_TRACED
from shared.runtime.web_tracing import TracedRequests
from task_api.task_spans import Change, publishing
from tests.support.asgi import call
from tests.support.session_values import NOW_MS
from tests.support.spans import KeptSpans, attributes, span_id, trace_id
from tests.support.task_api import TaskApi, make_body
from tests.support.task_values import TASK_ID, make_task

# The example of the W3C recommendation "Trace Context", section 3.2.3; the second has another span.
MAKER_TRACE, MAKER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MAKER = f"00-{MAKER_TRACE}-{MAKER_SPAN}-01"
CHANGER = f"00-{'ab' * 16}-{'cd' * 8}-01"
SPAN = "device.task.v1 publish"


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi()
    yield made
    made.metrics.close()


async def ask(api: TaskApi, kept: KeptSpans, apicode: str, param: object) -> None:
    """A device's request over the traced application; it claims a trace of its own, which nobody believes."""
    app = TracedRequests(api.app, kept.tracing, trusts_callers=False)
    answer = await call(app, "POST", "/api/device", headers={"traceparent": CHANGER}, body=make_body(apicode, param))
    assert answer.json()["success"]


async def test_a_devices_request_says_what_it_was_and_links_to_its_tasks_and_marks_its_changes(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task(traceparent=MAKER))
    kept = KeptSpans()
    await ask(api, kept, "T_GET_TASKS", {"taskids": [TASK_ID]})
    request = kept.one("device T_GET_TASKS")
    assert request.kind is SpanKind.SERVER
    assert request.parent is None
    assert attributes(request) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "testserver",
        "server.port": 80,
        "http.route": "/api/device",
        "http.response.status_code": 200,
        "site_access.apicode": "T_GET_TASKS",
        "site_access.sn": "1388186",
        "site_access.outcome": "success",
    }
    assert [f"{link.context.trace_id:032x}" for link in request.links] == [MAKER_TRACE]
    (_, delivered) = (await api.task(TASK_ID)).history
    assert delivered.traceparent == f"00-{trace_id(request):032x}-{span_id(request):016x}-01"


async def test_a_report_of_a_devices_links_too_and_an_unsampled_one_leaves_no_mark(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task(traceparent=MAKER))
    await ask(api, KeptSpans(0.0), "T_GET_TASKS", {"taskids": [TASK_ID]})
    kept = KeptSpans()
    await ask(api, kept, "T_UPDATE_TASKS_STATUS", {"task": [{"taskid": TASK_ID, "status": 1}]})
    request = kept.one("device T_UPDATE_TASKS_STATUS")
    assert [f"{link.context.span_id:016x}" for link in request.links] == [MAKER_SPAN]
    (_, delivered, done) = (await api.task(TASK_ID)).history
    assert delivered.traceparent is None
    assert done.traceparent == f"00-{trace_id(request):032x}-{span_id(request):016x}-01"


def changes(*later: tuple[TaskState, str | None], maker: str | None = MAKER) -> Sequence[Change]:
    """All changes of one task."""
    made = make_task(traceparent=maker)
    entries = [HistoryEntry(at_ms=NOW_MS, state=state, actor=DEVICE, traceparent=trace) for state, trace in later]
    task = msgspec.structs.replace(made, history=(*made.history, *entries))
    return [Change(task, number) for number in range(len(task.history))]


def test_every_change_is_a_span_in_the_tasks_trace_and_links_to_the_request_that_made_it() -> None:
    kept = KeptSpans()
    with publishing(kept.tracing, changes((TaskState.DELIVERED, None), (TaskState.DONE, CHANGER))) as records:
        headers = [dict(record.headers)["traceparent"].decode() for record in records]
    spans = {str(attributes(span)["site_access.task_state"]): span for span in kept.all(SPAN)}
    assert list(spans) == ["done", "delivered", "pending"]
    for span in spans.values():
        assert f"{trace_id(span):032x}" == MAKER_TRACE
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == MAKER_SPAN
        assert attributes(span)["site_access.task_id"] == TASK_ID
        assert span.kind is SpanKind.PRODUCER
    assert [f"{link.context.trace_id:032x}" for link in spans["done"].links] == ["ab" * 16]
    assert list(spans["delivered"].links) == list(spans["pending"].links) == []
    ids = [f"{span_id(spans[state]):016x}" for state in ("pending", "delivered", "done")]
    assert headers == [f"00-{MAKER_TRACE}-{one}-01" for one in ids]


def test_a_task_that_is_not_traced_is_relayed_as_it_is() -> None:
    kept = KeptSpans()
    with publishing(kept.tracing, changes((TaskState.DONE, CHANGER), maker=None)) as records:
        assert [dict(record.headers).get("traceparent") for record in records] == [None, None]
    with publishing(NOT_TRACED, changes()) as records:
        assert [dict(record.headers).get("traceparent") for record in records] == [None]
    assert kept.names == []
