"""What terminals are told while something behind the ingress is away or hangs (design rules 3, 12; E6)."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.domain.events import SIGN_IN_TOPIC
from stack.kafka_part import KafkaPart
from stack.ports import free_port
from stack.redis_part import RedisPart
from tests.support.builders import make_auth, make_heartbeat, make_sign_in
from tests.support.ingress import Parts, running_ingress
from tests.support.terminal import Terminal
from tests.support.topics import read_topic


async def code_within(terminal: Terminal, message: bytes, seconds: float) -> str:
    """The error code, "" for success, of an answer that must come in time."""
    await terminal.send(message)
    return (await terminal.receive(seconds)).errorcode


async def until(wanted: str, ask: Callable[[], Awaitable[str]], within_seconds: float) -> None:
    """Asks again and again, until the code is the one wanted."""
    async with asyncio.timeout(within_seconds):
        while True:
            if await ask() == wanted:
                return
            await asyncio.sleep(0.1)


async def test_design_3_redis_hanging_serves_held_sessions_for_the_grace_and_is_500_01_for_the_others(
    parts: Parts, redis_part: RedisPart
) -> None:
    secret, sn, other = parts.vendor.access_secret, "sn-held", "sn-not-held"
    async with running_ingress(parts) as elsewhere, elsewhere.connect() as terminal:
        unheld = await terminal.authenticate(parts.vendor, other)
    async with running_ingress(parts, redis_grace_seconds=4) as ingress, ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        redis_part.suspend()
        try:
            loop = asyncio.get_running_loop()
            suspended = loop.time()
            assert await code_within(terminal, make_heartbeat(secret, other, unheld), 4) == "500_01"
            assert await code_within(terminal, make_heartbeat(secret, sn, token), 1) == ""
            assert await code_within(terminal, make_sign_in(secret, sn, token), 4) == ""
            assert await code_within(terminal, make_auth(parts.vendor, "sn-new"), 6) == "500_01"
            await asyncio.sleep(max(0.0, suspended + 6.5 - loop.time()))
            assert await code_within(terminal, make_heartbeat(secret, sn, token), 1) == "500_01"
            assert await code_within(terminal, make_sign_in(secret, sn, token), 1) == "500_01"
        finally:
            redis_part.resume()
        await until("", lambda: code_within(terminal, make_heartbeat(secret, sn, token), 1), 5)
        assert await code_within(terminal, make_heartbeat(secret, other, unheld), 2) == ""


async def test_design_4_a_redis_that_lost_everything_empties_the_cache(parts: Parts, redis_part: RedisPart) -> None:
    secret, sn = parts.vendor.access_secret, "sn-flushed"
    async with running_ingress(parts) as ingress, ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        assert await code_within(terminal, make_heartbeat(secret, sn, token), 1) == ""
        redis_part.kill()
        redis_part.restart()
        await until("401_01", lambda: code_within(terminal, make_heartbeat(secret, sn, token), 4), 10)
        await asyncio.sleep(1)
        token = await terminal.authenticate(parts.vendor, sn)
        assert await code_within(terminal, make_heartbeat(secret, sn, token), 1) == ""


async def test_design_12_a_session_service_that_is_away_is_500_01(parts: Parts) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    secret, sn = parts.vendor.access_secret, "sn-known"
    async with running_ingress(parts) as elsewhere, elsewhere.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
    async with running_ingress(parts, session_url=nobody) as ingress, ingress.connect() as terminal:
        assert await code_within(terminal, make_auth(parts.vendor, sn), 5) == "500_01"
        assert await code_within(terminal, make_heartbeat(secret, sn, token), 2) == ""


async def test_design_12_a_session_service_that_hangs_is_500_01_at_the_deadline_and_holds_nobody_else_up(
    parts: Parts,
) -> None:
    never = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    secret, sn = parts.vendor.access_secret, "sn-known"
    async with running_ingress(parts) as elsewhere, elsewhere.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
        async with running_ingress(parts, session_url=url, request_deadline_seconds=1.5) as ingress:  # noqa: SIM117 (in turn)
            async with ingress.connect() as waiting, ingress.connect() as other:
                await waiting.send(*(make_auth(parts.vendor, f"sn-{n}") for n in range(20)))
                for _ in range(10):
                    assert await code_within(other, make_heartbeat(secret, sn, token), 1) == ""
                async with asyncio.timeout(2.5):
                    assert [(await waiting.receive()).errorcode for _ in range(20)] == ["500_01"] * 20
    finally:
        never.set()
        hanging.close()


async def test_e6_kafka_hanging_is_500_01_for_sign_ins_in_time_while_heartbeats_go_on(
    parts: Parts, kafka_part: KafkaPart
) -> None:
    secret, sn = parts.vendor.access_secret, "sn-kafka"
    async with (
        running_ingress(parts, request_deadline_seconds=2) as ingress,
        ingress.connect() as terminal,
        ingress.connect() as other,
    ):
        token = await terminal.authenticate(parts.vendor, sn)
        assert await code_within(terminal, make_sign_in(secret, sn, token, person_id="before"), 4) == ""
        kafka_part.suspend()
        try:
            await terminal.send(*(make_sign_in(secret, sn, token, person_id=f"during-{n}") for n in range(30)))
            for _ in range(20):
                assert await code_within(other, make_heartbeat(secret, sn, token), 1) == ""
                await asyncio.sleep(0.02)
            async with asyncio.timeout(2.5):
                assert [(await terminal.receive()).errorcode for _ in range(30)] == ["500_01"] * 30
        finally:
            kafka_part.resume()
        await until("", lambda: code_within(terminal, make_sign_in(secret, sn, token, person_id="after"), 3), 5)
    values = [bytes(got.value or b"") for got in await read_topic(parts.kafka, SIGN_IN_TOPIC) if got.key == sn.encode()]
    assert any(b'"personId":"before"' in value for value in values)
    assert any(b'"personId":"after"' in value for value in values)


async def test_the_ingress_starts_while_redis_and_kafka_hang_and_serves_when_they_are_back(
    parts: Parts, redis_part: RedisPart, kafka_part: KafkaPart
) -> None:
    secret, sn = parts.vendor.access_secret, "sn-early"
    redis_part.suspend()
    kafka_part.suspend()
    try:
        async with running_ingress(parts) as ingress, ingress.connect() as terminal:
            assert await code_within(terminal, make_heartbeat(secret, sn, "0" * 32), 3) == "500_01"
            redis_part.resume()
            kafka_part.resume()
            await until("", lambda: code_within(terminal, make_auth(parts.vendor, sn), 6), 10)
            await asyncio.sleep(1)  # a second C_AUTH within one second would be a replay (E4)
            token = await terminal.authenticate(parts.vendor, sn)
            await until("", lambda: code_within(terminal, make_sign_in(secret, sn, token), 6), 15)
    finally:
        redis_part.resume()
        kafka_part.resume()
