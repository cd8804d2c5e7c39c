"""The guard: a tiny process that kills what a stack started when the stack is gone, even after kill -9.

It reads process groups from its standard input; when that ends, the stack has ended, and every group still listed is
killed. Unlike a parent-death signal this works on every Unix, and does not depend on the thread that started a child.
"""

import contextlib
import os
import signal
import subprocess
import sys


class Guard:
    """Lists the process groups that must not outlive this process."""

    def __init__(self) -> None:
        read_end, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=read_end, stdout=subprocess.DEVNULL, start_new_session=True
        )
        os.close(read_end)

    def watch(self, group: int) -> None:
        """From now on the group dies with this process."""
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """The group has ended: its number may soon belong to a stranger."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guard, which kills what is still listed."""
        os.close(self._pipe)
        self._process.wait()

    def _tell(self, line: str) -> None:
        # A guard that somebody killed must not take the stack down: its work is for the case that comes after.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, line.encode())


def _guard() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _guard()
