"""Presence in Redis: who holds a device, fenced by epochs (T2, design rule 6)."""

import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from shared.domain.presence import Presence
from shared.domain.sessions import TOKEN_LIFE_MS
from shared.runtime.settings import RedisSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import Touch
from shared.stores.redis.client import PRESENCE_EPOCHS_KEY, PRESENCE_SEEN_KEY, device_token_key, open_redis, session_key
from shared.stores.redis.presence import RedisPresenceStore
from stack.redis_part import RedisPart

SN = "1388186"


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with open_redis(redis_settings) as client:
        yield client


@pytest.fixture
def first(redis: Redis) -> RedisPresenceStore:
    return RedisPresenceStore(redis)


@pytest.fixture
def second(redis: Redis) -> RedisPresenceStore:
    return RedisPresenceStore(redis)


def touch(**changes: object) -> Touch:
    """A request of a device that nobody holds, accepted a moment ago."""
    values = {"sn": SN, "vendor_id": "v1", "token": "t1", "age_ms": 0, "address": "192.0.2.1", **changes}
    return Touch(**values)  # type: ignore[arg-type]  # the test's own changes


async def held(store: RedisPresenceStore, **changes: object) -> int:
    (epoch,) = await store.touch_many([touch(**changes)])
    return epoch


async def is_online(redis: Redis, sn: str = SN) -> bool:
    return await redis.zscore(PRESENCE_SEEN_KEY, sn) is not None


async def test_design_6_a_takeover_gets_an_epoch_of_rediss_time_in_microseconds(
    redis: Redis, first: RedisPresenceStore
) -> None:
    seconds, micros = await redis.time()
    epoch = await held(first)
    assert 0 <= epoch - (seconds * 1_000_000 + micros) < 2_000_000
    assert await held(first, epoch=epoch, takes_over=False) == epoch


async def test_design_6_an_epoch_rises_above_the_stored_one_though_rediss_clock_is_behind(
    redis: Redis, first: RedisPresenceStore
) -> None:
    ahead = int(time.time() * 1_000_000) + 3_600_000_000
    async with redis.pipeline() as pipeline:
        await pipeline.hset(PRESENCE_EPOCHS_KEY, SN, str(ahead)).execute()  # type: ignore[union-attr]  # a pipeline's own return
    assert await held(first) == ahead + 1


async def test_design_6_after_a_flush_the_next_epoch_is_above_the_one_that_the_process_knows(
    redis: Redis, first: RedisPresenceStore
) -> None:
    epoch = await held(first)
    await redis.flushall()
    assert await held(first, epoch=epoch, takes_over=False) > epoch
    await redis.flushall()
    ahead = epoch + 3_600_000_000
    assert await held(first, epoch=ahead, takes_over=False) == ahead + 1


async def test_hono_2244_a_late_disconnect_never_supersedes_a_new_connection(
    redis: Redis, first: RedisPresenceStore, second: RedisPresenceStore
) -> None:
    old = await held(first, age_ms=500)
    new = await held(second)
    assert new > old
    assert await first.leave_many([(SN, old)]) == [False]
    assert await is_online(redis)
    assert await second.leave_many([(SN, new)]) == [True]
    assert not await is_online(redis)


async def test_a_process_whose_call_comes_late_takes_nothing_from_the_newer_connection(
    first: RedisPresenceStore, second: RedisPresenceStore
) -> None:
    new = await held(second)
    assert await held(first, age_ms=900) == 0
    assert await held(second, epoch=new, takes_over=False) == new


async def test_the_connection_with_the_newer_request_takes_the_device_over_though_it_held_it_before(
    first: RedisPresenceStore, second: RedisPresenceStore
) -> None:
    old = await held(first, age_ms=900)
    new = await held(second, age_ms=500)
    back = await held(first, epoch=old, takes_over=False)
    assert old < new < back


async def test_a_call_whose_answer_was_lost_repeats_itself(first: RedisPresenceStore, redis: Redis) -> None:
    lost = await held(first)
    assert await held(first, age_ms=20) > lost
    assert await is_online(redis)


async def test_a_leave_whose_answer_was_lost_repeats_itself(first: RedisPresenceStore) -> None:
    epoch = await held(first)
    assert await first.leave_many([(SN, epoch)]) == [True]
    assert await first.leave_many([(SN, epoch)]) == [True]


async def test_a_device_that_leaves_after_a_flush_has_left(
    redis: Redis, first: RedisPresenceStore, second: RedisPresenceStore
) -> None:
    epoch = await held(first)
    await redis.flushall()
    assert await first.leave_many([(SN, epoch)]) == [True]
    await held(second)
    assert await first.leave_many([(SN, epoch)]) == [False]


