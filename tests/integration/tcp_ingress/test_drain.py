"""How connections leave: in their turn in a drain, or at their age (design rules 7, 13)."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from stack.certificates import Certificates, load_certificates
from stack.ports import free_port
from tests.support.listening import HOST, NEVER, Listening, listening, message
from tests.support.terminal import Terminal, connect

BEAT, SIGN_IN = message("C_HEARTBEAT"), message("C_SIGN_IN")


@asynccontextmanager
async def terminals(running: Listening, count: int) -> AsyncIterator[list[Terminal]]:
    """Connected one after the other, each with a heartbeat behind it."""
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(connect(HOST, running.port)) for _ in range(count)]
        for terminal in connected:
            assert (await terminal.ask(BEAT)).success
        yield connected


def tls_settings(files: Certificates) -> dict[str, object]:
    """Of an ingress that serves TLS alone."""
    return {
        "port": 0,
        "tls_port": free_port(),
        "tls_cert_file": str(files.certificate),
        "tls_key_file": str(files.key),
    }


async def is_accepting(running: Listening) -> bool:
    try:
        async with connect(HOST, running.port) as terminal:
            return (await terminal.ask(BEAT)).success
    except ConnectionError:
        return False


async def closing_times(connected: list[Terminal]) -> list[float]:
    """How long after now each was closed."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def closing_time(terminal: Terminal) -> float:
        assert await terminal.closed_by_peer(20)
        closed = loop.time() - began
        await terminal.close()
        return closed

    return await asyncio.gather(*map(closing_time, connected))


async def test_design_13_it_accepts_and_serves_through_the_notice_and_refuses_afterwards() -> None:
    async with listening(notice_seconds=1, grace_seconds=10) as running, terminals(running, 3) as connected:
        running.leaves.set()
        await asyncio.sleep(0.7)
        assert await is_accepting(running)
        for terminal in connected:
            assert (await terminal.ask(BEAT)).success
        assert min(await closing_times(connected)) > 0.2
        assert not await is_accepting(running)


async def test_design_13_connections_leave_oldest_first_at_the_rate_and_the_others_are_served_meanwhile() -> None:
    async with listening(drain_connections_per_second=10) as running, terminals(running, 10) as connected:
        running.leaves.set()
        served = 0

        async def be_served() -> None:
            nonlocal served
            for _ in range(12):
                await asyncio.sleep(0.05)
                assert (await connected[-1].ask(BEAT)).success
                served += 1

        times, _ = await asyncio.gather(closing_times(connected[:-1]), be_served())
        assert served == 12
        assert times == sorted(times)
        for number, time in enumerate(times):
            assert number * 0.1 - 0.03 < time < number * 0.1 + 0.5
        assert await connected[-1].closed_by_peer()


async def test_design_13_the_rate_rises_where_the_grace_would_not_do() -> None:
    changes = {"drain_connections_per_second": 1, "request_deadline_seconds": 0.5, "grace_seconds": 3.5}
    async with listening(**changes) as running, terminals(running, 40) as connected:
        running.leaves.set()
        times = await closing_times(connected)
        assert 0.7 < max(times) < 2  # grace less the deadline of the last and the rest of a frame: 1 s
        assert times == sorted(times)


async def test_design_13_what_was_read_is_answered_before_its_connection_closes() -> None:
    async with listening() as running, terminals(running, 5) as connected:
        running.handlers.seconds = 0.4
        for terminal in connected:
            await terminal.send(SIGN_IN, SIGN_IN, BEAT)
        await asyncio.sleep(0.1)
        running.leaves.set()
        for terminal in connected:
            assert [(await terminal.receive()).apicode for _ in range(3)] == ["C_SIGN_IN", "C_SIGN_IN", "C_HEARTBEAT"]
            assert await terminal.closed_by_peer()


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
async def test_design_13_answers_reach_a_terminal_that_goes_on_sending_into_the_close(
    tmp_path: Path, with_tls: bool
) -> None:
    files = load_certificates(tmp_path)
    trust = ssl.create_default_context(cafile=files.ca) if with_tls else None
    async with (
        listening(**(tls_settings(files) if with_tls else {})) as running,
        connect(HOST, running.port, tls=trust) as terminal,
    ):
        running.handlers.seconds = 0.4
        await terminal.send(SIGN_IN, SIGN_IN, BEAT)
        await asyncio.sleep(0.1)
        running.leaves.set()

        async def go_on_sending() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await terminal.send(BEAT)
                    await asyncio.sleep(0.005)

        sending = asyncio.ensure_future(go_on_sending())
        answers = []
        with contextlib.suppress(ConnectionError):
            while True:
                answers.append((await terminal.receive()).apicode)
                await asyncio.sleep(0.05)
        sending.cancel()
        await asyncio.wait([sending])
        assert answers[:3] == ["C_SIGN_IN", "C_SIGN_IN", "C_HEARTBEAT"]


async def test_design_13_what_is_unanswered_at_the_end_of_the_grace_is_cut_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tcp_ingress.server")
    async with (
        listening(request_deadline_seconds=0.3, grace_seconds=1.5) as running,
        terminals(running, 3) as connected,
    ):
        await connected[1].send(message("C_SIGN_IN", NEVER), BEAT)
        await asyncio.sleep(0.1)
        running.leaves.set()
        times = await closing_times(connected)
        assert max(times[0], times[2]) < 1
        assert 1.4 < times[1] < 2.5
        async with asyncio.timeout(1):
            await running.left.wait()
        assert len(running.server) == 0
    assert "3 connections left" in caplog.text
    assert "2 answers were cut" in caplog.text


async def test_design_13_a_drain_without_anything_to_cut_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tcp_ingress.server")
    async with listening() as running, terminals(running, 2) as connected:
        running.leaves.set()
        await closing_times(connected)
    assert "2 connections left" in caplog.text
    assert "0 answers were cut" in caplog.text


async def test_design_13_a_terminal_that_keeps_its_connection_is_left_after_a_moment() -> None:
    async with listening(grace_seconds=10) as running, terminals(running, 1):
        running.leaves.set()
        async with asyncio.timeout(4):
            await running.left.wait()


async def test_design_13_a_terminal_on_tls_that_keeps_its_connection_is_left_after_a_moment(tmp_path: Path) -> None:
    files = load_certificates(tmp_path)
    trust = ssl.create_default_context(cafile=files.ca)
    async with listening(grace_seconds=20, **tls_settings(files)) as running:

        def connect_and_stay() -> ssl.SSLSocket:
            return trust.wrap_socket(socket.create_connection((HOST, running.port)), server_hostname="localhost")

        with await asyncio.to_thread(connect_and_stay):
            assert len(running.server) == 1
            running.leaves.set()
            async with asyncio.timeout(5):
                await running.left.wait()


async def test_design_7_a_connection_leaves_at_its_age_and_another_is_accepted() -> None:
    async with listening(max_age_hours=2 / 3600) as running:
        async with terminals(running, 20) as connected:
            times = await closing_times(connected)
        assert min(times) > 1  # 1.5 s, less what connecting took
        assert max(times) < 4  # 2.5 s, and up to a second until it is looked at
        assert running.metrics.closed["age"] == 20
        assert await is_accepting(running)
