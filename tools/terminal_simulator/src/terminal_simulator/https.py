"""Requests over HTTPS: the only file that knows HTTP."""

import asyncio
import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from terminal_simulator.calls import Download, Downloaded

DEVICE_PATH = "/api/device"
SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
HAVE_A_BODY = (200, 206)
KEPT_SECONDS = 1.0
"""A connection unused for longer may be closed by the platform at any moment."""


class NoAnswer(Exception):
    """The platform did not answer, or not with status 200; the text says what happened instead."""


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


class HttpsClient:
    """One terminal's requests, one at a time, over one connection that is kept for a moment. Downloads trust whom the
    T_ interfaces trust."""

    def __init__(self, address: HttpsAddress) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None
        self._leads_to: tuple[str, int, bool] = ("", 0, False)
        self._used_at = 0.0
        self._lock = threading.Lock()  # a request that nobody waits for any more may still be under way
        self._is_closed = False

    async def post(self, body: bytes) -> bytes:
        """The body of a T_ interface's answer. Raises NoAnswer."""
        address, headers = self._address, {"Content-Type": "application/json"}
        status, content, _ = await asyncio.to_thread(
            self._request, address, "POST", address.path, body, headers, MAX_ANSWER_BYTES
        )
        if status != http.HTTPStatus.OK:
            raise NoAnswer(f"HTTPS: status {status}")
        return content

    async def get(self, download: Download) -> Downloaded:
        """What a link leads to; its body is cut at the bytes that were wanted. Raises NoAnswer."""
        try:
            parts = urlsplit(download.url)
            address = read_address(download.url, self._address.tls or ssl.create_default_context())
        except ValueError:
            return Downloaded(status=0)  # no link: asking again would not help
        headers = {}
        if download.etag:
            headers["If-None-Match"] = download.etag
        if download.is_range:
            headers["Range"] = f"bytes={download.start}-{download.end - 1}"
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        most = download.end - download.start
        status, content, etag = await asyncio.to_thread(self._request, address, "GET", target, None, headers, most)
        return Downloaded(status, content, etag)

    def close(self) -> None:
        """Ends the connection; where a request is under way, after it."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            self._hang_up()
            self._lock.release()

    def _request(
        self, address: HttpsAddress, method: str, target: str, body: bytes | None, headers: Mapping[str, str], most: int
    ) -> tuple[int, bytes, str]:
        with self._lock:
            try:
                connection = self._connected(address)
                connection.request(method, target, body, dict(headers))
                answer = connection.getresponse()
                content = answer.read(most)
                length = answer.headers.get("Content-Length", "0")
                if answer.status in HAVE_A_BODY and len(content) < min(int(length), most):
                    raise http.client.IncompleteRead(b"")
                is_whole = answer.read(1) == b"" and not answer.will_close
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._hang_up()
                # Of the others the text may hold the link, which is a secret while it leads somewhere.
                what = f": {error}" if isinstance(error, OSError) else ""
                raise NoAnswer(f"HTTPS: {type(error).__name__}{what}") from error
            self._used_at = time.monotonic()
            if self._is_closed or not is_whole:
                self._hang_up()
        return answer.status, content, answer.headers.get("ETag", "")

    def _connected(self, address: HttpsAddress) -> http.client.HTTPConnection:
        leads_to = (address.host, address.port, address.tls is not None)
        is_old = time.monotonic() - self._used_at > KEPT_SECONDS
        if self._connection is not None and (is_old or leads_to != self._leads_to):
            self._hang_up()
        if self._connection is None:
            self._leads_to = leads_to
            if address.tls is None:
                self._connection = http.client.HTTPConnection(address.host, address.port, timeout=SECONDS)
            else:
                self._connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=SECONDS, context=address.tls
                )
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
