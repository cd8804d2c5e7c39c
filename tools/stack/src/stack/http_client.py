"""The few HTTP requests of the stack: readiness, metrics, and what an operator of the simulated terminals asks."""

import json
import urllib.error
import urllib.request
from typing import Any


class RequestFailed(Exception):
    """No answer, or one that is no success; the text names the address and what happened."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.is_refusal = status is not None and 400 <= status < 500
        """Asking again would not help."""


def get(url: str, *, token: str | None = None, timeout_seconds: float = 1.0) -> str:
    """The body of a successful answer. Raises RequestFailed."""
    return _send(urllib.request.Request(url, headers=_headers(token)), timeout_seconds)  # noqa: S310 (our own address)


def post_json(url: str, body: dict[str, Any], *, token: str, timeout_seconds: float = 10.0) -> Any:
    """The JSON of a successful answer. Raises RequestFailed."""
    return send(
        "POST", url, json.dumps(body).encode(), "application/json", token=token, timeout_seconds=timeout_seconds
    )


def send(
    method: str, url: str, body: bytes | None, content_type: str, *, token: str, timeout_seconds: float = 10.0
) -> Any:
    """The JSON of a successful answer, None where it is empty. Raises RequestFailed."""
    request = urllib.request.Request(  # noqa: S310 (our own address)
        url, data=body, headers={**_headers(token), "Content-Type": content_type}, method=method
    )
    text = _send(request, timeout_seconds)
    return json.loads(text) if text else None


def metric_total(exposition: str, name: str) -> float | None:
    """The sum of a metric's samples over all labels in Prometheus's text format; None where there is none."""
    values = [
        float(line.rpartition(" ")[2]) for line in exposition.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    ]
    return sum(values) if values else None


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


# The stack speaks to its own processes on the loopback: a proxy of the environment would not find them.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _send(request: urllib.request.Request, timeout_seconds: float) -> str:
    try:
        with _opener.open(request, timeout=timeout_seconds) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            raise RequestFailed(f"{request.full_url} answered {error.code}", error.code) from error
    except OSError as error:
        raise RequestFailed(f"{request.full_url} did not answer: {error}") from error
