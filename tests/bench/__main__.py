"""The benchmark: `make bench` prints a table and writes its figures as JSON. It starts the platforms that it measures.

One ingress process has a core of its own; broker, databases, the other services and the load share the last core. CPU
is read from /proc, so it runs on Linux. Absolute figures are a machine's; what can be compared is the ratio to the echo
of the same run, which answers the same frames without looking at them.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.benchmark_stack import BenchmarkStack, EchoServer, benchmark_stack
from tests.bench.device_scenarios import DeviceBench, Row

Scenario = Callable[[DeviceBench], Awaitable[Row]]
SCENARIOS: dict[str, Scenario] = {
    "heartbeat-1": lambda bench: bench.heartbeats(1, 400),
    "heartbeat-16": lambda bench: bench.heartbeats(16, 2_000),
    "sign-in-16": lambda bench: bench.sign_ins(16, 400, with_picture=False),
    "sign-in-picture-4": lambda bench: bench.sign_ins(4, 60, with_picture=True),
    "sign-in-open": lambda bench: bench.open_loop("sign-in", 100, 2_000),
    "sign-in-picture-open": lambda bench: bench.open_loop("sign-in with 30 KB", 30, 300, with_picture=True),
    "morning": lambda bench: bench.morning(110, 1_000),
    "storm": lambda bench: bench.storm(5_000, 200),
    "idle": lambda bench: bench.idle(10_000, 3),
    "writer": lambda bench: bench.writer(200),
}


async def measure(stack: BenchmarkStack, echo: EchoServer, chosen: argparse.Namespace) -> dict[str, list[Row]]:
    """Each scenario so many times, in turns, so that a slow minute of the machine meets all of them."""
    bench = DeviceBench(stack, echo, chosen.connections)
    await bench.authenticate()
    rows: dict[str, list[Row]] = {name: [] for name in chosen.only}
    for number in range(chosen.runs):
        for name in chosen.only:
            print(f"run {number + 1} of {chosen.runs}: {name} …", file=sys.stderr, flush=True)
            rows[name].append(await SCENARIOS[name](bench))
    return rows


def median_row(rows: Sequence[Row]) -> Row:
    """The run whose CPU is the median: its figures belong together."""
    return sorted(rows, key=lambda row: row.ingress_microseconds)[len(rows) // 2]


def table(rows: Sequence[Row]) -> str:
    """The figures for people."""
    lines = [
        f"{'':44}{'ops/s':>8}{'ingress':>9}{'echo':>7}{'ratio':>7}{'writer':>8}{'kafka':>8}{'session':>8}"
        f"{'p50':>8}{'p99':>8}{'p99.9':>8}{'max':>8}  MB"
    ]
    for row in rows:
        echo = row.echo_microseconds
        cpu = [row.cpu_microseconds.get(name, 0) for name in ("attendance-writer", "kafka", "session")]
        lines.append(
            f"{row.name:44}{row.load.per_second:8.0f}{row.ingress_microseconds:9.1f}"
            + (f"{echo:7.1f}{row.ingress_microseconds / echo:7.1f}" if echo else f"{'':14}")
            + "".join(f"{one:8.1f}" for one in cpu)
            + "".join(f"{row.load.milliseconds[q]:8.1f}" for q in ("p50", "p99", "p99.9", "max"))
            + f"{row.resident_mb:5.0f}  "
            + "  ".join(f"{name} {value:.2f}" for name, value in row.more.items())
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    packages = ("protobuf", "aiokafka", "redis", "motor", "uvloop", "msgspec", "fastapi")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "kept on": "signature checks, presence, metrics, sessions, acks=all",
    }


def main() -> None:
    """Reads the arguments, measures, prints, writes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="scenarios (default all)")
    parser.add_argument("--runs", type=int, default=5, help="runs; the one of median CPU is shown (default 5)")
    parser.add_argument("--connections", type=int, default=50, help="terminals at work (default 50)")
    parser.add_argument("--ingress", type=int, default=1, help="ingress processes, a core each (default 1)")
    parser.add_argument("--json", type=Path, default=Path(".run/bench.json"), help="file of results")
    chosen = parser.parse_args()
    echo = EchoServer()
    try:
        with benchmark_stack(chosen.ingress) as stack:
            rows = uvloop.run(measure(stack, echo, chosen))
    finally:
        echo.close()
    shown = [median_row(one) for one in rows.values()]
    print(table(shown))
    print("CPU in µs an operation, of all processes of a kind; times in ms; medians of", chosen.runs)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(
        json.dumps({"machine": machine(), "rows": {name: [asdict(row) for row in one] for name, one in rows.items()}})
    )


if __name__ == "__main__":
    main()