async def test_a_device_that_was_taken_off_line_meanwhile_comes_on_line_with_a_new_epoch(
    redis: Redis, first: RedisPresenceStore
) -> None:
    epoch = await held(first, age_ms=5_000)
    assert [one.epoch for one in await first.take_silent(1_000, 10)] == [epoch]
    assert not await is_online(redis)
    assert await held(first, epoch=epoch, takes_over=False) > epoch


async def test_the_sweep_takes_those_that_were_silent_for_so_long_and_no_others(first: RedisPresenceStore) -> None:
    silent = [touch(sn=f"silent-{number}", age_ms=70_100 + number) for number in range(3)]
    epochs = await first.touch_many([*silent, touch(sn="alive", age_ms=69_000)])
    found = [*await first.take_silent(70_000, 2), *await first.take_silent(70_000, 2)]
    assert [one.sn for one in found] == ["silent-2", "silent-1", "silent-0"]
    assert await first.take_silent(70_000, 2) == []
    assert list(await first.last_seen(["alive", "silent-0", "unknown"])) == ["alive"]
    seen_ms = time.time_ns() // 1_000_000 - 70_102
    expected = Presence(
        sn="silent-2", vendor_id="v1", online=False, epoch=epochs[2], last_seen_ms=0, address="192.0.2.1"
    )
    assert abs(found[0].last_seen_ms - seen_ms) < 2_000
    assert msgspec.structs.replace(found[0], last_seen_ms=0) == expected


async def test_last_seen_is_of_the_newest_request_in_whichever_order_the_calls_come(first: RedisPresenceStore) -> None:
    epoch = await held(first, age_ms=100)
    before = (await first.last_seen([SN]))[SN]
    await held(first, epoch=epoch, takes_over=False, age_ms=50_000)
    assert (await first.last_seen([SN]))[SN] == before
    await held(first, epoch=epoch, takes_over=False)
    assert (await first.last_seen([SN]))[SN] > before


async def test_t1_the_same_call_prolongs_the_token_and_not_that_of_a_later_session(
    redis: Redis, first: RedisPresenceStore
) -> None:
    for key in (session_key("t1"), session_key("t2")):
        await redis.set(key, b"x", px=10_000)
    await redis.set(device_token_key(SN), "t2", px=10_000)
    await held(first, token="t1")
    assert await redis.pttl(session_key("t1")) > TOKEN_LIFE_MS - 5_000
    assert await redis.pttl(device_token_key(SN)) <= 10_000
    await held(first, token="t2", carried=False)
    assert await redis.pttl(session_key("t2")) > TOKEN_LIFE_MS - 5_000
    assert await redis.pttl(device_token_key(SN)) > TOKEN_LIFE_MS - 5_000


async def test_t2_a_request_whose_connection_is_gone_brings_nobody_on_line(
    redis: Redis, first: RedisPresenceStore
) -> None:
    assert await held(first, carried=False) == 0
    assert not await is_online(redis)


async def test_many_devices_are_one_call(redis: Redis, first: RedisPresenceStore) -> None:
    await held(first)  # the script is known to Redis from now on
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    epochs = await first.touch_many([touch(sn=f"sn-{number}", token=f"t{number}") for number in range(500)])
    assert len(epochs) == 500
    assert min(epochs) > 0
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


async def test_c1_a_device_is_held_elsewhere_where_another_process_holds_it_or_held_it_last(
    redis: Redis, first: RedisPresenceStore, second: RedisPresenceStore
) -> None:
    assert list(await first.held_elsewhere([])) == []
    assert list(await first.held_elsewhere([SN])) == [False]
    epoch = await held(first)
    assert [list(await store.held_elsewhere([SN, "sn-2"])) for store in (first, second)] == [
        [False, False],
        [True, False],
    ]
    await first.leave_many([(SN, epoch)])
    assert list(await second.held_elsewhere([SN])) == [True]
    assert await held(second)
    assert [list(await store.held_elsewhere([SN])) for store in (first, second)] == [[True], [False]]
    await redis.flushall()
    assert [list(await store.held_elsewhere([SN])) for store in (first, second)] == [[False], [False]]


async def test_presence_is_whole_once_redis_was_not_flushed_for_so_long(
    redis: Redis, first: RedisPresenceStore
) -> None:
    assert not await first.is_whole(10_000)
    assert await first.is_whole(0)
    await redis.flushall()
    assert not await first.is_whole(1)


async def test_redis_out_of_reach_is_unavailable(redis_part: RedisPart, first: RedisPresenceStore) -> None:
    await held(first)
    redis_part.kill()
    try:
        for call in (first.touch_many([touch()]), first.leave_many([(SN, 1)]), first.take_silent(1, 1)):
            with pytest.raises(Unavailable):
                await call
        with pytest.raises(Unavailable):
            await first.last_seen([SN])
        with pytest.raises(Unavailable):
            await first.held_elsewhere([SN])
    finally:
        redis_part.restart()
