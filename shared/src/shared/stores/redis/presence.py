"""Which devices are online, who holds each, and when it was last seen (design rule 6).

1. Online is who stands in the sorted set. Times are Redis's own, in milliseconds.
2. Epochs are kept past that, so that they rise though Redis's clock were set back; after a flush they rise by the
   clock, which is why they are microseconds.
3. Of two connections the one with the newer request holds the device: a process whose call comes late takes nothing
   from another. A call that was made and whose answer was lost is known by its holder and repeats itself.
4. The tokens are prolonged in the same call, as stores/redis/sessions.py does.
"""

import secrets
from collections.abc import Sequence

import msgspec
from redis.asyncio import Redis

from shared.domain.presence import Presence
from shared.domain.sessions import TOKEN_LIFE_MS
from shared.stores.interfaces import Touch
from shared.stores.redis.client import (
    PRESENCE_EPOCHS_KEY,
    PRESENCE_HOLDERS_KEY,
    PRESENCE_SEEN_KEY,
    PRESENCE_SINCE_KEY,
    device_token_key,
    named_script,
    redis_faults,
    session_key,
)

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: epochs, holders, seen; then session and token of each device by turns. ARGV: life of a token; then for each
# token, sn, carried, takes over, epoch, age, holder.
_TOUCH_MANY = (
    _NOW
    + """
local micros = time[1] * 1000000 + time[2]
local epochs = {}
for i = 1, (#KEYS - 3) / 2 do
  local session, of_device = KEYS[2 * i + 2], KEYS[2 * i + 3]
  local token, sn, carried, takes_over, epoch, age, holder = unpack(ARGV, 7 * i - 5, 7 * i + 1)
  redis.call('PEXPIRE', session, ARGV[1])
  if redis.call('GET', of_device) == token then
    redis.call('PEXPIRE', of_device, ARGV[1])
  end
  epochs[i] = '0'
  if carried == '1' then
    local known, stored = tonumber(epoch), tonumber(redis.call('HGET', KEYS[1], sn) or 0)
    local seen, last = now - age, tonumber(redis.call('ZSCORE', KEYS[3], sn) or nil)
    if last and stored == known and takes_over == '0' then
      epochs[i] = epoch
      seen = math.max(seen, last)
    elseif not last or stored == known or last < seen or redis.call('HGET', KEYS[2], sn) == holder then
      epochs[i] = string.format('%.0f', math.max(math.max(stored, known) + 1, micros))
      redis.call('HSET', KEYS[1], sn, epochs[i])
      redis.call('HSET', KEYS[2], sn, holder)
      seen = math.max(seen, last or seen)
    end
    if epochs[i] ~= '0' then
      redis.call('ZADD', KEYS[3], string.format('%.0f', seen), sn)
    end
  end
end
return epochs
"""
)

# KEYS: epochs, seen. ARGV: sn and epoch by turns. After a flush nobody else has taken the device over.
_LEAVE_MANY = """
local left = {}
for i = 1, #ARGV, 2 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or ARGV[i + 1]) == ARGV[i + 1] then
    redis.call('ZREM', KEYS[2], ARGV[i])
    left[#left + 1] = 1
  else
    left[#left + 1] = 0
  end
end
return left
"""

# KEYS: epochs, holders, seen. ARGV: how long they were silent, how many.
_TAKE_SILENT = (
    _NOW
    + """
local oldest = string.format('%.0f', now - ARGV[1])
local found = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. oldest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local silent = {}
for i = 1, #found, 2 do
  local sn = found[i]
  redis.call('ZREM', KEYS[3], sn)
  silent[#silent + 1] = {sn, found[i + 1], redis.call('HGET', KEYS[1], sn), redis.call('HGET', KEYS[2], sn)}
end
return silent
"""
)

# KEYS: since. ARGV: for how long.
_IS_WHOLE = (
    _NOW
    + """
redis.call('SET', KEYS[1], string.format('%.0f', now), 'NX')
if now - redis.call('GET', KEYS[1]) >= tonumber(ARGV[1]) then return 1 end
return 0
"""
)


class _Holder(msgspec.Struct, rename="camel"):
    """The connection that holds a device."""

    vendor_id: str
    address: str
    process: str


class RedisPresenceStore:
    """PresenceStore in Redis; one object is one process that holds devices."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._touch_many = named_script(redis, "touch_many", _TOUCH_MANY)
        self._leave_many = named_script(redis, "leave_many", _LEAVE_MANY)
        self._take_silent = named_script(redis, "take_silent", _TAKE_SILENT)
        self._is_whole = named_script(redis, "is_whole", _IS_WHOLE)
        self._process = secrets.token_hex(4)
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(_Holder)

    async def touch_many(self, touches: Sequence[Touch]) -> Sequence[int]:
        if not touches:
            return []
        keys = [PRESENCE_EPOCHS_KEY, PRESENCE_HOLDERS_KEY, PRESENCE_SEEN_KEY]
        args: list[str | int | bytes] = [TOKEN_LIFE_MS]
        for one in touches:
            keys += [session_key(one.token), device_token_key(one.sn)]
            holder = self._encoder.encode(_Holder(one.vendor_id, one.address, self._process))
            args += [one.token, one.sn, int(one.carried), int(one.takes_over), one.epoch, max(0, one.age_ms), holder]
        with redis_faults():
            return [int(epoch) for epoch in await self._touch_many(keys, args)]

    async def leave_many(self, held: Sequence[tuple[str, int]]) -> Sequence[bool]:
        if not held:
            return []
        args = [value for pair in held for value in pair]
        with redis_faults():
            return [bool(left) for left in await self._leave_many([PRESENCE_EPOCHS_KEY, PRESENCE_SEEN_KEY], args)]

    async def take_silent(self, longer_than_ms: int, limit: int) -> Sequence[Presence]:
        keys = [PRESENCE_EPOCHS_KEY, PRESENCE_HOLDERS_KEY, PRESENCE_SEEN_KEY]
        with redis_faults():
            silent = await self._take_silent(keys, [longer_than_ms, limit])
        return [self._presence(*one) for one in silent]

    def _presence(self, sn: bytes, seen: bytes, epoch: bytes, holder: bytes) -> Presence:
        known = self._decoder.decode(holder)
        return Presence(
            sn=sn.decode(),
            vendor_id=known.vendor_id,
            online=False,
            epoch=int(epoch),
            last_seen_ms=int(seen),
            address=known.address or None,
        )

    async def last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        if not sns:
            return {}
        with redis_faults():
            scores = await self._redis.zmscore(PRESENCE_SEEN_KEY, list(sns))
        return {sn: int(score) for sn, score in zip(sns, scores, strict=True) if score is not None}

    async def held_elsewhere(self, sns: Sequence[str]) -> Sequence[bool]:
        if not sns:
            return []
        with redis_faults():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for sn in sns:
                    pipeline.hget(PRESENCE_HOLDERS_KEY, sn)
                holders = await pipeline.execute()
        return [holder is not None and self._decoder.decode(holder).process != self._process for holder in holders]

    async def is_whole(self, for_ms: int) -> bool:
        with redis_faults():
            return bool(await self._is_whole([PRESENCE_SINCE_KEY], [for_ms]))
