"""Starts again what died.

1. A process that lived for a while is started again at once; one that keeps dying, from its third quick death on,
   after 0.5, 1, 2 … 30 s.
2. Nothing is started again once the stack is stopping: the supervisor is then no longer asked.
"""

import time
from collections.abc import Callable, Sequence

from stack.process import Process, StackError

STEADY_SECONDS = 5.0
"""A process that lived this long did not die of its start."""
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
DEATHS_WITHOUT_DELAY = 2


class RestartPolicy:
    """How long to wait before one process is started again."""

    def __init__(self) -> None:
        self._quick_deaths = 0

    def delay_after(self, lived_seconds: float) -> float:
        """0 after a steady life and the first quick deaths, then doubling."""
        self._quick_deaths = 0 if lived_seconds >= STEADY_SECONDS else self._quick_deaths + 1
        late = self._quick_deaths - DEATHS_WITHOUT_DELAY
        return min(FIRST_DELAY_SECONDS * 2.0 ** (late - 1), LONGEST_DELAY_SECONDS) if late > 0 else 0.0


class _Watched:
    def __init__(self, process: Process, now: float) -> None:
        self.process = process
        self.policy = RestartPolicy()
        self.started_at = now
        self.due: float | None = None


class Supervisor:
    """Watches processes; `tick` is called several times a second."""

    def __init__(
        self, processes: Sequence[Process], on_restart: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        now = time.monotonic()
        self._watched = [_Watched(process, now) for process in processes]
        self._on_restart = on_restart
        self._say = say
        self.restarts = 0

    def tick(self) -> None:
        """Starts again what died and whose time has come; calls `on_restart` where it did."""
        restarted = [watched for watched in self._watched if self._restarted(watched, time.monotonic())]
        if restarted:
            self.restarts += len(restarted)
            self._on_restart()

    def _restarted(self, watched: _Watched, now: float) -> bool:
        process = watched.process
        if process.alive:
            return False
        if watched.due is None:
            delay = watched.policy.delay_after(now - watched.started_at)
            watched.due = now + delay
            again = f"again in {delay:g} s" if delay else "again now"
            self._say(f"{process.name} ended with exit code {process.exit_code}: {again} (log: {process.log_file})")
        if now < watched.due:
            return False
        watched.due = None
        watched.started_at = now
        try:
            process.start()
        except StackError as error:
            self._say(str(error))
            return False
        return True
