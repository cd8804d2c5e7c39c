"""What Redis alone can do to the stores: lose, cut, stop, expire."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.domain.control import ControlEntry, CredentialRevoked, SessionReplaced
from shared.domain.sessions import ENDED_LIFE_MS, TOKEN_LIFE_MS
from shared.runtime.settings import RedisSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.redis.client import (
    CONTROL_STREAM_KEY,
    ENDED_CREDENTIALS_KEY,
    device_token_key,
    open_redis,
    session_key,
)
from shared.stores.redis.control_stream import CONTROL_STREAM_LENGTH, RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.sessions import RedisSessionStore
from stack.redis_part import RedisPart
from tests.support.session_values import make_new_session


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with open_redis(redis_settings) as client:
        yield client


def replaced(number: int) -> ControlEntry:
    """An entry that tells itself from others."""
    return SessionReplaced(str(number), "t")


async def begun(redis: Redis) -> RedisControlStream:
    """A reader that has begun."""
    reader = RedisControlStream(redis)
    assert await reader.read(1) is None
    return reader


# ── control stream (design rule 4) ────────────────────────────────────────────────────────────────────────────────


async def test_a_reader_begins_knowing_nothing_and_reads_what_comes_after(redis: Redis) -> None:
    writer = RedisControlStream(redis)
    await writer.publish(replaced(1))
    reader = await begun(redis)
    await writer.publish(replaced(2))
    assert await reader.read(100) == [replaced(2)]


async def test_readers_pass_over_the_anchors_of_others(redis: Redis) -> None:
    first = await begun(redis)
    await begun(redis)
    await first.publish(replaced(1))
    assert await first.read(100) == [replaced(1)]
    assert first.malformed == 0


async def test_a_trim_of_what_was_not_read_is_a_loss(redis: Redis) -> None:
    reader = await begun(redis)
    for number in range(3):
        await reader.publish(replaced(number))
    await redis.xtrim(CONTROL_STREAM_KEY, maxlen=2, approximate=False)
    assert await reader.read(100) is None
    await reader.publish(replaced(9))
    assert await reader.read(100) == [replaced(9)]


async def test_a_trim_of_what_was_read_is_no_loss(redis: Redis) -> None:
    reader = await begun(redis)
    for number in range(3):
        await reader.publish(replaced(number))
    await reader.read(100)
    await redis.xtrim(CONTROL_STREAM_KEY, maxlen=1, approximate=False)
    assert await reader.read(10) == []
    await reader.publish(replaced(9))
    assert await reader.read(100) == [replaced(9)]


async def test_a_flush_is_a_loss_though_nothing_was_written_since(redis: Redis) -> None:
    reader = await begun(redis)
    await redis.flushall()
    assert await reader.read(10) is None


async def test_a_flush_is_a_loss_though_entries_were_written_before_and_after(redis: Redis) -> None:
    reader = await begun(redis)
    await reader.publish(replaced(1))
    await redis.flushall()
    await reader.publish(replaced(2))
    assert await reader.read(100) is None
    assert await reader.read(10) == []


async def test_a_stream_that_vanished_while_a_reader_waited_is_a_loss(redis: Redis) -> None:
    reader = await begun(redis)
    waiting = asyncio.ensure_future(reader.read(200))
    await asyncio.sleep(0.05)
    await redis.delete(CONTROL_STREAM_KEY)
    assert await waiting is None


async def test_a_redis_that_came_back_empty_is_a_loss(redis: Redis, redis_part: RedisPart) -> None:
    reader = await begun(redis)
    redis_part.kill()
    with pytest.raises(Unavailable):
        await reader.read(10)
    redis_part.restart()
    assert await reader.read(10) is None


async def test_entries_that_cannot_be_read_are_counted_and_logged_once_and_the_next_is_read(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await begun(redis)
    await redis.xadd(CONTROL_STREAM_KEY, {"entry": b'{"type":"of-a-later-version"}'})
    await redis.xadd(CONTROL_STREAM_KEY, {"entry": b"\xff"})
    await redis.xadd(CONTROL_STREAM_KEY, {"other": b"{}"})
    await reader.publish(replaced(1))
    assert await reader.read(100) == [replaced(1)]
    assert reader.malformed == 3
    assert [record.levelname for record in caplog.records if "cannot be read" in record.message] == ["WARNING"]


async def test_more_than_is_read_at_once_comes_whole_and_in_order(redis: Redis) -> None:
    reader = await begun(redis)
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(2500):
            pipeline.xadd(CONTROL_STREAM_KEY, {"entry": f'{{"type":"session-replaced","sn":"{number}","token":"t"}}'})
        await pipeline.execute()
    read: list[ControlEntry] = []
    while entries := await reader.read(10):
        read += entries
    assert read == [replaced(number) for number in range(2500)]


async def test_the_stream_is_capped(redis: Redis) -> None:
    reader = await begun(redis)
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(CONTROL_STREAM_LENGTH + 3000):
            pipeline.xadd(CONTROL_STREAM_KEY, {"entry": b"{}"})
        await pipeline.execute()
    await reader.publish(replaced(1))
    assert CONTROL_STREAM_LENGTH <= await redis.xlen(CONTROL_STREAM_KEY) < CONTROL_STREAM_LENGTH + 1000
    assert await reader.read(10) is None


async def test_a_wait_longer_than_the_clients_deadline_ends_without_a_fault(redis: Redis) -> None:
    reader = await begun(redis)
    assert await reader.read(60_000) == []


# ── sessions and endings ──────────────────────────────────────────────────────────────────────────────────────────


async def test_t1_renewing_prolongs_the_token_to_its_full_life_and_not_its_predecessors(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t1"), make_new_session("t2")])
    keys = [session_key("t2"), device_token_key("1388186")]
    for key in keys:
        await redis.pexpire(key, 5_000)
    await sessions.renew([("t1", "1388186")])
    assert [await redis.pttl(key) <= 5_000 for key in keys] == [True, True]
    await sessions.renew([("t2", "1388186")])
    assert [TOKEN_LIFE_MS - 5_000 < await redis.pttl(key) <= TOKEN_LIFE_MS for key in keys] == [True, True]


async def test_a_session_expires_with_its_token(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t1")])
    assert TOKEN_LIFE_MS - 5_000 < await redis.pttl(session_key("t1")) <= TOKEN_LIFE_MS
    await redis.pexpire(session_key("t1"), 1)
    await asyncio.sleep(0.02)
    assert await sessions.find(["t1"]) == [None]


async def test_rule_7_every_key_that_a_caller_can_make_is_bounded_in_length_and_expires(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t" * 32, "s" * 64, sign="x" * 5000)])
    await sessions.count_failures(["y" * 5000], 60_000)
    keys = [key async for key in redis.scan_iter() if key != CONTROL_STREAM_KEY.encode()]
    assert len(keys) == 4
    assert max(map(len, keys)) < 100
    assert all([await redis.pttl(key) > 0 for key in keys])


async def test_endings_are_forgotten_only_after_every_session_they_cover_has_expired(redis: Redis) -> None:
    ended = RedisEndedStore(redis)
    await ended.end_credential("a1")
    at_ms = int(await redis.zscore(ENDED_CREDENTIALS_KEY, "a1") or 0)
    await redis.zadd(ENDED_CREDENTIALS_KEY, {"a1": at_ms - TOKEN_LIFE_MS - 60_000, "a2": at_ms - ENDED_LIFE_MS - 1})
    assert list((await ended.load()).credentials) == ["a1"]
    assert await redis.zcard(ENDED_CREDENTIALS_KEY) == 1


async def test_an_ended_credential_is_told_again_after_a_flush(redis: Redis) -> None:
    ended, reader = RedisEndedStore(redis), RedisControlStream(redis)
    await ended.end_credential("a1")
    await redis.flushall()
    assert await reader.read(1) is None
    await ended.end_credential("a1")
    (entry,) = await reader.read(100) or ()
    assert isinstance(entry, CredentialRevoked)


async def test_scripts_are_loaded_anew_after_redis_forgot_them(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t1")])
    await redis.script_flush()
    assert (await sessions.open_many([make_new_session("t2")]))[0] is not None


async def test_t1_a_change_of_the_device_neither_prolongs_nor_shortens_its_token(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t1")])
    await redis.pexpire(session_key("t1"), 60_000)
    await sessions.update_device("1388186", (), 60)
    (session,) = await sessions.find(["t1"])
    assert session is not None
    assert session.time_window_seconds == 60
    assert 55_000 < await redis.pttl(session_key("t1")) <= 60_000


async def test_t1_a_change_that_races_with_c_auths_and_other_changes_is_never_lost(redis: Redis) -> None:
    sessions = RedisSessionStore(redis)
    await sessions.open_many([make_new_session("t0")])
    authenticating = [sessions.open_many([make_new_session(f"t{number}")]) for number in range(1, 20)]
    await asyncio.gather(*authenticating, *(sessions.update_device("1388186", (), 60) for _ in range(10)))
    found = await sessions.find([f"t{number}" for number in range(20)])
    await sessions.update_device("1388186", (), 60)  # what session does once more when the last C_AUTH is over
    left = [session for session in await sessions.find([f"t{number}" for number in range(20)]) if session is not None]
    assert [session.token for session in left] == [session.token for session in found if session is not None]
    assert [session.time_window_seconds for session in left] == [60]


async def test_rule_12_a_redis_that_hangs_is_given_up_within_the_deadline(redis: Redis, redis_part: RedisPart) -> None:
    sessions, ended, control = RedisSessionStore(redis), RedisEndedStore(redis), await begun(redis)
    redis_part.suspend()
    try:
        began = time.monotonic()
        outcomes = await asyncio.gather(
            sessions.find(["t"]),
            sessions.open_many([make_new_session("t")]),
            sessions.renew([("t", "1")]),
            sessions.update_device("1", (), 60),
            sessions.count_failures(["s"], 1000),
            ended.load(),
            ended.end_credential("a"),
            ended.end_device("1", 1),
            control.publish(replaced(1)),
            control.read(100),
            return_exceptions=True,
        )
        assert time.monotonic() - began < 2.0
    finally:
        redis_part.resume()
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 10
    assert (await sessions.open_many([make_new_session("t9")]))[0] is not None
