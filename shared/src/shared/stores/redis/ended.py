"""What must not count any more: credentials revoked and devices disabled, until the tokens have expired (rule 5).

1. Two sorted sets, scored in milliseconds: by Redis's time for credentials, by Device.disabled_at_ms for devices.
2. An entry and its place in the control stream are written in one script: no reader can know one without the other.
"""

from redis.asyncio import Redis

from shared.domain.sessions import ENDED_LIFE_MS, Ended
from shared.stores.redis.client import (
    CONTROL_STREAM_KEY,
    ENDED_CREDENTIALS_KEY,
    ENDED_DEVICES_KEY,
    named_script,
    redis_faults,
)
from shared.stores.redis.control_stream import CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: set, control stream. ARGV: access_id, field of the stream, its length. What is there already is told no more.
_END_CREDENTIAL = (
    _NOW
    + """
local score = string.format('%.0f', now)
if redis.call('ZADD', KEYS[1], 'NX', score, ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', ARGV[2],
    '{"type":"credential-revoked","access_id":' .. cjson.encode(ARGV[1]) .. ',"at_ms":' .. score .. '}')
end
"""
)

# The same for sn and its time in ARGV[4]; each later time counts, since the device was enabled in between.
_END_DEVICE = """
if redis.call('ZADD', KEYS[1], 'GT', 'CH', ARGV[4], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', ARGV[2],
    '{"type":"device-disabled","sn":' .. cjson.encode(ARGV[1]) .. ',"at_ms":' .. ARGV[4] .. '}')
end
"""

# KEYS: both sets. ARGV: life of an entry.
_LOAD = (
    _NOW
    + """
local sets = {}
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', now - ARGV[1]))
  sets[i] = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
end
return sets
"""
)


class RedisEndedStore:
    """EndedStore in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._end_credential = named_script(redis, "end_credential", _END_CREDENTIAL)
        self._end_device = named_script(redis, "end_device", _END_DEVICE)
        self._load = named_script(redis, "load_ended", _LOAD)

    async def end_credential(self, access_id: str) -> None:
        with redis_faults():
            await self._end_credential(
                [ENDED_CREDENTIALS_KEY, CONTROL_STREAM_KEY], [access_id, CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH]
            )

    async def end_device(self, sn: str, disabled_at_ms: int) -> None:
        with redis_faults():
            await self._end_device(
                [ENDED_DEVICES_KEY, CONTROL_STREAM_KEY],
                [sn, CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH, disabled_at_ms],
            )

    async def load(self) -> Ended:
        with redis_faults():
            credentials, devices = await self._load([ENDED_CREDENTIALS_KEY, ENDED_DEVICES_KEY], [ENDED_LIFE_MS])
        return Ended(_times(credentials), _times(devices))


def _times(members_and_scores: list[bytes]) -> dict[str, int]:
    by_turns = iter(members_and_scores)
    return {member.decode(): int(score) for member, score in zip(by_turns, by_turns, strict=True)}
