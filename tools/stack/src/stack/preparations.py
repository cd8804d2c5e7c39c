"""What must be there before the first service starts, and the commands that make it: topics and indexes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from stack.process import Process
from stack.server import POLL_SECONDS

PREPARATIONS = {"topics": "shared.kafka.topics", "indexes": "shared.stores.mongo.indexes"}
"""Name to module. They wait for their parts themselves and start with them: Python is loaded when Kafka answers."""


@contextmanager
def running(preparations: Sequence[Process]) -> Iterator[None]:
    """Starts them; none runs when the context is left."""
    try:
        for process in preparations:
            process.start()
        yield
    finally:
        for process in preparations:
            process.kill()


def wait_until_done(preparations: Sequence[Process], check: Callable[[], None] = lambda: None) -> None:
    """To be called when all parts answer; returns when all have ended well, and calls `check` meanwhile.

    One that failed is started once more: a part that was still coming up may have refused what it asked for, as a
    broker does that is not registered yet. Raises StackError where it fails again.
    """
    for is_last in (False, True):
        while any(process.alive for process in preparations):
            check()
            time.sleep(POLL_SECONDS)
        failed = [process for process in preparations if process.exit_code != 0]
        for process in failed:
            if is_last:
                raise process.failed(f"ended with exit code {process.exit_code}")
            process.start()
