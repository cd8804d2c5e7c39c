"""Ingress as processes: several on one port, and an orderly end (design rules 13, 4)."""

import asyncio
import signal
import socket
import struct

import aiohttp

from stack.kafka_part import KafkaPart
from stack.ports import free_port
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.ingress import HOST, Ingress, Parts, ingress_process, ready
from tests.support.terminal import Terminal
from tests.support.topics import read_topic
from tests.support.waiting import eventually


async def ended(ingress: Ingress, within_seconds: float) -> int:
    """The exit code of a process."""
    assert ingress.process is not None
    async with asyncio.timeout(within_seconds):
        while True:
            code = ingress.process.poll()
            if code is not None:
                return code
            await asyncio.sleep(0.02)


async def test_design_13_sigterm_answers_everything_that_was_read_and_the_process_ends(parts: Parts) -> None:
    secret = parts.vendor.access_secret
    with ingress_process(parts, free_port(), TCP_INGRESS_COMMIT_GATHER_MS="300") as ingress:
        await ready(ingress)
        stopping = asyncio.Event()

        async def terminal(number: int) -> tuple[int, int]:
            """Sends a pipelined burst, and says how much of it was answered when the platform closed."""
            sn, answered = f"sn-term-{number}", 0
            async with ingress.connect() as terminal:
                token = await terminal.authenticate(parts.vendor, sn)
                await terminal.send(
                    *(make_sign_in(secret, sn, token, record_time=now_ms() - n) for n in range(20)),
                    make_heartbeat(secret, sn, token),
                )
                sent.release()
                await stopping.wait()
                try:
                    while True:
                        assert (await terminal.receive()).success
                        answered += 1
                except ConnectionError:
                    return 21, answered

        sent = asyncio.Semaphore(0)
        tasks = [asyncio.ensure_future(terminal(number)) for number in range(10)]
        for _ in tasks:
            await sent.acquire()
        await asyncio.sleep(0.1)  # read, and gathering for the batch
        ingress.signal(signal.SIGTERM)
        stopping.set()
        outcomes = await asyncio.gather(*tasks)
        assert outcomes == [(21, 21)] * 10
        assert await ended(ingress, within_seconds=10) == 0
    stored = {got.key for got in await read_topic(parts.kafka, "attendance.sign-in.v1")}
    assert {f"sn-term-{number}".encode() for number in range(10)} <= stored


async def test_a_stopping_process_refuses_new_connections_and_does_not_wait_for_idle_ones(parts: Parts) -> None:
    with ingress_process(parts, free_port()) as ingress:
        await ready(ingress)
        async with ingress.connect() as idle:
            await idle.authenticate(parts.vendor, "sn-idle")
            ingress.signal(signal.SIGTERM)
            assert await idle.closed_by_peer()
        assert await ended(ingress, within_seconds=5) == 0
        try:
            async with ingress.connect():
                raise AssertionError("a stopped process accepted a connection")
        except ConnectionRefusedError:
            pass


async def test_design_13_through_the_notice_it_is_not_ready_but_alive_and_serves_old_and_new_connections(
    parts: Parts,
) -> None:
    secret, sn = parts.vendor.access_secret, "sn-notice"
    with ingress_process(parts, free_port(), TCP_INGRESS_NOTICE_SECONDS="3") as ingress:
        await ready(ingress)
        async with ingress.connect() as old:
            token = await old.authenticate(parts.vendor, sn)
            ingress.signal(signal.SIGTERM)
            await eventually(lambda: admin_says(ingress, "readyz", 503), 1)
            assert await admin_says(ingress, "healthz", 200)
            async with ingress.connect() as new:
                assert (await new.ask(make_sign_in(secret, sn, token))).success
                assert (await old.ask(make_heartbeat(secret, sn, token))).success
                assert await new.closed_by_peer()
            assert await old.closed_by_peer()
        assert await ended(ingress, within_seconds=5) == 0


async def admin_says(ingress: Ingress, path: str, status: int) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{ingress.admin_port}/{path}") as answer:
        return answer.status == status


