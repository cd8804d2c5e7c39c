"""contracts/telemetry.yaml as values: which service emits which span and metric."""

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from shared.protocol.apicodes import Apicode
from shared.runtime.device_spans import OTHER_APICODE
from shared.runtime.web_tracing import METHODS, OTHER_METHOD

FILE = Path(__file__).parents[2] / "contracts" / "telemetry.yaml"
PLACEHOLDERS = {
    "apicode": "|".join([*Apicode, OTHER_APICODE]),
    "method": "|".join(sorted([*METHODS, OTHER_METHOD])),
    "route": r"/\S*",
    "topic": r"[a-z][a-z.-]+\.v\d+",
    "operation": r"[a-z][A-Za-z]+",
    "collection": r"[a-z][a-z_.]+",
    "command": r"[A-Z]+(?: [A-Z]+)?",
}


class Metric(NamedTuple):
    """A metric as a service shows it."""

    type: str
    unit: str
    labels: frozenset[str]
    at_start: bool
    """It is shown before anything has happened."""


class Emitted(NamedTuple):
    """What one service emits."""

    spans: set[tuple[str, str]]
    """Pattern of the name, and kind."""
    metrics: dict[str, Metric]


def read_matrix() -> dict[str, Emitted]:
    """By service."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return {
        service: Emitted(
            {(span["name"], span["kind"]) for span in of_service["spans"]},
            {
                name: Metric(
                    metric["type"],
                    metric.get("unit", ""),
                    frozenset(metric.get("labels", ())),
                    metric.get("at_start", True),
                )
                for name, metric in of_service["metrics"].items()
            },
        )
        for service, of_service in services.items()
    }


def resource_attributes() -> set[str]:
    """What every process says of itself."""
    return set(yaml.safe_load(FILE.read_text(encoding="utf-8"))["resource"])


def matches(pattern: str, name: str) -> bool:
    """True where the span's name is one of the pattern's."""
    parts = re.split(r"\{(\w+)\}", pattern)
    expression = "".join(
        f"(?:{PLACEHOLDERS[part]})" if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    return re.fullmatch(expression, name) is not None
