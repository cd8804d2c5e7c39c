"""The benchmark: `make bench` prints a table and writes its figures as JSON. It starts the platforms that it measures.

One ingress process has a core of its own; broker, databases, the other services and the load share the last core. CPU
is the kernel's clock of each process, so it runs on Linux. Absolute figures are a machine's; what can be compared is
the ratio to the echo of the same run, which answers the same requests without looking at them (docs/performance.md).
"""

import argparse
import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.bench.results import compare_tracing, machine, median_row, table
from tests.bench.scenarios import LONG, SCENARIOS, measure


def chosen_names(patterns: Sequence[str] | None) -> list[str]:
    """The scenarios that are named, in their order; all but the long ones where none is. Raises SystemExit where a
    pattern names none."""
    if patterns is None:
        return [name for name in SCENARIOS if name not in LONG]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in SCENARIOS):
            raise SystemExit(f"{pattern} names none of the scenarios:\n  " + "\n  ".join(SCENARIOS))
    return [name for name in SCENARIOS if any(fnmatch(name, pattern) for pattern in patterns)]


def main() -> None:
    """Reads the arguments, measures, prints, writes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="scenarios by name or pattern, as 'two-*' (default all but growth-*)")
    parser.add_argument("--runs", type=int, default=5, help="runs; the one of median CPU is shown (default 5)")
    parser.add_argument("--connections", type=int, default=50, help="terminals at work (default 50)")
    parser.add_argument("--json", type=Path, default=Path(".run/bench.json"), help="file of results")
    chosen = parser.parse_args()
    rows = measure(chosen_names(chosen.only), chosen.runs, chosen.connections)
    shown = {name: median_row(one) for name, one in rows.items()}
    compare_tracing(shown)
    found = machine()
    print(f"{found['cores']} cores {found['processor']}, Python {found['python']}, {found['system']}; kept on:")
    print(f"{found['kept on']}")
    print(table(shown))
    print("CPU in µs an operation, of all processes of a kind; times in ms; medians of", chosen.runs)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    results = {name: [row.as_json() for row in one] for name, one in rows.items()}
    chosen.json.write_text(json.dumps({"machine": found, "rows": results}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
