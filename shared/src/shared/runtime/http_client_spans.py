"""What the span of a call to one of our own services says, by OpenTelemetry's conventions but for `url.full`: the paths
of calls name vendors and their credentials."""

from urllib.parse import urlsplit

from shared.runtime.tracing import SampledSpan

DEFAULT_PORTS = {"http": 80, "https": 443}


def call_attributes(method: str, service: str, url: str) -> dict[str, str | int]:
    """Of a call to the service, whose base URL is `url`."""
    parts = urlsplit(url)
    return {
        "http.request.method": method,
        "service.peer.name": service,
        "server.address": parts.hostname or "",
        "server.port": parts.port or DEFAULT_PORTS.get(parts.scheme, 0),
    }


def answered(span: SampledSpan, status: int) -> None:
    """The service answered; what a client is to do otherwise is its fault as well (4xx and 5xx are errors here)."""
    span.set("http.response.status_code", status)
    if status >= 400:
        span.fail(str(status))
