"""Locks that expire: one process of several does a piece of background work.

A holder that hangs past its lock's life may still be at work when another begins, so the work must bear being done
twice: the lock spares effort, it protects nothing.
"""

import secrets

from redis.asyncio import Redis

from shared.stores.redis.client import lock_key, named_script, redis_faults

# KEYS: the lock. ARGV: holder, life in milliseconds.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisLock:
    """Lock in Redis; one object is one holder."""

    def __init__(self, redis: Redis, name: str, life_ms: int) -> None:
        self._hold = named_script(redis, "hold_lock", _HOLD)
        self._release = named_script(redis, "release_lock", _RELEASE)
        self._key = lock_key(name)
        self._life_ms = life_ms
        self._holder = secrets.token_hex(8)

    async def hold(self) -> bool:
        with redis_faults():
            return bool(await self._hold([self._key], [self._holder, self._life_ms]))

    async def release(self) -> None:
        with redis_faults():
            await self._release([self._key], [self._holder])
