"""docs/metrics.md names every metric that a service's metrics.py and part_metrics.py define, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = r"(?:tcp_ingress|session|attendance_writer|task_api|console)_[a-z{][a-z_{}]*"


def defined() -> set[str]:
    """As Prometheus shows them but for `_total`; a name that is filled in at run time has {…} in it."""
    sources = [file.read_text(encoding="utf-8") for file in ROOT.glob("services/*/src/*/*metrics.py")]
    return {name.removesuffix("_total") for source in sources for name in re.findall(f'f?"({OWN})"', source)}


def documented(text: str) -> set[str]:
    return {name.removesuffix("_total") for name in re.findall(f"^\\| `({OWN})`", text, re.MULTILINE)}


def unmatched(defined_names: set[str], documented_names: set[str]) -> set[str]:
    """Names that stand on one side only."""
    patterns = {name: re.compile(re.sub(r"\\\{\w+\\\}", "[a-z_]+", re.escape(name))) for name in defined_names}
    missing = {
        name for name, pattern in patterns.items() if not any(pattern.fullmatch(other) for other in documented_names)
    }
    unknown = {name for name in documented_names if not any(pattern.fullmatch(name) for pattern in patterns.values())}
    return missing | unknown


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert len(defined()) > 20
    assert unmatched(defined(), documented(text)) == set()


def test_a_metric_on_one_side_only_is_found() -> None:
    text = "| `tcp_ingress_answers_total` | x |\n| `tcp_ingress_sign_in_batches_total` | x |\n| `console_gone` | x |\n"
    names = {"tcp_ingress_answers", "tcp_ingress_{name}_batches", "session_added"}
    assert unmatched(names, documented(text)) == {"console_gone", "session_added"}
