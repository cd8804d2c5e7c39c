"""Processes of the stack and their guard: nothing outlives what should end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.guard import Guard
from stack.process import Process, StackError, wait_until_exits
from tests.support.processes import is_running, wait_until_gone

# Ignores SIGTERM and starts a child, as a stubborn server with workers does.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def own_guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def python(code: str, log_file: Path, guard: Guard) -> Process:
    return Process("example", [sys.executable, "-c", code], log_file=log_file, guard=guard)


def wait_for_line(log_file: Path) -> str:
    deadline = time.monotonic() + 10
    while not log_file.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return log_file.read_text()


def test_stop_lets_a_process_end_by_itself(tmp_path: Path, own_guard: Guard) -> None:
    process = python(
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(1, flush=True);"
        "time.sleep(60)",
        tmp_path / "log",
        own_guard,
    )
    process.start()
    wait_for_line(tmp_path / "log")
    process.stop(10)
    assert process.exit_code == 7
    assert not process.alive


def test_stop_kills_a_stubborn_process_and_its_children(tmp_path: Path, own_guard: Guard) -> None:
    process = python(STUBBORN, tmp_path / "log", own_guard)
    process.start()
    child = int(wait_for_line(tmp_path / "log"))
    process.stop(0.2)
    assert process.exit_code == -signal.SIGKILL
    wait_until_gone(child)


def test_stop_ends_a_process_that_stands_still(tmp_path: Path, own_guard: Guard) -> None:
    process = python("import time; print(1, flush=True); time.sleep(60)", tmp_path / "log", own_guard)
    process.start()
    wait_for_line(tmp_path / "log")
    process.send(signal.SIGSTOP)
    process.stop(5)
    assert process.exit_code == -signal.SIGTERM


def test_a_process_that_is_gone_gets_no_signal_under_its_old_number(
    tmp_path: Path, own_guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = python("pass", tmp_path / "log", own_guard)
    process.start()
    process.kill()
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a signal to a number that may be a stranger's"))
    process.send(signal.SIGTERM)
    process.stop(0)
    process.kill()


def test_a_command_that_does_not_exist_is_told(tmp_path: Path, own_guard: Guard) -> None:
    process = Process("example", [tmp_path / "missing"], log_file=tmp_path / "log", guard=own_guard)
    with pytest.raises(StackError, match="example cannot be started"):
        process.start()


def test_a_failure_is_told_with_the_last_lines_of_the_log(tmp_path: Path, own_guard: Guard) -> None:
    process = python("print('\\n'.join(f'line {n}' for n in range(100)))", tmp_path / "log", own_guard)
    process.start()
    wait_until_exits([process], 10)
    process.kill()
    text = str(process.failed("ended"))
    assert text.startswith("example ended")
    assert text.endswith("line 99")
    assert "line 79" not in text


def test_the_guard_kills_what_is_listed_when_its_owner_was_killed(tmp_path: Path) -> None:
    owner = f"""
import pathlib, sys, time
from stack.guard import Guard
from stack.process import Process
guard = Guard()
log = pathlib.Path({str(tmp_path)!r}) / "log"
kept = Process("kept", [sys.executable, "-c", "import time; time.sleep(60)"], log_file=log, guard=guard)
kept.start()
ended = Process("ended", [sys.executable, "-c", "pass"], log_file=log, guard=guard)
ended.start()
ended.kill()
print(kept.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        assert is_running(pid)
        running.kill()
    wait_until_gone(pid)


def test_the_guard_leaves_alone_what_was_released(own_guard: Guard) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0) as released:
        guard = Guard()
        guard.watch(released.pid)
        guard.release(released.pid)
        guard.close()
        assert released.poll() is None
        released.kill()
