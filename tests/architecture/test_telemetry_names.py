"""Spans and attributes come from the registry, docs/telemetry.md explains all of them, and the rest are conventions."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from shared.runtime import telemetry_names

ROOT = Path(__file__).parents[2]
REGISTRY = Path(telemetry_names.__file__)
OWN_PREFIX = "site_access."
SPAN_NAME_AT = {"start": 0, "child": 0, "child_of": 1}
"""Which argument of these calls is the span's name."""
ASGI_MESSAGES = {"http.request", "http.response.start", "http.response.body", "http.disconnect"}


def sources() -> list[Path]:
    return [
        file
        for folder in ("shared/src", "services")
        for file in (ROOT / folder).rglob("*.py")
        if "generated" not in file.parts and file != REGISTRY
    ]


def registered() -> set[str]:
    return {value for name, value in vars(telemetry_names).items() if name.isupper()}


def conventions() -> set[str]:
    """Every attribute of OpenTelemetry's semantic conventions."""
    found: set[str] = set()
    for package in ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            members = vars(importlib.import_module(f"{package}.{module.name}")).values()
            found |= {value for value in members if isinstance(value, str) and "." in value}
    return found


def strings(tree: ast.AST) -> Iterator[str]:
    """Strings that stand as a value; no docstrings."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def attributes_in(source: str) -> set[str]:
    """What looks like an attribute's name of OpenTelemetry's or ours."""
    spaces = r"(?:site_access|messaging|db|http|url|network|client|server|error|service|peer)"
    names = {text for text in strings(ast.parse(source)) if re.fullmatch(spaces + r"(?:\.[a-z_]+)+", text)}
    return names - ASGI_MESSAGES


def names_written_at_the_call(source: str) -> list[str]:
    """Spans whose name is no constant of the registry."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = SPAN_NAME_AT.get(called)
            if position is not None and position < len(node.args):
                name = node.args[position]
                if isinstance(name, ast.JoinedStr) or (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                    found.append(ast.unparse(name))
    return found


def documented(text: str) -> set[str]:
    """Spans and attributes of our own that the page's tables begin their rows with."""
    rows = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    return {row for row in rows if "{" in row or row.startswith(OWN_PREFIX) or not re.search(r"OTEL_|\.", row)}


def test_every_attribute_is_of_the_registry_or_of_opentelemetrys_conventions() -> None:
    known = conventions()
    used = {name: file.name for file in sources() for name in attributes_in(file.read_text(encoding="utf-8"))}
    assert {"db.system.name", "messaging.destination.name", "http.route", "error.type"} <= used.keys()
    assert {name: file for name, file in used.items() if name not in known} == {}


def test_no_span_is_named_where_it_is_started() -> None:
    written = {file.name: names_written_at_the_call(file.read_text(encoding="utf-8")) for file in sources()}
    assert {name: found for name, found in written.items() if found} == {}


def test_the_page_explains_what_is_registered_and_nothing_else() -> None:
    text = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    assert documented(text) == registered()


def test_what_breaks_these_rules_is_found() -> None:
    source = (
        'def f(span, x):\n    "site_access.doc"\n    span.child(f"made {x}", 1, {"site_access.new": 1, "db.sort": 2})\n'
    )
    source += '    child_of(span, "made", 2)\n    self.start(NAME, 1)\n'
    assert attributes_in(source) == {"site_access.new", "db.sort"}
    assert not {"site_access.new", "db.sort"} & (conventions() | registered())
    assert names_written_at_the_call(source) == ["f'made {x}'", "'made'"]
    assert documented("| `OTEL_X` | x |\n| `{a} b` | x |\n| `site_access.x` | x |\n| `batch process` | x |") == {
        "{a} b",
        "site_access.x",
        "batch process",
    }
