"""The control stream trimmed, flushed, hung and lost under two ingress processes: each notices, empties what it holds,
and obeys a revocation that is made right afterwards within a second (design rules 3, 4, 5)."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from shared.stores.redis.client import CONTROL_STREAM_KEY, open_redis
from stack.redis_part import RedisPart
from tests.support.builders import Vendor, make_heartbeat
from tests.support.ingress import Ingress, Parts
from tests.support.revocations import seconds_until_refused
from tests.support.terminal import Terminal
from tests.support.two_ingresses import Two, refused, two_ingresses
from tests.support.waiting import eventually

LOSSES, MALFORMED = "tcp_ingress_control_losses_total", "tcp_ingress_control_malformed_total"
READS = "tcp_ingress_session_reads_total"
HANG_SECONDS = 3
"""Longer than a client waits for Redis: the reading was given up at least once."""
OF_BAD_ENTRIES = [
    {"entry": b"no json"},
    {"entry": b"\xff\xfe"},
    {"entry": b'{"type":"credential-revoked"}'},
    {"entry": b'{"type":"credential-revoked","access_id":5,"at_ms":"now"}'},
    {"entry": b'{"type":"of-a-later-version","sn":"1"}'},
    {"entry": b'["credential-revoked"]'},
    {"other": b"{}"},
]


@pytest.fixture
async def redis(two: Two) -> AsyncIterator[Redis]:
    async with open_redis(two.parts.redis) as redis:
        yield redis


async def of_each(two: Two, name: str) -> list[float]:
    """A metric at each of the processes."""
    return [(await ingress.metrics())[name] for ingress in two.ingresses]


async def each_noticed(two: Two, losses_before: list[float]) -> None:
    """Returns once each process has noticed one loss more."""

    async def noticed(ingress: Ingress, before: float) -> bool:
        return (await ingress.metrics())[LOSSES] == before + 1

    for ingress, before in zip(two.ingresses, losses_before, strict=True):
        await eventually(partial(noticed, ingress, before))


async def is_refused(terminal: Terminal, message: bytes) -> bool:
    """Whether it is answered 401_02 by now."""
    return refused(await terminal.ask(message), "401_02")


async def authenticated(two: Two, vendor: Vendor, sn: str) -> str:
    """The device's token, as soon as session reaches Redis again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await two.first.authenticate(vendor, sn)
            except AssertionError:
                await asyncio.sleep(0.1)


async def obeyed(two: Two, vendor_id: str, vendor: Vendor, sn: str, token: str) -> bool:
    """Whether a revocation that is made now is obeyed by both within a second."""
    async with asyncio.timeout(10):
        seconds = await seconds_until_refused(
            two.both, vendor.access_secret, sn, token, lambda: two.revoke(vendor_id, vendor)
        )
    return seconds < 1.0


async def test_design_4_a_trimmed_stream_empties_the_caches_and_a_revocation_right_afterwards_is_obeyed(
    two: Two, redis: Redis
) -> None:
    vendor_id, vendor = await two.new_vendor()
    token = await two.first.authenticate(vendor, "sn-trimmed")
    kept = await two.first.authenticate(two.parts.vendor, "sn-kept")
    beat = make_heartbeat(two.parts.vendor.access_secret, "sn-kept", kept)
    for terminal in two.both:
        assert (await terminal.ask(beat)).success
    losses, reads = await of_each(two, LOSSES), await of_each(two, READS)
    await redis.xtrim(CONTROL_STREAM_KEY, maxlen=0, approximate=False)
    assert await obeyed(two, vendor_id, vendor, "sn-trimmed", token)
    await each_noticed(two, losses)
    # What was held is read anew, and nobody has to authenticate for it.
    for terminal in two.both:
        assert (await terminal.ask(beat)).success
    assert all(after > before for after, before in zip(await of_each(two, READS), reads, strict=True))


@pytest.mark.parametrize("how", ["flushed", "killed"])
async def test_design_3_a_stream_that_is_gone_with_everything_empties_the_caches_and_a_revocation_is_obeyed(
    two: Two, redis: Redis, redis_part: RedisPart, how: str
) -> None:
    vendor_id, vendor = await two.new_vendor()
    kept = await two.first.authenticate(two.parts.vendor, "sn-forgotten")
    beat = make_heartbeat(two.parts.vendor.access_secret, "sn-forgotten", kept)
    for terminal in two.both:
        assert (await terminal.ask(beat)).success
    losses = await of_each(two, LOSSES)
    if how == "flushed":
        await redis.flushall()
    else:
        redis_part.kill()
        redis_part.restart()
    token = await authenticated(two, vendor, "sn-after")
    assert await obeyed(two, vendor_id, vendor, "sn-after", token)
    await each_noticed(two, losses)
    for terminal in two.both:
        assert refused(await terminal.ask(beat), "401_01")


async def test_design_12_after_a_hang_of_redis_a_revocation_right_afterwards_is_obeyed_and_nothing_is_emptied(
    two: Two, redis_part: RedisPart
) -> None:
    vendor_id, vendor = await two.new_vendor()
    token = await two.first.authenticate(vendor, "sn-hung")
    beat = make_heartbeat(vendor.access_secret, "sn-hung", token)
    for terminal in two.both:
        assert (await terminal.ask(beat)).success
    losses = await of_each(two, LOSSES)
    redis_part.suspend()
    try:
        for _ in range(HANG_SECONDS * 2):
            for terminal in two.both:
                assert (await terminal.ask(beat)).success
            await asyncio.sleep(0.5)
    finally:
        redis_part.resume()
    assert await obeyed(two, vendor_id, vendor, "sn-hung", token)
    assert await of_each(two, LOSSES) == losses  # its last entry still stands: nothing was missed


async def test_design_12_what_was_revoked_while_redis_hung_is_obeyed_within_seconds_of_its_end(
    two: Two, redis_part: RedisPart
) -> None:
    vendor_id, vendor = await two.new_vendor()
    token = await two.first.authenticate(vendor, "sn-revoked-meanwhile")
    beat = make_heartbeat(vendor.access_secret, "sn-revoked-meanwhile", token)
    for terminal in two.both:
        assert (await terminal.ask(beat)).success
    redis_part.suspend()
    try:
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await two.revoke(vendor_id, vendor)
    finally:
        redis_part.resume()
    for terminal in two.both:
        await eventually(partial(is_refused, terminal, beat), seconds=6)


async def test_design_4_malformed_entries_are_skipped_counted_and_logged_once_by_each_process(
    parts: Parts, tmp_path: Path
) -> None:
    with (tmp_path / "first.log").open("wb") as first_log, (tmp_path / "second.log").open("wb") as second_log:
        async with two_ingresses(parts, first_log, second_log) as two, open_redis(parts.redis) as redis:
            vendor_id, vendor = await two.new_vendor()
            token = await two.first.authenticate(vendor, "sn-malformed")
            losses = await of_each(two, LOSSES)
            assert await of_each(two, MALFORMED) == [0, 0]
            for fields in OF_BAD_ENTRIES:
                await redis.xadd(CONTROL_STREAM_KEY, fields)  # type: ignore[arg-type]  # redis-py's type is of str alone
            assert await obeyed(two, vendor_id, vendor, "sn-malformed", token)
            assert await of_each(two, LOSSES) == losses
            assert await of_each(two, MALFORMED) == [len(OF_BAD_ENTRIES)] * 2
    for log in ("first.log", "second.log"):
        lines = [json.loads(line) for line in (tmp_path / log).read_text().splitlines()]
        said = [line["level"] for line in lines if "cannot be read" in line["message"]]
        assert said == ["WARNING"]
