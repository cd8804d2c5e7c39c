"""Accepts connections of load balancers, takes the PROXY header off, and hands the rest over, TLS or plain; and all TLS
connections, whose handshakes asyncio's own server neither counts nor bounds.

1. A trusted address sends a header first; without one, or not in time, its connection is closed. From any other address
   nothing is taken off: a header is then just a broken frame.
2. The header is peeked at and then read to its last byte, so that what follows reaches the terminal's own connection,
   or its TLS handshake, untouched.
3. Connections whose header or handshake has not come yet are bounded in time and number, handshakes by address too:
   they are no connections of the server yet, whose bounds come after this.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network

from shared.runtime.lifecycle import Lifecycle, cancel_and_wait
from shared.runtime.tasks import spawn
from tcp_ingress.connection import Connection
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.proxy_protocol import ProxyHeader, ProxyHeaderError, plain_address
from tcp_ingress.tls import TlsArguments

log = logging.getLogger(__name__)

HEADER_SECONDS = 5.0
MAX_ARRIVING = 2_000
MAX_HANDSHAKES_PER_ADDRESS = 200
"""Terminals behind one router that come back at once try again; nobody takes all places by saying nothing."""
PEEK_BYTES = 1024
ACCEPT_AGAIN_SECONDS = 1.0
"""Pause after the process has run out of descriptors."""


class ProxiedListener:
    """One listening socket, behind load balancers or for TLS."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        listening: socket.socket,
        trusted: Sequence[IPv4Network | IPv6Network],
        new_connection: Callable[[str], Connection],
        metrics: IngressMetrics,
        tls: TlsArguments,
    ) -> None:
        self._listening = listening
        self._trusted = trusted
        self._new_connection = new_connection
        self._metrics = metrics
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._handshakes: Counter[str] = Counter()
        self._accepting = lifecycle.spawn(self._accept_for_ever(), "accept")

    def close(self) -> None:
        """Accepts no more; what is arriving still arrives."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Returns when nothing is left of it; what is still arriving is closed."""
        await cancel_and_wait(self._accepting, *self._arriving)

    async def _accept_for_ever(self) -> None:
        with self._listening:
            while True:
                try:
                    connected, peer = await self._loop.sock_accept(self._listening)
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    log.warning("cannot accept connections: %s", error)
                    await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                else:
                    self._accepted(connected, str(peer[0]))

    def _accepted(self, connected: socket.socket, peer: str) -> None:
        if len(self._arriving) >= MAX_ARRIVING:
            self._metrics.refused["total"] += 1
            connected.close()
            return
        arriving = spawn(self._arrive(connected, peer), "arrive")
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)

    async def _arrive(self, connected: socket.socket, peer: str) -> None:
        address = peer
        try:
            if self._is_trusted(peer):
                async with asyncio.timeout(HEADER_SECONDS):
                    address = await _read_header(connected) or peer
        except (ProxyHeaderError, ConnectionError, TimeoutError) as error:
            self._metrics.refused["proxy_header"] += 1
            log.warning("no PROXY header from %s: %s", peer, str(error) or type(error).__name__)
            connected.close()
            return
        except asyncio.CancelledError:
            connected.close()
            raise
        if self._tls and self._handshakes[address] >= MAX_HANDSHAKES_PER_ADDRESS:
            self._metrics.refused["address"] += 1
            connected.close()
            return
        self._handshakes[address] += 1
        try:
            await self._loop.connect_accepted_socket(partial(self._new_connection, address), connected, **self._tls)
        except (OSError, TimeoutError) as error:  # the peer's affair, as in asyncio's own server
            log.debug("TLS handshake with %s failed: %s", address, type(error).__name__)
        finally:
            self._handshakes[address] -= 1
            if not self._handshakes[address]:
                del self._handshakes[address]

    def _is_trusted(self, peer: str) -> bool:
        address = plain_address(peer)
        return any(address in network for network in self._trusted)


async def _read_header(connected: socket.socket) -> str | None:
    header = ProxyHeader()
    while not header.complete:
        await _readable(connected)
        peeked = connected.recv(PEEK_BYTES, socket.MSG_PEEK)
        if not peeked:
            raise ConnectionResetError("closed before its end")
        connected.recv(header.feed(peeked))
    return header.address


async def _readable(connected: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(connected, readable.set_result, None)
    try:
        await readable
    finally:
        loop.remove_reader(connected)
