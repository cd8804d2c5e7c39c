"""The span of a web request: by whom it is decided, its name, and that it shows no path and no query."""

from fastapi import APIRouter, FastAPI

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
        "http.route": "/api/persons/{person_id}",
        "http.response.status_code": 200,
    }


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
