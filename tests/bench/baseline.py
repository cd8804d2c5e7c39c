"""What was measured when the hot path was last judged good, and the comparison with it. Nothing is measured here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED_LOSS = 0.15


@dataclass(frozen=True)
class Figures:
    """Each the smaller the better, by name; and the machine that they are of."""

    machine: Mapping[str, Any]
    ratios: Mapping[str, float]
    """CPU of the ingress to that of the echo of the same frames in the same run."""
    instructions: Mapping[str, float] | None
    """Of one request; None where valgrind is missing."""


def losses(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """What is lost by more than is allowed, and what is not measured any more, a line each."""
    lines = []
    for name, figure in before.items():
        if name not in now:
            lines.append(f"{name}: {figure:.2f} before, and not measured now")
        elif now[name] > figure * (1 + ALLOWED_LOSS):
            lines.append(f"{name}: {figure:.2f} before, {now[name]:.2f} now, {now[name] / figure - 1:+.0%}")
    return lines


def compared(before: Mapping[str, float], now: Mapping[str, float]) -> Sequence[str]:
    """A line for each figure, for people."""
    return [
        f"{name:40}{before[name]:14.2f}{now[name]:14.2f}{now[name] / before[name] - 1:+9.1%}"
        if name in before
        else f"{name:40}{'':14}{now[name]:14.2f}      new"
        for name in now
    ]


def write(figures: Figures, path: Path = BASELINE) -> None:
    """Replaces the baseline."""
    path.write_text(json.dumps(asdict(figures), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read(path: Path = BASELINE) -> Figures:
    """The baseline. Raises FileNotFoundError where none was written."""
    return Figures(**json.loads(path.read_text(encoding="utf-8")))
