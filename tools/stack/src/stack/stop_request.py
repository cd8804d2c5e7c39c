"""Ctrl-C, SIGTERM and SIGHUP as a flag that is looked at between steps: an exception out of a signal handler could
come between the start of a process and the note of its number, and leave it behind."""

import signal
from types import FrameType


class StopRequested(Exception):
    """The person or the system asked the stack to end."""


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def listen(self) -> None:
        """From now on the signals set the flag, and do nothing else."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._received)

    def check(self) -> None:
        """Raises StopRequested where somebody asked to stop."""
        if self.made:
            raise StopRequested

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        self.made = True
