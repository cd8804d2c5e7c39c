"""The listeners: plain and TLS, with and without a proxy before them; opening them comes last, leaving them first."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from shared.runtime.certificates import follow_certificate
from shared.runtime.lifecycle import Lifecycle, cancel_and_wait
from tcp_ingress.proxied_listener import ProxiedListener
from tcp_ingress.server import Server
from tcp_ingress.settings import IngressSettings
from tcp_ingress.tls import TlsArguments, tls_arguments

BACKLOG = 2048


class Listener(Protocol):
    """Accepts connections: asyncio's own server, or a ProxiedListener."""

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


@asynccontextmanager
async def open_listeners(lifecycle: Lifecycle, settings: IngressSettings, server: Server) -> AsyncIterator[None]:
    """Accepts connections while the context is open.

    Leaving it takes up to the grace time: connections are accepted until load balancers have noticed that the process
    is not ready any more, then all of them leave in order (design rule 13).
    """
    loop = asyncio.get_running_loop()
    listeners: list[Listener] = []
    background = [lifecycle.spawn(server.sweep_forever(), "sweep")]
    try:
        if settings.port:
            listeners.append(await _listen(lifecycle, settings, server, settings.port, {}))
        if settings.tls_port:
            tls = tls_arguments(settings)
            listeners.append(await _listen(lifecycle, settings, server, settings.tls_port, tls))
            following = follow_certificate(tls["ssl"], str(settings.tls_cert_file), settings.tls_key_file)
            background.append(lifecycle.spawn(following, "certificate"))
        yield
        deadline = loop.time() + settings.grace_seconds
        await asyncio.sleep(settings.notice_seconds)
        for listener in listeners:
            listener.close()
        await server.drain(deadline)
    finally:
        for listener in listeners:
            listener.close()
        await cancel_and_wait(*background)
        for listener in listeners:
            await listener.wait_closed()


async def _listen(
    lifecycle: Lifecycle, settings: IngressSettings, server: Server, port: int, tls: TlsArguments
) -> Listener:
    listening = _bind(settings.host, port)
    if settings.proxy_networks or tls:
        return ProxiedListener(
            lifecycle,
            listening,
            settings.proxy_networks,
            server.new_connection,
            server.metrics,
            tls,
        )
    return await asyncio.get_running_loop().create_server(
        server.new_connection,
        sock=listening,
        backlog=BACKLOG,
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Several processes share the port; the kernel spreads connections over them.
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True)
    listening.setblocking(False)
    return listening
