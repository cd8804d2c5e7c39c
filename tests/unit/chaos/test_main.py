"""The command line of the chaos suite."""

import argparse

import pytest

from tests.chaos.__main__ import COMMANDS, main, parser
from tests.chaos.catalogue import singles


def test_the_list_shows_every_fault_with_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(singles())
    for line, fault in zip(lines, singles(), strict=True):
        assert line.startswith(fault.name)
        assert line.endswith(f"back {fault.back:g} s, fleet {fault.fleet:g} s, stored {fault.stored:g} s")


def test_every_command_of_the_parser_is_carried_out() -> None:
    (commands,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert set(commands.choices) == set(COMMANDS)


def test_nothing_is_waited_for_longer_than_the_bounds_where_nothing_else_is_said() -> None:
    chosen = parser().parse_args(["faults"])
    assert (chosen.patience, chosen.seed, chosen.quick, chosen.only) == (1.0, 1, False, None)
    assert parser().parse_args(["overload"]).seconds == 120.0
    assert parser().parse_args(["soak"]).minutes == 30.0


def test_a_command_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["havoc"])
    assert "invalid choice" in capsys.readouterr().err
