"""The clock: the one place that reads the time, so that tests own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Gives the wall time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that a test sets."""

    def __init__(self, now_ms: int) -> None:
        self.value_ms = now_ms

    def now_ms(self) -> int:
        return self.value_ms

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self.value_ms += int(seconds * 1000)
