"""The rules and dashboards of deploy/k8s/components/monitoring, as tests read them."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tools.k8s_check.rendering import DEPLOY

MONITORING = DEPLOY / "components" / "monitoring"
METRICS_PAGE = DEPLOY.parents[1] / "docs" / "metrics.md"
OF_PROMETHEUS = {"up", "ALERTS"}

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_WORDS = {"and", "or", "unless", "offset", "bool", "sum", "min", "max", "avg", "count", "topk"}


class Panel(NamedTuple):
    """A panel of a dashboard, with what it asks."""

    dashboard: str
    title: str
    expressions: tuple[str, ...]


@cache
def rule_file() -> Mapping[str, Any]:
    """The groups, as a rule file of Prometheus."""
    spec: Mapping[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))["spec"]
    return spec


def rules() -> Iterator[Mapping[str, Any]]:
    """Every rule."""
    for group in rule_file()["groups"]:
        yield from group["rules"]


def alerts() -> dict[str, Mapping[str, Any]]:
    """The alerts by name, each of which is there once."""
    found = [rule for rule in rules() if "alert" in rule]
    by_name = {rule["alert"]: rule for rule in found}
    assert len(by_name) == len(found), "two alerts of one name"
    return by_name


def dashboards() -> dict[str, Mapping[str, Any]]:
    """The dashboards by file name."""
    files = sorted((MONITORING / "dashboards").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def panels() -> list[Panel]:
    """Every panel that asks something."""
    return [
        Panel(name, panel["title"], tuple(target["expr"] for target in panel["targets"]))
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    ]


def filled_in(expression: str, rate_interval: str) -> str:
    """An expression of a panel as Grafana sends it where all variables say All."""
    filled = expression.replace("$__rate_interval", rate_interval)
    return re.sub(r"\$\w+", ".*", filled)


def metric_names(expression: str) -> set[str]:
    """The metrics and recording rules that an expression reads."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    names = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", text)
    return {name for name in names if name not in _WORDS}


def documented_metrics() -> set[str]:
    """Names that docs/metrics.md has; histograms with the names of their series."""
    page = METRICS_PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)[`{]", page))
    return names | {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}


def recorded() -> set[str]:
    """What recording rules give."""
    return {rule["record"] for rule in rules() if "record" in rule}


def shortened(groups: Mapping[str, Any], divisor: int, times_divisor: int) -> dict[str, Any]:
    """The rule file with all durations divided, and all times that are written as N * 60 by a divisor of their own.
    Groups are evaluated as often as Prometheus does by itself."""
    return {
        "groups": [
            {"name": group["name"], "rules": [_shortened(rule, divisor, times_divisor) for rule in group["rules"]]}
            for group in groups["groups"]
        ]
    }


def _shortened(rule: Mapping[str, Any], divisor: int, times_divisor: int) -> dict[str, Any]:
    expression = re.sub(
        r"(\[|offset )(\d+)(ms|[smhd])", lambda found: found[1] + _divided(found[2], found[3], divisor), rule["expr"]
    )
    short = {**rule, "expr": re.sub(r"\* 60\b", f"* {60 / times_divisor:g}", expression)}
    if "for" in rule:
        short["for"] = re.sub(r"(\d+)(ms|[smhd])", lambda found: _divided(found[1], found[2], divisor), rule["for"])
    return short


def _divided(number: str, unit: str, divisor: int) -> str:
    return f"{int(number) * _UNITS[unit] // divisor}ms"


def write_rule_file(file: Path) -> None:
    """The rules for promtool."""
    file.write_text(yaml.safe_dump(dict(rule_file()), allow_unicode=True), encoding="utf-8")
