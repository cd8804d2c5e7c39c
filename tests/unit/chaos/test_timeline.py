"""The timeline judges each bound, and shows what was left out."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.timeline import NEVER, Happening, Recovery, table

WELL = Happening(
    12.0, "kill redis", 5.0, Counter({"500_01": 3}), Recovery(1.0, 2.0, 3.0), Recovery(5.0, 30.0, 20.0)
)  # fmt: skip


def test_a_fault_within_its_bounds_is_told_with_its_figures_and_nothing_is_broken() -> None:
    assert WELL.broken == []
    assert WELL.line() == (
        "[  12.0 s] kill redis (5.0 s): terminals saw 500_01 ×3; "
        "back after 1.0 s/5.0 s, fleet 2.0 s/30.0 s, stored 3.0 s/20.0 s"
    )


@pytest.mark.parametrize(
    ("took", "told"),
    [
        (Recovery(5.1, 2, 3), "kill redis: the platform was back after 5.1 s, bound 5.0 s"),
        (Recovery(1, 30.2, 3), "kill redis: terminals were back after 30.2 s, bound 30.0 s"),
        (Recovery(1, 2, NEVER), "kill redis: what was acknowledged was stored after never, bound 20.0 s"),
    ],
)
def test_a_bound_that_was_missed_is_told(took: Recovery, told: str) -> None:
    late = replace(WELL, took=took)
    assert late.broken == [told]
    assert told in late.line()


def test_what_else_was_wrong_is_told() -> None:
    assert replace(WELL, faults=("session-1 died by itself",)).broken == ["kill redis: session-1 died by itself"]


def test_patience_widens_every_bound() -> None:
    assert Recovery(5, 30, 20).times(3) == Recovery(15, 90, 60)


def test_what_was_left_out_is_shown_with_its_reason_and_is_no_success() -> None:
    left_out = Happening(3.0, "full disk of mongo", 0.0, left_out="needs root")
    assert left_out.line() == "[   3.0 s] full disk of mongo: LEFT OUT, needs root"
    assert "| full disk of mongo | left out: needs root |" in table([WELL, left_out])
    assert "| kill redis | 5.0 s | 1.0 of 5 s | 2.0 of 30 s | 3.0 of 20 s |" in table([WELL, left_out])
