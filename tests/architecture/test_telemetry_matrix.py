"""contracts/telemetry.yaml, the code and the pages that explain it name the same. That services emit it, and nothing
else, is tests/e2e/test_telemetry_full_run.py's."""

import re
from pathlib import Path

from shared.runtime import telemetry_names
from tests.support.telemetry_matrix import Metric, matches, read_matrix

ROOT = Path(__file__).parents[2]
PREFIXES = {
    "tcp-ingress": "tcp_ingress",
    "session": "session",
    "attendance-writer": "attendance_writer",
    "console": "console",
    "task-api": "task_api",
}
HTTP = {"http_server_request_duration_seconds", "http_server_active_requests"}
"""FastAPI's own, by OpenTelemetry's conventions."""
UNITS = {"s": "_seconds", "By": "bytes"}


def defined(source: str, prefix: str) -> set[str]:
    """As Prometheus shows them but for `_total`; a name that is filled in at run time has {…} in it."""
    return {name.removesuffix("_total") for name in re.findall(f'f?"({prefix}_[a-z{{][a-z_{{}}]*)"', source)}


def documented(text: str, prefix: str) -> dict[str, frozenset[str]]:
    """The rows of the page's tables: name, and labels."""
    rows = re.findall(rf"^\| `({prefix}_[a-z_]+)` \| ([a-z_, ]*)\|", text, re.MULTILINE)
    return {name: frozenset(re.findall(r"\w+", labels)) for name, labels in rows}


def unmatched(defined_names: set[str], shown_names: set[str]) -> set[str]:
    """Names that stand on one side only."""
    patterns = {name: re.compile(re.sub(r"\\\{\w+\\\}", "[a-z_]+", re.escape(name))) for name in defined_names}
    missing = {name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, shown_names))}
    return missing | {name for name in shown_names if not any(pattern.fullmatch(name) for pattern in patterns.values())}


def misnamed(metrics: dict[str, Metric]) -> set[str]:
    """Metrics whose name does not end as their type and unit want it."""
    return {
        name
        for name, metric in metrics.items()
        if name.endswith("_total") != (metric.type == "counter")
        or {unit for unit, word in UNITS.items() if word in name} != ({metric.unit} - {""})
    }


def registered_spans() -> set[str]:
    return {value for name, value in vars(telemetry_names).items() if name.endswith("_SPAN")}


def test_every_service_is_in_the_matrix() -> None:
    assert read_matrix().keys() == PREFIXES.keys() == {path.name for path in (ROOT / "services").iterdir()}


def test_the_code_defines_what_the_matrix_says() -> None:
    for service, emitted in read_matrix().items():
        files = (ROOT / "services" / service).glob("src/*/*metrics.py")
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        shown = {name.removesuffix("_total") for name in emitted.metrics.keys() - HTTP}
        assert unmatched(defined(source, PREFIXES[service]), shown) == set(), service


def test_the_page_explains_every_metric_with_its_labels_and_no_other() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for service, emitted in read_matrix().items():
        wanted = {name: metric.labels for name, metric in emitted.metrics.items() if name not in HTTP}
        assert documented(text, PREFIXES[service]) == wanted
    assert all(f"`{name}`" in text for name in HTTP)


def test_names_end_as_type_and_unit_want_it() -> None:
    assert set().union(*(misnamed(emitted.metrics) for emitted in read_matrix().values())) == set()


def test_the_matrix_has_every_span_of_the_registry_and_no_other() -> None:
    assert {name for emitted in read_matrix().values() for name, _ in emitted.spans} == registered_spans()


def test_what_differs_is_found() -> None:
    assert unmatched({"a_x", "a_{name}_y", "a_gone"}, {"a_x", "a_one_y", "a_new"}) == {"a_gone", "a_new"}
    assert defined('f("a_x_total", f"a_{name}_y", "b_z")', "a") == {"a_x", "a_{name}_y"}
    rows = documented("| `a_x_total` | vendor, outcome | x |\n| `a_y` | | y |\n| `b_z` | | z |\n", "a")
    assert rows == {"a_x_total": {"vendor", "outcome"}, "a_y": frozenset()}
    counter, gauge = Metric("counter", "", frozenset(), True), Metric("gauge", "s", frozenset(), True)
    wrong = {"a": counter, "b_total": gauge, "c_seconds": gauge, "d_bytes": gauge, "e_total": counter}
    assert misnamed(wrong) == {"a", "b_total", "d_bytes"}


def test_a_pattern_takes_its_own_names_alone() -> None:
    for pattern, name in (
        ("device {apicode}", "device C_AUTH"),
        ("{method} {route}", "GET /api/v1/devices/{sn}"),
        ("{topic} publish", "attendance.sign-in.v1 publish"),
        ("{operation} {collection}", "findAndModify roster_reports"),
        ("{command}", "SCRIPT LOAD"),
    ):
        assert [one for one in sorted(registered_spans()) if matches(one, name)] == [pattern]
    assert not matches("device {apicode}", "device C_EVIL")
