"""A span for every sampled HTTP request, around an ASGI application. FastAPI's own is not used: its spans carry the
path and the query, in which persons are named (design rule 8)."""

from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.routes import route_of
from shared.runtime.telemetry_names import HTTP_SERVER_SPAN
from shared.runtime.tracing import TRACEPARENT, SampledSpan, Tracing, as_current, sampled_parent

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER_METHOD = "_OTHER"
"""OpenTelemetry's word for a method that is none."""


class TracedRequests:
    """ASGI middleware, the outermost; while the request is at work its span is the current one."""

    def __init__(self, app: ASGIApp, tracing: Tracing, *, trusts_callers: bool) -> None:
        """`trusts_callers`: whoever calls may have decided already, by a `traceparent`; never so for devices."""
        self._app = app
        self._tracing = tracing
        self._trusts_callers = trusts_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._begin(scope)
        if span is None:
            await self._app(scope, receive, send)
            return

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.fail(str(message["status"]))
            await send(message)

        with span, as_current(span), span.as_sdk_current():
            try:
                await self._app(scope, receive, watched_send)
            finally:
                route = route_of(scope)
                if route is not None:
                    span.set("http.route", route)
                    span.rename(HTTP_SERVER_SPAN.format(method=_method(scope), route=route))

    def _begin(self, scope: Scope) -> SampledSpan | None:
        parent = None
        if self._trusts_callers and self._tracing.is_on:
            traceparent = Headers(scope=scope).get(TRACEPARENT)
            parent = sampled_parent(traceparent)
            if traceparent is not None and parent is None:
                return None
        if parent is None and not self._tracing.should_sample():
            return None
        method = _method(scope)
        attributes: dict[str, str | int] = {"http.request.method": method, "url.scheme": str(scope["scheme"])}
        attributes["network.protocol.version"] = str(scope["http_version"])
        if scope.get("server"):  # our own address: what the Host header says is the caller's
            attributes["server.address"], attributes["server.port"] = scope["server"]
        return self._tracing.start(method, SpanKind.SERVER, attributes, parent=parent)


def _method(scope: Scope) -> str:
    return str(scope["method"]) if scope["method"] in METHODS else OTHER_METHOD
