"""The life of a service process: signals to an orderly stop, readiness, background tasks that end the process.

1. `open_service` starts everything, the listener last; only then is the process ready.
2. SIGTERM and SIGINT set the stop event and do nothing else; a second one changes nothing.
3. Leaving: not ready first, then `open_service`'s context is left, which closes in reverse order.
4. A background task that ends with an exception stops the process with exit code 1 and a reason in the log.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from shared.runtime.tasks import spawn

log = logging.getLogger(__name__)

CANCEL_AGAIN_SECONDS = 5.0
"""A library may swallow a cancellation: asyncio.wait_for does before Python 3.12, where what it waits for ends in the
same turn of the loop. A process that left would wait for ever."""


class Lifecycle:
    """What a running service and its parts know of each other: readiness, the stop event, background tasks."""

    def __init__(self, stop: asyncio.Event | None = None) -> None:
        self.stop = stop or asyncio.Event()
        self.ready = False
        self.failure: BaseException | None = None

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Starts a background task whose failure stops the process. The caller cancels it when it closes."""
        task = spawn(coroutine, name)
        task.add_done_callback(self._background_ended)
        return task

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = self.failure or error
            self.stop.set()


OpenService = Callable[[Lifecycle], AbstractAsyncContextManager[None]]


async def run_service(name: str, open_service: OpenService, stop: asyncio.Event | None = None) -> int:
    """Runs a service until it is told to stop; returns the process's exit code (0, or 1 after a failure)."""
    lifecycle = Lifecycle(stop)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop.set)
    async with open_service(lifecycle):
        _collect_less()
        lifecycle.ready = not lifecycle.stop.is_set()
        log.info("%s is ready", name)
        await lifecycle.stop.wait()
        lifecycle.ready = False
        log.info("%s is stopping", name)
    if lifecycle.failure is not None:
        log.error("%s stopped because a background task failed: %r", name, lifecycle.failure)
        return 1
    log.info("%s stopped", name)
    return 0


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels background tasks and waits until each has ended; their outcome is not raised again."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # taken note of, so that nothing is said of it when the task is forgotten


def _collect_less() -> None:
    """What was made until now stays, and is not looked at again. Of what a request makes most is gone before so much
    more is made. Together an eighth of a sign-in's CPU in the ingress, a fifth of a document's in the writer."""
    gc.freeze()
    gc.set_threshold(50_000)
