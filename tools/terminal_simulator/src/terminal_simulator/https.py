"""One HTTPS request (section 3): the only file that knows HTTP."""

import asyncio
import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

DEVICE_PATH = "/api/device"
SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class NoAnswer(Exception):
    """The platform did not answer with status 200; the text says what happened instead."""


@dataclass(frozen=True, slots=True)
class HttpsAddress:
    """Where the platform takes the T_ interfaces; without `tls` it is plain HTTP."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None


def read_address(url: str, tls: ssl.SSLContext) -> HttpsAddress:
    """The address in a URL; the path is DEVICE_PATH where it has none. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is not https://HOST:PORT")
    is_https = parts.scheme == "https"
    port = parts.port or (443 if is_https else 80)
    return HttpsAddress(parts.hostname, port, parts.path.rstrip("/") or DEVICE_PATH, tls if is_https else None)


async def post(address: HttpsAddress, body: bytes) -> bytes:
    """The body of the answer. Raises NoAnswer."""
    return await asyncio.to_thread(_post, address, body)


def _post(address: HttpsAddress, body: bytes) -> bytes:
    if address.tls is None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=SECONDS)
    else:
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=SECONDS, context=address.tls)
    try:
        connection.request("POST", address.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"HTTPS: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise NoAnswer(f"HTTPS: status {answer.status}")
    return content
