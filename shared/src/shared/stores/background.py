"""How background work goes on: again and again, in one process of several, whatever is out of reach for a while."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import Lock

log = logging.getLogger(__name__)

LOCK_LIFE_MS = 15_000
"""Longer than what a worker does between two holds: a page of MongoDB, a script of Redis, a batch to Kafka."""


async def repeat_under_lock(
    name: str, lock: Lock, work: Callable[[], Awaitable[None]], interval_seconds: float
) -> None:
    """Works for ever while the lock is held here, with a pause between. Ended, it gives the lock to the next."""
    reachable = True
    try:
        while True:
            try:
                if await lock.hold():
                    await work()
            except Unavailable as error:
                if reachable:
                    log.warning("%s waits: %s", name, error)
                reachable = False
            else:
                if not reachable:
                    log.info("%s goes on", name)
                reachable = True
            await asyncio.sleep(interval_seconds)
    finally:
        try:
            await lock.release()
        except Unavailable:
            pass  # it expires by itself
