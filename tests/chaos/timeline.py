"""The timeline: what was done when, what terminals saw of it, and how soon all was well; its bounds are judged here."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

UNKNOWN_TOKEN = "401_01"
NEVER = float("inf")


@dataclass(frozen=True)
class Recovery:
    """Seconds from the healing of a fault, or the bounds of these."""

    back: float
    fleet: float
    stored: float

    def times(self, patience: float) -> "Recovery":
        """For a machine so much slower."""
        return Recovery(self.back * patience, self.fleet * patience, self.stored * patience)


@dataclass(frozen=True)
class Happening:
    """One fault of a run, from its begin to what followed."""

    at: float
    """Seconds since the run began."""
    name: str
    lasted: float
    seen: Counter[str] = field(default_factory=Counter)
    """What terminals saw, from the begin of the fault to the end of what followed."""
    took: Recovery = field(default_factory=lambda: Recovery(0, 0, 0))
    bound: Recovery = field(default_factory=lambda: Recovery(NEVER, NEVER, NEVER))
    faults: tuple[str, ...] = ()
    """What else was wrong with it."""
    left_out: str = ""
    """Why it was not done."""

    @property
    def broken(self) -> list[str]:
        """Each bound that was missed, and what else was wrong."""
        pairs = (
            ("the platform was back", self.took.back, self.bound.back),
            ("terminals were back", self.took.fleet, self.bound.fleet),
            ("what was acknowledged was stored", self.took.stored, self.bound.stored),
        )
        late = [
            f"{what} after {_seconds(took)}, bound {_seconds(bound)}" for what, took, bound in pairs if took > bound
        ]
        return [f"{self.name}: {what}" for what in [*late, *self.faults]]

    def line(self) -> str:
        """For people."""
        if self.left_out:
            return f"[{self.at:6.1f} s] {self.name}: LEFT OUT, {self.left_out}"
        seen = ", ".join(f"{what} ×{count}" for what, count in self.seen.most_common()) or "nothing"
        took, bound = self.took, self.bound
        verdict = "" if not self.broken else "  << " + "; ".join(self.broken)
        return (
            f"[{self.at:6.1f} s] {self.name} ({self.lasted:.1f} s): terminals saw {seen}; "
            f"back after {_seconds(took.back)}/{_seconds(bound.back)}, fleet {_seconds(took.fleet)}/"
            f"{_seconds(bound.fleet)}, stored {_seconds(took.stored)}/{_seconds(bound.stored)}{verdict}"
        )


def table(happenings: Iterable[Happening]) -> str:
    """All of a run, in Markdown."""
    rows = ["| fault | lasted | back | fleet back | stored |", "|---|---|---|---|---|"]
    for one in happenings:
        if one.left_out:
            rows.append(f"| {one.name} | left out: {one.left_out} | | | |")
            continue
        cells = [
            f"{took:.1f} of {bound:.0f} s"
            for took, bound in (
                (one.took.back, one.bound.back),
                (one.took.fleet, one.bound.fleet),
                (one.took.stored, one.bound.stored),
            )
        ]
        rows.append(f"| {one.name} | {one.lasted:.1f} s | {' | '.join(cells)} |")
    return "\n".join(rows)


def _seconds(seconds: float) -> str:
    return "never" if seconds == NEVER else f"{seconds:.1f} s"
