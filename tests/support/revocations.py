"""How long it takes until a session that was cut off is refused on every connection that carries it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.support.builders import make_heartbeat
from tests.support.terminal import Terminal

ASK_AGAIN_SECONDS = 0.002


async def seconds_until_refused(
    terminals: Sequence[Terminal], secret: str, sn: str, token: str, cut_off: Callable[[], Awaitable[object]]
) -> float:
    """From the beginning of `cut_off` to the first refusal on the last of the connections. Raises AssertionError where
    one is refused with another code than 401_02."""
    for terminal in terminals:
        assert (await terminal.ask(make_heartbeat(secret, sn, token))).success, "not refused before it is cut off"
    began = time.monotonic()

    async def refused_after(terminal: Terminal) -> float:
        answer = await terminal.ask(make_heartbeat(secret, sn, token))
        while answer.success:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            answer = await terminal.ask(make_heartbeat(secret, sn, token))
        assert answer.errorcode == "401_02", answer.error
        return time.monotonic() - began

    *seconds, _ = await asyncio.gather(*map(refused_after, terminals), _done(cut_off))
    return max(seconds)


async def _done(cut_off: Callable[[], Awaitable[object]]) -> float:
    await cut_off()
    return 0.0