async def test_design_12_sigterm_while_kafka_hangs_answers_500_01_and_the_process_ends_in_time(
    parts: Parts, kafka_part: KafkaPart
) -> None:
    secret, sn = parts.vendor.access_secret, "sn-term-hang"
    with ingress_process(parts, free_port(), TCP_INGRESS_REQUEST_DEADLINE_SECONDS="2") as ingress:
        await ready(ingress)
        async with ingress.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            assert (await terminal.ask(make_sign_in(secret, sn, token))).success
            kafka_part.suspend()
            try:
                messages = [make_sign_in(secret, sn, token, record_time=now_ms() - n) for n in range(10)]
                await terminal.send(*messages, make_heartbeat(secret, sn, token))
                await asyncio.sleep(0.3)
                ingress.signal(signal.SIGTERM)
                assert [(await terminal.receive(3)).errorcode for _ in range(11)] == ["500_01"] * 10 + [""]
                assert await terminal.closed_by_peer()
                assert await ended(ingress, within_seconds=20) == 0
            finally:
                kafka_part.resume()


async def test_two_processes_share_a_port_and_know_of_each_others_sessions(parts: Parts) -> None:
    secret, sn, port = parts.vendor.access_secret, "sn-shared", free_port()
    with ingress_process(parts, port) as first, ingress_process(parts, port) as second:
        await ready(first)
        await ready(second)

        async def served_by(ingress: Ingress) -> int:
            return int((await ingress.metrics())["tcp_ingress_connections"])

        opened: list[Terminal] = []
        for _ in range(40):
            reader, writer = await asyncio.open_connection(HOST, port)
            opened.append(Terminal(reader, writer))
        await asyncio.sleep(0.2)
        shares = await served_by(first), await served_by(second)
        assert sum(shares) == 40
        assert min(shares) > 0
        old = await opened[0].authenticate(parts.vendor, sn)
        for terminal in opened:
            assert (await terminal.ask(make_heartbeat(secret, sn, old))).success
        await asyncio.sleep(1)
        new = await opened[1].authenticate(parts.vendor, sn)
        await asyncio.sleep(0.3)
        for terminal in opened:
            assert (await terminal.ask(make_heartbeat(secret, sn, old))).errorcode == "401_01"
            assert (await terminal.ask(make_heartbeat(secret, sn, new))).success
            await terminal.close()


async def test_a_killed_process_costs_the_other_nothing_and_what_it_acknowledged_is_in_kafka(parts: Parts) -> None:
    secret, sn, port = parts.vendor.access_secret, "sn-killed", free_port()
    with ingress_process(parts, port) as ingress:
        await ready(ingress)
        acknowledged: list[int] = []
        async with ingress.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            times = [now_ms() - n for n in range(200)]
            await terminal.send(*(make_sign_in(secret, sn, token, record_time=time) for time in times))
            try:
                for time in times:
                    assert (await terminal.receive()).success
                    acknowledged.append(time)
                    if len(acknowledged) == 50:
                        ingress.signal(signal.SIGKILL)
            except ConnectionError:
                pass
        assert len(acknowledged) >= 50
    values = [bytes(got.value or b"") for got in await read_topic(parts.kafka, "attendance.sign-in.v1")]
    for time in acknowledged:
        assert any(b'"recordTime":%d,' % time in value for value in values)


async def test_a_connection_reset_while_its_sign_in_is_under_way_harms_nobody(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-reset"
    async with ingress.connect() as steady:
        token = await steady.authenticate(parts.vendor, sn)
        for _ in range(20):
            async with ingress.connect() as broken:
                await broken.send(*(make_sign_in(secret, sn, token, record_time=now_ms() - n) for n in range(30)))
                broken.reset()
        with socket.socket() as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.connect((HOST, ingress.port))
        assert (await steady.ask(make_sign_in(secret, sn, token))).success
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.1)
    metrics = await ingress.metrics()
    assert metrics["tcp_ingress_connections"] == 0
    assert metrics["tcp_ingress_held_bytes"] == 0
    assert metrics["tcp_ingress_sign_ins_in_flight"] == 0
