"""`make bench-check`: fails where an operation costs more than 15 % more than in baseline.json; takes two minutes.

    .venv/bin/python -m tests.bench.check                     compares
    .venv/bin/python -m tests.bench.check --write-baseline    measures the same, and writes it down as the new baseline

CPU is compared as the ratio to the echo of the same run, so that a slower machine or a slow minute changes little. What
is counted in instructions (core_instructions.py) no other process disturbs; another version of Python changes it.
"""

import argparse
import sys

from tests.bench.baseline import ALLOWED_LOSS, BASELINE, Figures, compared, losses, read, write
from tests.bench.core_instructions import instructions
from tests.bench.results import machine, median_ratio
from tests.bench.scenarios import measure

ROWS = ("heartbeat-16", "sign-in-16", "sign-in-picture-4")
"""Not heartbeat-1, whose ratio of the same code was 3.3 and 4.5 within minutes: there the kernel is most of it."""
RUNS = 3
CONNECTIONS = 50


def measured() -> Figures:
    """The figures of now."""
    counted = instructions()
    rows = measure(ROWS, RUNS, CONNECTIONS)
    return Figures(machine(), {name: median_ratio(one) for name, one in rows.items()}, counted)


def verdict(before: Figures, now: Figures) -> int:
    """Prints the comparison; the exit code, 1 where something is lost."""
    print(f"\nCPU of the ingress, as the ratio to the echo{'':4}before           now   change")
    print("\n".join(compared(before.ratios, now.ratios)))
    lost = losses(before.ratios, now.ratios)
    if now.instructions is None:
        print("valgrind is missing: instructions were NOT compared (Debian: apt-get install valgrind)")
    elif before.instructions is None:
        print("the baseline was written without valgrind: instructions were NOT compared")
    else:
        print("instructions of one request, without socket and broker")
        print("\n".join(compared(before.instructions, now.instructions)))
        lost += losses(before.instructions, now.instructions)
    for name, was in before.machine.items():
        if now.machine.get(name) != was:
            print(f"the baseline is of another machine: {name} was {was}, is {now.machine.get(name)}")
    print("\n".join(f"LOST {line}" for line in lost) or f"nothing is lost by more than {ALLOWED_LOSS:.0%}")
    return 1 if lost else 0


def main() -> int:
    """The command line; exit code 2 where there is no baseline."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write-baseline", action="store_true", help="write down what is measured, compare nothing")
    if parser.parse_args().write_baseline:
        figures = measured()
        write(figures)
        print("\n".join(f"{name:40}{figure:14.2f}" for name, figure in figures.ratios.items()))
        print("\n".join(f"{name:40}{figure:14.0f}" for name, figure in (figures.instructions or {}).items()))
        print(
            f"written to {BASELINE}" + ("" if figures.instructions else ", WITHOUT instructions: valgrind is missing")
        )
        return 0
    try:
        before = read()
    except FileNotFoundError:
        print(f"there is no {BASELINE.name}: write it with `python -m tests.bench.check --write-baseline`")
        return 2
    return verdict(before, measured())


if __name__ == "__main__":
    sys.exit(main())
