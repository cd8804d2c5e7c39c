"""What an overload must not do is found in what the sender reported."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ledger import LedgerFile
from tests.chaos.overload import BOUNDS, Overload, _judge, _Ran

SECONDS = 10.0


def ran(*, step: int = 100, refused: int = 100, silent: range = range(0), **last: object) -> _Ran:
    """A report a second: so many sent and answered, none answered in the seconds of `silent`."""
    reports: list[tuple[float, dict[str, Any]]] = []
    acknowledged = refusals = 0
    for second in range(11):
        if second not in silent:
            acknowledged, refusals = acknowledged + step, refusals + refused
        told = {"sent": second * 200, "heldBack": 0, "lost": 0, "waiting": 0}
        reports.append((float(second), {**told, "outcomes": {"acknowledged": acknowledged, "500_01": refusals}}))
    reports[-1][1].update(last)
    return _Ran(reports, SECONDS, LedgerFile(Path("/nowhere")))


def judged(burst: _Ran, **measured: Any) -> list[str]:
    result = Overload(capacity=100.0, **measured)
    _judge(result, burst, SECONDS, patience=1.0)
    return result.faults


def test_twice_the_capacity_that_is_answered_by_success_or_500_01_is_well() -> None:
    assert judged(ran()) == []
    assert judged(ran(sent=1000, heldBack=1000)) == []  # reading was paused


@pytest.mark.parametrize(
    ("burst", "measured", "told"),
    [
        (ran(silent=range(2, 9)), {}, "no answer for"),
        (ran(outcomes={"acknowledged": 1, "401_01": 5}), {}, "answers that are neither success nor 500_01: ['401_01']"),
        (ran(sent=1500), {}, "only 150 sign-ins/s were offered"),
        (ran(lost=2), {}, "2 connections were lost"),
        (ran(waiting=3), {}, "0 connections were lost, 3 sign-ins never answered"),
        (ran(), {"back": 10.5}, "back to normal only after 10.5 s"),
        *[(ran(), {"highest": {name: bound + 1}}, f"{name} reached {bound + 1}") for name, bound in BOUNDS.items()],
        (ran(), {"highest": {"resident bytes": 601 * 1024 * 1024}}, "resident bytes reached"),
    ],
)
def test_each_thing_that_must_not_be_is_told(burst: _Ran, measured: dict[str, Any], told: str) -> None:
    assert any(fault.startswith(told) for fault in judged(burst, **measured))
