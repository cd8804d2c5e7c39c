"""Serves an ASGI application by uvicorn inside run_service. Signals, logs and clients are the service's own affair."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.runtime.certificates import follow_certificate
from shared.runtime.lifecycle import Lifecycle, cancel_and_wait

KEEP_ALIVE_SECONDS = 60
"""Longer than clients keep an idle connection (aiohttp 15 s), so that none sends into one that is being closed."""

HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 64 * 1024
"""How long a request's head may take, and how large it may grow (design rule 7): uvicorn bounds neither."""

MAX_CONNECTIONS = 5_000
"""Of a process; more are closed at once (design rule 7). Each may stand for KEEP_ALIVE_SECONDS with nothing to do."""

UNREAD_SECONDS = 30.0
"""How long a peer may leave what is buffered for it unread (64 KiB, and the kernel's own) before it is dropped: an
answer that streams waits for it, and would for ever."""


class _HttpProtocol(HttpToolsProtocol):
    """uvicorn's connection, bounded while no request is at work on it, and while its peer does not read."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._end_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_unread()

    def _end_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, telling when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured: lifecycle.run_service owns the signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def drop_what_is_left(self) -> None:
        """uvicorn cancels late requests without waiting for them and leaves their connections open."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


@asynccontextmanager
async def open_web(
    lifecycle: Lifecycle,
    app: ASGIApp,
    host: str,
    port: int,
    *,
    tls_cert_file: str | None = None,
    tls_key_file: str | None = None,
    notice_seconds: float = 0,
    shutdown_seconds: int = 10,
) -> AsyncIterator[int]:
    """Serves `app` while the context is open; yields the port (0 asks for a free one). Leaving (design rule 13) goes on
    accepting for `notice_seconds`, with answers that end their connections, then stops accepting, answers what was
    received within `shutdown_seconds`, and drops the rest. The application's lifespan is not run.

    Raises OSError where the address or the certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=_HttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # its warnings are about what strangers send
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_certfile=tls_cert_file,
        ssl_keyfile=tls_key_file,
        timeout_graceful_shutdown=shutdown_seconds,
    )
    try:
        config.load()
    except OSError as error:
        raise OSError(f"TLS certificate {tls_cert_file} with key {tls_key_file} cannot be used: {error}") from error
    listener = _bind(host, port)
    server = _Server(config)
    serving = lifecycle.spawn(server.serve([listener]), "web")
    following: list[asyncio.Task[None]] = []
    if config.ssl is not None and tls_cert_file is not None:
        following.append(lifecycle.spawn(follow_certificate(config.ssl, tls_cert_file, tls_key_file), "certificate"))
    listening = asyncio.ensure_future(server.listening.wait())
    try:
        await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        yield listener.getsockname()[1]
        config.encoded_headers.append((b"connection", b"close"))  # uvicorn takes it over within a second
        await asyncio.sleep(notice_seconds)
    finally:
        listening.cancel()
        await cancel_and_wait(*following)
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)  # a failure is the lifecycle's to report
        await server.drop_what_is_left()
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
