"""Looking at processes that a test did not start itself."""

import subprocess
import time


def is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped by its parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def wait_until_gone(pid: int) -> None:
    """Returns when it no longer runs: a signal to another's child acts a moment later."""
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.01)
