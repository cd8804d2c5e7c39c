"""What make bench-check fails for, by invented figures."""

from pathlib import Path

import pytest

from tests.bench.baseline import Figures, compared, losses, read, write
from tests.bench.check import verdict

MACHINE = {"cores": 2}


def figures(ratio: float, count: float | None, **machine: object) -> Figures:
    """Of one row each."""
    return Figures({**MACHINE, **machine}, {"heartbeat-1": ratio}, None if count is None else {"heartbeat": count})


def test_a_loss_of_16_percent_is_named() -> None:
    assert losses({"heartbeat-1": 4.0}, {"heartbeat-1": 4.64}) == ["heartbeat-1: 4.00 before, 4.64 now, +16%"]


def test_a_loss_of_14_percent_and_a_gain_pass() -> None:
    assert losses({"heartbeat-1": 4.0, "sign-in-16": 50.0}, {"heartbeat-1": 4.56, "sign-in-16": 20.0}) == []


def test_a_row_that_is_not_measured_any_more_is_named() -> None:
    assert losses({"heartbeat-1": 4.0, "sign-in-16": 50.0}, {"heartbeat-1": 4.0}) == [
        "sign-in-16: 50.00 before, and not measured now"
    ]


def test_a_new_row_is_shown_and_no_loss() -> None:
    assert losses({}, {"heartbeat-1": 4.0}) == []
    (line,) = compared({}, {"heartbeat-1": 4.0})
    assert line.endswith("new")


def test_each_side_alone_makes_the_check_fail(capsys: pytest.CaptureFixture[str]) -> None:
    before = figures(4.0, 100_000)
    assert verdict(before, figures(4.5, 114_000)) == 0
    assert "nothing is lost" in capsys.readouterr().out
    assert verdict(before, figures(4.7, 100_000)) == 1
    assert "LOST heartbeat-1: 4.00 before, 4.70 now" in capsys.readouterr().out
    assert verdict(before, figures(4.0, 116_000)) == 1
    assert "LOST heartbeat: 100000.00 before, 116000.00 now, +16%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counted_before", "counted_now", "said"), [(100_000, None, "valgrind is missing"), (None, 9, "without valgrind")]
)
def test_that_instructions_were_not_compared_is_said(
    capsys: pytest.CaptureFixture[str], counted_before: float | None, counted_now: float | None, said: str
) -> None:
    assert verdict(figures(4.0, counted_before), figures(4.0, counted_now)) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert "NOT compared" in printed


def test_that_the_baseline_is_of_another_machine_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(figures(4.0, None, python="3.11.7"), figures(4.0, None, python="3.12.1")) == 0
    assert "another machine: python was 3.11.7, is 3.12.1" in capsys.readouterr().out


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    for written in (figures(4.0, 100_000.5), figures(4.0, None)):
        write(written, tmp_path / "baseline.json")
        assert read(tmp_path / "baseline.json") == written


def test_without_a_baseline_nothing_is_compared(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "baseline.json")
