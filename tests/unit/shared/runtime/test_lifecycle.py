"""A service's life: ready only when open, orderly stop, failure of a background task."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.runtime import lifecycle
from shared.runtime.lifecycle import Lifecycle, cancel_and_wait, run_service


async def test_a_service_is_ready_while_it_is_open_and_closes_when_the_stop_event_is_set() -> None:
    stop = asyncio.Event()
    seen: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def open_service(lifecycle: Lifecycle) -> AsyncIterator[None]:
        seen.append(("opening", lifecycle.ready))
        asyncio.get_running_loop().call_later(0.01, lambda: seen.append(("open", lifecycle.ready)))
        asyncio.get_running_loop().call_later(0.02, stop.set)
        yield
        seen.append(("closing", lifecycle.ready))

    assert await run_service("test", open_service, stop) == 0
    assert seen == [("opening", False), ("open", True), ("closing", False)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_service_in_order(number: signal.Signals) -> None:
    closed = False

    @asynccontextmanager
    async def open_service(_lifecycle: Lifecycle) -> AsyncIterator[None]:
        nonlocal closed
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        yield
        closed = True

    assert await run_service("test", open_service) == 0
    assert closed


async def test_a_background_task_that_fails_stops_the_service_with_exit_code_1() -> None:
    async def failing() -> None:
        raise RuntimeError("lost its way")

    @asynccontextmanager
    async def open_service(lifecycle: Lifecycle) -> AsyncIterator[None]:
        lifecycle.spawn(failing(), "failing")
        yield

    assert await run_service("test", open_service) == 1


async def test_a_background_task_that_is_cancelled_at_the_end_is_no_failure() -> None:
    stop = asyncio.Event()

    @asynccontextmanager
    async def open_service(lifecycle: Lifecycle) -> AsyncIterator[None]:
        task = lifecycle.spawn(asyncio.sleep(60), "sleeping")
        asyncio.get_running_loop().call_soon(stop.set)
        yield
        await cancel_and_wait(task)
        assert task.cancelled()

    assert await run_service("test", open_service, stop) == 0


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "CANCEL_AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(60)

    task = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_and_wait(task)
    assert (swallowed, task.cancelled()) == (2, True)
