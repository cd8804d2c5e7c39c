"""The span of a web request: by whom it is decided, its name, and that it shows no path and no query."""

from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData

from shared.runtime.tracing import current_span
from shared.runtime.web_tracing import TracedRequests
from tests.support.asgi import call
from tests.support.spans import KeptSpans, attributes, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED, UNSAMPLED = f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE}-00f067aa0ba902b7-00"


def traced_app(kept: KeptSpans, *, trusts_callers: bool = True) -> TracedRequests:
    app, persons = FastAPI(), APIRouter(prefix="/persons")

    @persons.get("/{person_id}")
    async def show(person_id: str) -> dict[str, bool]:
        return {"traced": current_span() is not None}

    api = APIRouter(prefix="/api")
    api.include_router(persons)
    app.include_router(api)

    @app.get("/broken")
    async def fail() -> None:
        raise RuntimeError("13800138000")

    return TracedRequests(app, kept.tracing, trusts_callers=trusts_callers)


async def test_a_sampled_request_has_a_span_named_by_its_route_without_path_and_query() -> None:
    kept = KeptSpans()
    answer = await call(traced_app(kept), "GET", "/api/persons/330106199001011234?phone=13800138000")
    assert answer.json() == {"traced": True}
    span = kept.one("GET /api/persons/{person_id}")
    assert attributes(span) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "testserver",
        "server.port": 80,
        "http.route": "/api/persons/{person_id}",
        "http.response.status_code": 200,
    }


async def test_a_server_says_its_own_address_and_never_what_the_host_header_says() -> None:
    kept = KeptSpans()
    await call(traced_app(kept), "GET", "/api/persons/1", headers={"Host": "evil.example:9"})
    shown = attributes(kept.one("GET /api/persons/{person_id}"))
    assert (shown["server.address"], shown["server.port"]) == ("testserver", 80)


async def nothing() -> dict[str, str]:
    """A route's answer."""
    return {}


async def test_the_sdks_own_histogram_of_requests_leads_to_the_trace_of_a_sampled_one() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    for ratio, expected in ((0.0, 0), (1.0, 1)):
        kept = KeptSpans(ratio)
        app = FastAPI(telemetry={"meter_provider": provider, "tracing": False, "logs": False, "auto_configure": False})
        app.add_api_route("/here", nothing, methods=["GET"])
        await call(TracedRequests(app, kept.tracing, trusts_callers=False), "GET", "/here")
        found = [
            exemplar
            for of_resource in (reader.get_metrics_data() or MetricsData([])).resource_metrics
            for scope in of_resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "http.server.request.duration"
            for point in metric.data.data_points
            for exemplar in point.exemplars
        ]
        assert len(found) == expected
    assert found[0].trace_id == trace_id(kept.one("GET /here"))
    provider.shutdown()


async def test_a_request_that_is_not_sampled_has_none() -> None:
    kept = KeptSpans(0.0)
    answer = await call(traced_app(kept), "GET", "/api/persons/1")
    assert answer.json() == {"traced": False}
    assert kept.names == []


async def test_a_trusted_caller_decides_for_and_against() -> None:
    kept = KeptSpans(0.0)
    await call(traced_app(kept), "GET", "/api/persons/1", headers={"traceparent": SAMPLED})
    assert trace_id(kept.one("GET /api/persons/{person_id}")) == int(TRACE, 16)
    kept = KeptSpans(1.0)
    await call(traced_app(kept), "GET", "/api/persons/1", headers={"traceparent": UNSAMPLED})
    assert kept.names == []


async def test_a_device_decides_nothing() -> None:
    kept = KeptSpans(0.0)
    await call(traced_app(kept, trusts_callers=False), "GET", "/api/persons/1", headers={"traceparent": SAMPLED})
    assert kept.names == []


async def test_a_path_and_a_method_that_are_none_do_not_become_names() -> None:
    kept = KeptSpans()
    await call(traced_app(kept), "GET", "/13800138000")
    await call(traced_app(kept), "BREW", "/13800138000")
    assert kept.names == ["GET", "_OTHER"]


async def test_a_failure_of_ours_marks_the_span_and_shows_nothing_of_the_exception() -> None:
    kept = KeptSpans()
    try:
        await call(traced_app(kept), "GET", "/broken")
    except RuntimeError:
        pass  # FastAPI answers 500 and raises it again for the server's log
    span = kept.one("GET /broken")
    assert attributes(span)["http.response.status_code"] == 500
    assert not span.status.is_ok
    assert "13800138000" not in span.to_json()
