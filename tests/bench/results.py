"""What the benchmark found, as rows: the table for people, and the machine that it was found on."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from tests.bench.generator_process import Load


@dataclass
class Row:
    """One line of the table; `cpu_microseconds` is an operation's, by kind of process."""

    name: str
    load: Load
    cpu_microseconds: dict[str, float]
    resident_mb: float
    process: str = "tcp-ingress"
    """The kind of process that is measured; its memory is `resident_mb`."""
    echo_microseconds: float | None = None
    echo_per_second: float | None = None
    more: dict[str, float] = field(default_factory=dict)

    @property
    def microseconds(self) -> float:
        """CPU of all processes that are measured together, an operation."""
        return self.cpu_microseconds[self.process]

    @property
    def ratio(self) -> float | None:
        """To the echo of the same requests; None where nothing echoes them."""
        return None if self.echo_microseconds is None else self.microseconds / self.echo_microseconds

    def as_json(self) -> dict[str, Any]:
        """All figures, without the answers themselves."""
        written = {**asdict(self), "ratio": self.ratio}
        del written["load"]["first_answers"]
        return written


def median_row(rows: Sequence[Row]) -> Row:
    """The run whose CPU is the median: its figures belong together."""
    return sorted(rows, key=lambda row: row.microseconds)[len(rows) // 2]


def median_ratio(rows: Sequence[Row]) -> float:
    """Of the runs; each ratio is of one run, so that a slow minute of the machine meets both sides of it."""
    return statistics.median(row.ratio for row in rows if row.ratio is not None)


def compare_tracing(shown: Mapping[str, Row]) -> None:
    """Adds to each row of tracing-1 and tracing-100 the ratio of its CPU to the same scenario's of tracing-0."""
    for name, row in shown.items():
        kind, _, scenario = name.removeprefix("tracing-").partition("-")
        untraced = shown.get(f"tracing-0-{scenario}")
        if name.startswith("tracing-") and kind != "0" and untraced is not None:
            row.more["ratioToUntraced"] = row.microseconds / untraced.microseconds


BESIDE = ("attendance-writer", "kafka", "session", "mongo", "redis")
QUANTILES = ("p50", "p90", "p99", "p99.9", "max")


def table(rows: Mapping[str, Row]) -> str:
    """The figures for people, by scenario."""
    columns = ("ops/s", "CPU", "echo", "ratio", *(name.removeprefix("attendance-") for name in BESIDE), "load")
    lines = [f"{'':26}{'':40}" + "".join(f"{name:>9}" for name in (*columns, *QUANTILES)) + "   MB"]
    for scenario, row in rows.items():
        echo = [row.echo_microseconds, row.ratio]
        cpu = [row.cpu_microseconds.get(name, 0) for name in BESIDE]
        numbers = [row.microseconds, *echo, *cpu, row.load.generator_microseconds]
        numbers += [row.load.milliseconds[quantile] for quantile in QUANTILES]
        lines.append(
            f"{scenario:26}{row.name:40}{row.load.per_second:9.0f}"
            + "".join(f"{'' if one is None else f'{one:.1f}':>9}" for one in numbers)
            + f"{row.resident_mb:5.0f}  "
            + "  ".join(f"{name} {value:.2f}" for name, value in row.more.items())
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    packages = ("protobuf", "aiokafka", "redis", "motor", "uvloop", "msgspec", "fastapi", "uvicorn", "aiohttp")
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "kept on": "signature checks, presence, metrics, sessions, acks=all",
    }
