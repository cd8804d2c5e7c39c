"""One target under libFuzzer: `python -m tests.fuzz.worker TARGET arguments…`, started by campaign.py, which puts
atheris into PYTHONPATH."""

import importlib
import sys

from tests.fuzz.targets import TARGETS, UNDER_TEST, check_of, run_bounded


def main(target: str, arguments: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    assert target in TARGETS
    atheris = importlib.import_module("atheris")  # not an import: .venv, and so mypy, has none
    with atheris.instrument_imports(include=list(UNDER_TEST)):
        check = check_of(target)
    atheris.Setup([sys.argv[0], *arguments], lambda data: run_bounded(check, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
