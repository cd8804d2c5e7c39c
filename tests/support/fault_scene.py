"""Where faults of a running platform happen, and what they are made of."""

import asyncio
import itertools
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import NamedTuple

from tests.support.https_terminal import https_terminal
from tests.support.monitored_platform import Monitored
from tests.support.operators import Operators
from tests.support.terminal import connect

PAUSE_SECONDS = 0.1
LEISURE_SECONDS = 0.5
REGULARS = 10
"""So many that none comes twice within a second: that would be a replay (E4)."""
OK = ""

_numbers = itertools.count(1)


class Scene(NamedTuple):
    """Where a fault happens, and an operator who does what terminals cannot."""

    platform: Monitored
    operators: Operators


Fault = Callable[[Scene], AbstractAsyncContextManager[None]]


@contextmanager
def standing_still(scene: Scene, name: str) -> Iterator[None]:
    """SIGSTOP to every process of a service or part; it goes on afterwards."""
    pids = scene.platform.stack.pids(name)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def meanwhile(*acts: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Does each again and again until the block ends, and what was begun to its end. One that fails fails the block."""
    over = asyncio.Event()

    async def again_and_again(act: Callable[[], Awaitable[object]]) -> None:
        while not over.is_set():
            await act()
            await asyncio.sleep(PAUSE_SECONDS)

    tasks = [asyncio.ensure_future(again_and_again(act)) for act in acts]
    try:
        yield
    finally:
        over.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in ended if outcome is not None] == []


@asynccontextmanager
async def everyday_business(scene: Scene) -> AsyncIterator[None]:
    """What a quiet moment may lack: a terminal that comes anew, gets a task and does it; an operator who looks on."""
    stack = scene.platform.stack
    _, vendor = await scene.operators.create_vendor()
    sns = itertools.cycle([new_sn() for _ in range(REGULARS)])

    async def come_and_work() -> None:
        sn = next(sns)
        async with connect(*stack.tcp) as terminal:
            token = await terminal.authenticate(vendor, sn)
        (task,) = await scene.operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn)
        async with https_terminal(stack.https, stack.ca, sn, token, vendor.access_secret) as https:
            await https.get_tasks(task)
            assert await https.report([task], 1) == OK
        await scene.operators.get("/devices")
        await asyncio.sleep(LEISURE_SECONDS)

    async with meanwhile(come_and_work):
        yield


def new_sn() -> str:
    return f"FAULT{secrets.token_hex(4)}{next(_numbers)}"
