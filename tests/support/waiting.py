"""Waiting for something that another task or process does."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Returns once the condition holds. Raises TimeoutError where it does not within the time."""
    async with asyncio.timeout(seconds):
        while True:
            outcome = is_so()
            if outcome is True or (not isinstance(outcome, bool) and await outcome):
                return
            await asyncio.sleep(0.01)
