"""A server that the stack runs as a process: what the backing parts and the platform's services have in common."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from stack.process import Process

READY_SECONDS = 60.0
POLL_SECONDS = 0.05


class Server(ABC):
    """Started, asked whether it answers, made to stand still or die, started again on the same port and data."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """Of the server."""
        return self.process.pid

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves requests now; one attempt that ends within about a second."""

    def start(self) -> None:
        """Starts the server without waiting until it answers."""
        self.process.start()

    def suspend(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()

    def restart(self) -> None:
        """Starts it again on the same port and data, and returns when it answers."""
        self.start()
        wait_ready([self])


def wait_ready(
    servers: Sequence[Server], check: Callable[[], None] = lambda: None, seconds: float = READY_SECONDS
) -> None:
    """Returns when all answer; calls `check` meanwhile, which may raise to give up.

    Raises StackError where one ends, or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    waiting = list(servers)
    while waiting:
        for server in list(waiting):
            check()
            if server.answers():
                waiting.remove(server)
            elif not server.process.alive:
                raise server.process.failed(f"ended with exit code {server.process.exit_code} before it was ready")
            elif time.monotonic() > deadline:
                raise server.process.failed(f"was not ready within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
