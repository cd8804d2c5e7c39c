"""Topics and indexes are made while the parts come up: one more attempt where they were refused, then a told end."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.guard import Guard
from stack.preparations import running, wait_until_done
from stack.process import Process, StackError

# Fails until it has been run as often as its second argument says.
COUNTING = """
import pathlib, sys
runs = pathlib.Path(sys.argv[1])
with runs.open("a") as file:
    file.write("x")
sys.exit(0 if runs.stat().st_size >= int(sys.argv[2]) else "refused")
"""


@pytest.fixture
def own_guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def command(directory: Path, guard: Guard, name: str, *, good_from_run: int) -> Process:
    return Process(
        name,
        [sys.executable, "-I", "-S", "-c", COUNTING, directory / name, str(good_from_run)],
        log_file=directory / f"{name}.log",
        guard=guard,
    )


def runs(directory: Path, name: str) -> int:
    return len((directory / name).read_text())


def test_what_succeeds_at_once_is_run_once(tmp_path: Path, own_guard: Guard) -> None:
    good = command(tmp_path, own_guard, "good", good_from_run=1)
    with running([good]):
        wait_until_done([good])
    assert runs(tmp_path, "good") == 1


def test_what_was_refused_once_is_run_once_more_and_nothing_else_is(tmp_path: Path, own_guard: Guard) -> None:
    good = command(tmp_path, own_guard, "good", good_from_run=1)
    early = command(tmp_path, own_guard, "early", good_from_run=2)
    with running([good, early]):
        wait_until_done([good, early])
    assert (runs(tmp_path, "good"), runs(tmp_path, "early")) == (1, 2)


def test_what_is_refused_twice_ends_the_start_and_says_why(tmp_path: Path, own_guard: Guard) -> None:
    bad = command(tmp_path, own_guard, "bad", good_from_run=9)
    with running([bad]), pytest.raises(StackError, match=r"bad ended with exit code 1(?s:.*)refused"):
        wait_until_done([bad])
    assert runs(tmp_path, "bad") == 2


def test_none_runs_after_a_stop_meanwhile(tmp_path: Path, own_guard: Guard) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    endless = Process(
        "endless",
        [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"],
        log_file=tmp_path / "endless.log",
        guard=own_guard,
    )
    with pytest.raises(KeyboardInterrupt), running([endless]):
        wait_until_done([endless], stop)
    assert not endless.alive
