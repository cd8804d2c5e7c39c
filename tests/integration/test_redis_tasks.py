"""What Redis alone can do to the pending index and to locks: lose, expire, be away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.domain.control import PushCommand, TasksChanged
from shared.runtime.settings import RedisSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.redis.client import lock_key, open_redis, pending_tasks_key
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.lock import RedisLock
from shared.stores.redis.pending_tasks import RedisPendingTasks
from stack.redis_part import RedisPart

A, B = "6541951958563696640", "6541951958563696641"


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with open_redis(redis_settings) as client:
        yield client


# ── pending index ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ids_that_a_double_cannot_tell_apart_are_kept_in_their_order(redis: Redis) -> None:
    assert float(A) == float(B)
    pending = RedisPendingTasks(redis)
    await pending.add_many({"1": [B, A]})
    assert await pending.oldest(["1"], 50) == [[A, B]]
    assert await pending.oldest(["1"], 1) == [[A]]


async def test_a_device_without_tasks_leaves_nothing_in_redis(redis: Redis) -> None:
    pending = RedisPendingTasks(redis)
    await pending.add_many({"1": [A]})
    await pending.remove_many({"1": [A]})
    assert await redis.exists(pending_tasks_key("1")) == 0


async def test_design_3_a_flush_takes_the_mark_and_ends_a_rebuilding_under_way(redis: Redis) -> None:
    pending = RedisPendingTasks(redis)
    assert await pending.end_rebuild(await pending.begin_rebuild())
    assert await pending.is_whole()
    mark = await pending.begin_rebuild()
    await redis.flushall()
    assert not await pending.is_whole()
    assert not await pending.end_rebuild(mark)
    assert not await pending.is_whole()


async def test_design_4_a_reader_of_the_control_stream_learns_of_tasks_and_pushes(redis: Redis) -> None:
    reader = RedisControlStream(redis)
    assert await reader.read(1) is None
    await RedisPendingTasks(redis).add_many({"1": [A]})
    push = PushCommand("1", A, "T_SEND_PERSON")
    await RedisControlStream(redis).publish(push)
    assert await reader.read(100) == [TasksChanged("1"), push]
    assert reader.malformed == 0


async def test_a_thousand_devices_are_added_in_one_call(redis: Redis) -> None:
    pending = RedisPendingTasks(redis)
    many = {f"sn-{number}": [A, B] for number in range(1000)}
    assert await pending.add_many(many) == 2000
    assert await pending.oldest(list(many), 50) == [[A, B]] * 1000


async def test_design_12_redis_that_hangs_is_unavailable(redis_settings: RedisSettings, redis_part: RedisPart) -> None:
    quick = redis_settings.model_copy(update={"timeout_ms": 200})
    async with open_redis(quick) as client:
        pending, lock = RedisPendingTasks(client), RedisLock(client, "work", 1000)
        redis_part.suspend()
        try:
            for call in (
                pending.add_many({"1": [A]}),
                pending.remove_many({"1": [A]}),
                pending.oldest(["1"], 1),
                pending.is_whole(),
                pending.begin_rebuild(),
                pending.end_rebuild("x"),
                lock.hold(),
                lock.release(),
            ):
                with pytest.raises(Unavailable):
                    await call
        finally:
            redis_part.resume()


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_of_two_holds_a_lock_until_it_releases_it(redis: Redis) -> None:
    first, second = RedisLock(redis, "work", 10_000), RedisLock(redis, "work", 10_000)
    assert await first.hold()
    assert not await second.hold()
    assert await first.hold()
    await second.release()  # it is not the holder
    assert not await second.hold()
    await first.release()
    assert await second.hold()
    assert not await first.hold()


async def test_locks_of_other_names_are_others(redis: Redis) -> None:
    assert await RedisLock(redis, "a", 10_000).hold()
    assert await RedisLock(redis, "b", 10_000).hold()


async def test_a_lock_expires_and_holding_prolongs_it(redis: Redis) -> None:
    first, second = RedisLock(redis, "work", 200), RedisLock(redis, "work", 200)
    assert await first.hold()
    await redis.pexpire(lock_key("work"), 50)
    assert await first.hold()
    assert await redis.pttl(lock_key("work")) > 100
    await redis.pexpire(lock_key("work"), 1)
    await asyncio.sleep(0.01)
    assert await second.hold()
    assert not await first.hold()
