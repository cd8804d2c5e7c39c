"""The pending index: for each device a sorted set of the ids of its tasks that have not ended (design rule 4).

1. All scores are 0, so members are in the order of their texts, which is that of task ids (T5): a score is a double and
   would round them.
2. A change and its place in the control stream are written in one script: no reader can know one without the other.
3. TASKS_WHOLE_KEY goes with a flush; it comes back only where no flush came between the mark of a rebuilding and its
   end.
"""

import secrets
from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from shared.domain.control import PushCommand
from shared.runtime.tracing import current_traceparent
from shared.stores.redis.client import (
    CONTROL_STREAM_KEY,
    TASKS_REBUILDING_KEY,
    TASKS_WHOLE_KEY,
    named_script,
    pending_tasks_key,
    redis_faults,
)
from shared.stores.redis.control_stream import CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH

# KEYS: the control stream, then the set of each device. ARGV: field of the stream, its length, traceparent or nothing,
# then for each device: sn, how many ids, the ids; then further entries of the stream. Returns how many were changed.
_CHANGE_MANY = """
local changed, at = 0, 4
local trace = ARGV[3] ~= '' and ARGV[3] or nil
for i = 2, #KEYS do
  local sn, count, of_device = ARGV[at], tonumber(ARGV[at + 1]), 0
  for j = at + 2, at + 1 + count do
    of_device = of_device + redis.call(COMMAND)
  end
  if of_device > 0 then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', ARGV[1],
      cjson.encode({type = 'tasks-changed', sn = sn, traceparent = trace}))
  end
  changed, at = changed + of_device, at + 2 + count
end
for i = at, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', ARGV[1], ARGV[i])
end
return changed
"""
_ADD_MANY = _CHANGE_MANY.replace("COMMAND", "'ZADD', KEYS[i], 0, ARGV[j]")
_REMOVE_MANY = _CHANGE_MANY.replace("COMMAND", "'ZREM', KEYS[i], ARGV[j]")

# KEYS: TASKS_REBUILDING_KEY, TASKS_WHOLE_KEY. ARGV: the mark.
_END_REBUILD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1')
return 1
"""


class RedisPendingTasks:
    """PendingTasks in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._add_many = named_script(redis, "add_many", _ADD_MANY)
        self._remove_many = named_script(redis, "remove_many", _REMOVE_MANY)
        self._end_rebuild = named_script(redis, "end_rebuild", _END_REBUILD)

    async def add_many(self, task_ids: Mapping[str, Sequence[str]], push: Sequence[PushCommand] = ()) -> int:
        if not task_ids:
            return 0
        keys, args = _keys_and_args(task_ids, current_traceparent())
        with redis_faults():
            return int(await self._add_many(keys, [*args, *map(msgspec.json.encode, push)]))

    async def remove_many(self, task_ids: Mapping[str, Sequence[str]]) -> int:
        if not task_ids:
            return 0
        with redis_faults():
            return int(await self._remove_many(*_keys_and_args(task_ids, None)))

    async def oldest(self, sns: Sequence[str], limit: int) -> Sequence[Sequence[str]]:
        if not sns:
            return []
        with redis_faults():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for sn in sns:
                    pipeline.zrange(pending_tasks_key(sn), 0, limit - 1)
                found = await pipeline.execute()
        return [[member.decode() for member in members] for members in found]

    async def is_whole(self) -> bool:
        with redis_faults():
            return bool(await self._redis.exists(TASKS_WHOLE_KEY))

    async def begin_rebuild(self) -> str:
        mark = secrets.token_hex(8)
        with redis_faults():
            await self._redis.set(TASKS_REBUILDING_KEY, mark)
        return mark

    async def end_rebuild(self, mark: str) -> bool:
        with redis_faults():
            return bool(await self._end_rebuild([TASKS_REBUILDING_KEY, TASKS_WHOLE_KEY], [mark]))


def _keys_and_args(
    task_ids: Mapping[str, Sequence[str]], traceparent: str | None
) -> tuple[list[str], list[str | int | bytes]]:
    keys = [CONTROL_STREAM_KEY]
    args: list[str | int | bytes] = [CONTROL_STREAM_FIELD, CONTROL_STREAM_LENGTH, traceparent or ""]
    for sn, ids in task_ids.items():
        keys.append(pending_tasks_key(sn))
        args += [sn, len(ids), *ids]
    return keys, args
