"""Sessions by token, the current token of each device, the replay guard and the throttle.

1. A session's value is its MessagePack, which no script reads.
2. Every key expires; nothing here outlives a token or a window.
3. What a caller sends (a sign, an address and sn) becomes a key only as a digest of fixed length.
"""

import hashlib
from collections.abc import Sequence

import msgspec
from redis.asyncio import Redis

from shared.domain.control import DeviceChanged
from shared.domain.devices import SiteSpan
from shared.domain.sessions import TOKEN_LIFE_MS, Session
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import FailureCount, NewSession
from shared.stores.redis.client import (
    CONTROL_STREAM_KEY,
    auth_failures_key,
    device_token_key,
    named_script,
    redis_faults,
    replay_key,
    session_key,
)
from shared.stores.redis.control_stream import CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH

# KEYS: the control stream, then for each session: replay guard, token of the device, session.
# ARGV: life of a token, field of the stream, its length, key prefix of sessions, then for each session: replay window,
# token, sn, session. Returns 1 for each that was opened, 0 for a replay. The key of an earlier session is computed
# here, which is one of the reasons why this is for a primary and not for Redis Cluster.
_OPEN_MANY = """
local opened = {}
for i = 1, (#KEYS - 1) / 3 do
  local replay, of_device, session = KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1]
  local window, token, sn, value = ARGV[4 * i + 1], ARGV[4 * i + 2], ARGV[4 * i + 3], ARGV[4 * i + 4]
  if redis.call('SET', replay, '', 'NX', 'PX', window) then
    local earlier = redis.call('GET', of_device)
    if earlier then
      redis.call('DEL', ARGV[4] .. earlier)
      redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', ARGV[2],
        cjson.encode({type = 'session-replaced', sn = sn, token = earlier}))
    end
    redis.call('SET', session, value, 'PX', ARGV[1])
    redis.call('SET', of_device, token, 'PX', ARGV[1])
    opened[i] = 1
  else
    opened[i] = 0
  end
end
return opened
"""

# KEYS: session and token of the device by turns. ARGV: life of a token, then the tokens. A token that was replaced
# meanwhile prolongs nothing of its successor's.
_RENEW = """
for i = 1, #KEYS / 2 do
  redis.call('PEXPIRE', KEYS[2 * i - 1], ARGV[1])
  if redis.call('GET', KEYS[2 * i]) == ARGV[i + 1] then
    redis.call('PEXPIRE', KEYS[2 * i], ARGV[1])
  end
end
"""

# KEYS: session, control stream. ARGV: value as it was read, value as it is to be, field of the stream, its length,
# entry. Returns 0 where the session is another one by now.
_REPLACE_VALUE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', ARGV[3], ARGV[5])
return 1
"""

# KEYS: counts. ARGV: window. The window runs from the first failure, so that it ends for a terminal that keeps trying.
_COUNT_FAILURES = """
local counts = {}
for i, key in ipairs(KEYS) do
  redis.call('SET', key, 0, 'NX', 'PX', ARGV[1])
  counts[i] = {redis.call('INCR', key), redis.call('PTTL', key)}
end
return counts
"""


_UPDATE_TRIES = 5
"""Each lost to another C_AUTH of the device or another change of it, which take longer than this."""


class RedisSessionStore:
    """SessionStore in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._open_many = named_script(redis, "open_many", _OPEN_MANY)
        self._renew = named_script(redis, "renew", _RENEW)
        self._replace_value = named_script(redis, "replace_value", _REPLACE_VALUE)
        self._count_failures = named_script(redis, "count_failures", _COUNT_FAILURES)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Session)

    async def open_many(self, new: Sequence[NewSession]) -> Sequence[Session | None]:
        if not new:
            return []
        keys = [CONTROL_STREAM_KEY]
        args: list[str | int | bytes] = [TOKEN_LIFE_MS, CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH, session_key("")]
        for one in new:
            session = one.session
            keys += [replay_key(_digest(one.sign)), device_token_key(session.sn), session_key(session.token)]
            args += [one.replay_window_ms, session.token, session.sn, self._encoder.encode(session)]
        with redis_faults():
            opened = await self._open_many(keys, args)
        return [one.session if is_open else None for one, is_open in zip(new, opened, strict=True)]

    async def find(self, tokens: Sequence[str]) -> Sequence[Session | None]:
        if not tokens:
            return []
        with redis_faults():
            values = await self._redis.mget([session_key(token) for token in tokens])
        return [None if value is None else self._decoder.decode(value) for value in values]

    async def update_device(self, sn: str, site_history: tuple[SiteSpan, ...], time_window_seconds: int | None) -> None:
        for _ in range(_UPDATE_TRIES):
            if await self._update_device(sn, site_history, time_window_seconds):
                return
        raise Unavailable("Redis: the device's session changed again and again")

    async def _update_device(
        self, sn: str, site_history: tuple[SiteSpan, ...], time_window_seconds: int | None
    ) -> bool:
        with redis_faults():
            token = await self._redis.get(device_token_key(sn))
            value = None if token is None else await self._redis.get(session_key(token.decode()))
        if value is None:
            return True
        session = self._decoder.decode(value)
        updated = msgspec.structs.replace(session, site_history=site_history, time_window_seconds=time_window_seconds)
        if updated == session:
            return True
        keys = [session_key(session.token), CONTROL_STREAM_KEY]
        entry = msgspec.json.encode(DeviceChanged(sn))
        args = [value, self._encoder.encode(updated), CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH, entry]
        with redis_faults():
            return bool(await self._replace_value(keys, args))

    async def renew(self, sessions: Sequence[tuple[str, str]]) -> None:
        if not sessions:
            return
        keys = [key for token, sn in sessions for key in (session_key(token), device_token_key(sn))]
        with redis_faults():
            await self._renew(keys, [TOKEN_LIFE_MS, *(token for token, _sn in sessions)])

    async def count_failures(self, sources: Sequence[str], window_ms: int) -> Sequence[FailureCount]:
        if not sources:
            return []
        with redis_faults():
            counts = await self._count_failures([auth_failures_key(_digest(one)) for one in sources], [window_ms])
        return [FailureCount(count, window_left_ms) for count, window_left_ms in counts]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
