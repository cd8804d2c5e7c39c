"""Tasks that ingress pushed, until task-api has marked them as delivered: ingress does not talk to MongoDB (T5).

A set: two processes that push one task, or a mark that is made twice, come to the same. A flush costs the mark and no
more: the task's own end does not need it.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from shared.stores.redis.client import PUSHED_TASKS_KEY, redis_faults


class RedisPushedTasks:
    """PushedTasks in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add_many(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            with redis_faults():
                await self._redis.zadd(PUSHED_TASKS_KEY, dict.fromkeys(task_ids, 0))

    async def oldest(self, limit: int) -> Sequence[str]:
        with redis_faults():
            found = await self._redis.zrange(PUSHED_TASKS_KEY, 0, limit - 1)
        return [task_id.decode() for task_id in found]

    async def remove_many(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            with redis_faults():
                await self._redis.zrem(PUSHED_TASKS_KEY, *task_ids)
