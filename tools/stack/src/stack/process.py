"""A process that the stack started: its log file, its group, its end. What it serves is not known here."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.guard import Guard

LOG_TAIL_LINES = 20


class StackError(Exception):
    """Something that the person at the terminal must know; told without a traceback."""


class Process:
    """One process, the leader of its own group, so that Ctrl-C at the terminal reaches only the stack itself."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        guard: Guard,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._command = [str(part) for part in command]
        self._environment = environment
        self._guard = guard
        self._running: subprocess.Popen[bytes] | None = None
        # Once the whole group is gone its number may belong to a stranger: nothing is sent to it any more.
        self._gone = True

    @property
    def pid(self) -> int:
        """Of the process running now, or of the last one."""
        if self._running is None:
            raise StackError(f"{self.name} was never started")
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether it runs; reaps it where it ended."""
        return self._running is not None and self._running.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or before it was started; negative where a signal ended it."""
        return None if self._running is None else self._running.poll()

    def start(self) -> None:
        """Starts it; its output is added to the log file. Raises StackError where that is impossible."""
        self.kill()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            try:
                self._running = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    process_group=0,
                )
            except OSError as error:
                raise StackError(f"{self.name} cannot be started: {error}") from error
        self._guard.watch(self._running.pid)
        self._gone = False

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group; nothing where it is gone."""
        if self._running is not None and not self._gone:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, number)

    def ask_to_stop(self) -> None:
        """SIGTERM, also to a process that stands still."""
        if self.alive:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)

    def stop(self, grace_seconds: float) -> None:
        """Asks it to stop, waits, and kills what is left of its group."""
        self.ask_to_stop()
        if self._running is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group; returns when the process is gone."""
        if self._running is not None and not self._gone:
            self.send(signal.SIGKILL)
            self._running.wait()
            self._gone = True
            self._guard.release(self._running.pid)

    def log_tail(self) -> str:
        """The last lines of its log."""
        if not self.log_file.exists():
            return ""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def failed(self, what: str) -> StackError:
        """The error that says what went wrong and ends with the last lines of the log."""
        return StackError(f"{self.name} {what}; the end of {self.log_file}:\n{self.log_tail()}")


def wait_until_exits(processes: Sequence[Process], grace_seconds: float) -> None:
    """Waits until all have ended, or the time is over."""
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(process.alive for process in processes):
        time.sleep(0.02)
