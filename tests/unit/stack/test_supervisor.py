"""Starting again what died: at once after a steady life, later and later where it keeps dying."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.guard import Guard
from stack.process import Process
from stack.supervisor import RestartPolicy, Supervisor


def test_a_process_that_lived_is_started_at_once_however_often() -> None:
    policy = RestartPolicy()
    assert [policy.delay_after(60) for _ in range(5)] == [0, 0, 0, 0, 0]


def test_a_process_that_keeps_dying_is_started_later_and_later_up_to_a_bound() -> None:
    policy = RestartPolicy()
    assert [policy.delay_after(0.1) for _ in range(11)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_steady_life_forgives_earlier_deaths() -> None:
    policy = RestartPolicy()
    for _ in range(6):
        policy.delay_after(0.1)
    assert policy.delay_after(60) == 0
    assert policy.delay_after(0.1) == 0


@pytest.fixture
def new_process(tmp_path: Path, guard: Guard) -> Callable[[str, str], Process]:
    def new(name: str, code: str) -> Process:
        return Process(name, [sys.executable, "-c", code], log_file=tmp_path / f"{name}.log", guard=guard)

    return new


def test_only_what_died_is_started_again_and_the_change_is_told(new_process: Callable[[str, str], Process]) -> None:
    sleeps = "import time; time.sleep(60)"
    dies, lives = new_process("dies", sleeps), new_process("lives", sleeps)
    dies.start()
    lives.start()
    before = (dies.pid, lives.pid)
    changes: list[tuple[int, int]] = []
    said: list[str] = []
    supervisor = Supervisor([dies, lives], lambda: changes.append((dies.pid, lives.pid)), said.append)
    supervisor.tick()
    assert changes == []
    dies.kill()
    supervisor.tick()
    assert changes == [(dies.pid, before[1])]
    assert dies.pid != before[0]
    assert dies.alive
    assert supervisor.restarts == 1
    assert said[0].startswith("dies ended with exit code -9")
    dies.kill()
    lives.kill()


def test_a_process_that_keeps_dying_is_not_started_before_its_time(new_process: Callable[[str, str], Process]) -> None:
    dies = new_process("dies", "raise SystemExit(3)")
    dies.start()
    restarts: list[float] = []
    supervisor = Supervisor([dies], lambda: restarts.append(time.monotonic()), lambda _text: None)
    deadline = time.monotonic() + 10
    while len(restarts) < 3:
        assert time.monotonic() < deadline
        supervisor.tick()
        time.sleep(0.01)
    assert restarts[2] - restarts[1] >= 0.5
    dies.kill()
