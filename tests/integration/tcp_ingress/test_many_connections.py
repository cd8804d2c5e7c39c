"""Connections by the thousand that say nothing, that say half a frame, or that all come from one address: they are
bounded, they cost little, they are closed in time, and terminals beside them are served."""

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from stack.certificates import load_certificates
from stack.ports import free_port
from tcp_ingress.proxied_listener import MAX_HANDSHAKES_PER_ADDRESS
from tests.support.builders import make_heartbeat
from tests.support.ingress import HOST, Ingress, Parts, ingress_process, ready
from tests.support.process_costs import open_files, resident_bytes
from tests.support.terminal import connect
from tests.support.waiting import eventually

SILENT = 3000
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 6)]
BYTES_EACH = 20 * 1024
"""What an open connection may cost the process; measured, it is about half."""


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The test and the process that it starts may have as many files open as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def beating(ingress: Ingress, parts: Parts) -> AsyncIterator[Callable[[], int]]:
    """A terminal that beats all the while; every beat must be answered, in turn. Yields how many were."""
    secret, sn, answered = parts.vendor.access_secret, "sn-beats", 0

    async def work() -> None:
        nonlocal answered
        async with ingress.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            while True:
                answer = await terminal.ask(make_heartbeat(secret, sn, token, version=f"v{answered}"))
                assert (answer.success, answer.version) == (True, f"v{answered}")
                answered += 1
                await asyncio.sleep(0.02)

    task = asyncio.ensure_future(work())
    try:
        yield lambda: answered
    finally:
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def open_silently(port: int, address: str) -> socket.socket:
    """A connection from this address on which nothing is said."""
    silent = socket.socket()
    silent.setblocking(False)
    silent.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(silent, (HOST, port))
    return silent


def is_closed(silent: socket.socket) -> bool:
    """Whether the platform has closed it."""
    try:
        return silent.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def open_many(port: int, count: int, address: Callable[[int], str]) -> list[socket.socket]:
    silent: list[socket.socket] = []
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        silent += await asyncio.gather(*(open_silently(port, address(number)) for number in numbers))
    return silent


async def test_design_7_three_thousand_silent_connections_cost_little_and_are_closed_in_time(parts: Parts) -> None:
    with ingress_process(
        parts, free_port(), TCP_INGRESS_UNAUTHENTICATED_SECONDS="30", TCP_INGRESS_HALF_FRAME_SECONDS="30"
    ) as ingress:
        await ready(ingress)
        assert ingress.process is not None
        pid = ingress.process.pid
        async with beating(ingress, parts) as answered:
            await eventually(lambda: answered() > 0)
            memory, files = resident_bytes(pid), open_files(pid)
            silent = await open_many(ingress.port, SILENT, lambda number: ADDRESSES[number % len(ADDRESSES)])
            for half in silent[::2]:
                half.send(b"\xff\xff\x7f half a frame")  # of 2 MiB, which are not set aside for it

            async def all_are_open() -> bool:
                return (await ingress.metrics())["tcp_ingress_connections"] >= SILENT + 1

            await eventually(all_are_open)
            before = answered()
            await eventually(lambda: answered() > before + 20)
            assert resident_bytes(pid) < memory + SILENT * BYTES_EACH
            await eventually(lambda: all(is_closed(one) for one in silent), 90)
            before = answered()
            await eventually(lambda: answered() > before + 5)
            await eventually(lambda: open_files(pid) <= files + 5)
        metrics = await ingress.metrics()
        closed = 'tcp_ingress_closed_connections_total{reason="%s"}'
        assert metrics[closed % "unauthenticated"] + metrics[closed % "half_frame"] == SILENT
        for one in silent:
            one.close()


async def test_design_7_connections_that_never_shake_hands_are_bounded_before_they_are_connections(
    parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """asyncio tells nobody of a connection whose TLS handshake has not come: the bounds must hold before that."""
    files = load_certificates(tmp_path_factory.mktemp("tls"))
    trusting = ssl.create_default_context(cafile=str(files.ca))
    port = free_port()
    with ingress_process(
        parts,
        free_port(),
        TCP_INGRESS_TLS_PORT=str(port),
        TCP_INGRESS_TLS_CERT_FILE=str(files.certificate),
        TCP_INGRESS_TLS_KEY_FILE=str(files.key),
    ) as ingress:
        await ready(ingress)
        assert ingress.process is not None
        before = open_files(ingress.process.pid)
        silent = await open_many(port, 1500, lambda _number: "127.0.0.9")
        await eventually(lambda: sum(is_closed(one) for one in silent) >= 1500 - MAX_HANDSHAKES_PER_ADDRESS, 30)
        assert open_files(ingress.process.pid) <= before + MAX_HANDSHAKES_PER_ADDRESS
        async with connect(HOST, port, tls=trusting) as terminal:
            await terminal.authenticate(parts.vendor, "sn-tls")
        await eventually(lambda: all(is_closed(one) for one in silent), 60)
        refused = (await ingress.metrics())['tcp_ingress_refused_connections_total{bound="address"}']
        assert refused >= 1500 - MAX_HANDSHAKES_PER_ADDRESS
        again = await open_silently(port, "127.0.0.9")
        await asyncio.sleep(0.2)
        assert not is_closed(again)
        again.close()
        for one in silent:
            one.close()


async def test_design_7_one_address_that_opens_all_gets_its_thousand_and_no_other_address_less(parts: Parts) -> None:
    with ingress_process(parts, free_port()) as ingress:
        await ready(ingress)
        greedy = await open_many(ingress.port, 1500, lambda _number: "127.0.0.9")
        await eventually(lambda: sum(is_closed(one) for one in greedy) == 500, 30)
        async with beating(ingress, parts) as answered:  # from 127.0.0.1
            await eventually(lambda: answered() > 10)
        metrics = await ingress.metrics()
        assert metrics['tcp_ingress_refused_connections_total{bound="address"}'] == 500
        for one in greedy:
            one.close()

        async def places_are_given_back() -> bool:
            return (await ingress.metrics())["tcp_ingress_connections"] == 0

        await eventually(places_are_given_back)
        again = await open_silently(ingress.port, "127.0.0.9")
        await asyncio.sleep(0.1)
        assert not is_closed(again)
        again.close()
