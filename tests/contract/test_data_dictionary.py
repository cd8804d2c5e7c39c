"""docs/data-dictionary.md and its Chinese twin against contracts/: every member and header, with type and class."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "contracts" / "events"
ENGLISH = (ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "docs" / "data-dictionary.zh-CN.md").read_text(encoding="utf-8")

CLASSES = {"technical", "personal", "sensitive", "biometric"}
TOPICS = {
    "attendance.sign-in.v1": "attendance.sign-in.v1.schema.json",
    "attendance.sensitive.v1": "attendance.sensitive.v1.details.schema.json",
    "device.presence.v1": "device.presence.v1.schema.json",
    "device.task.v1": "device.task.v1.schema.json",
}

Rows = dict[str, tuple[str, str]]
"""Name to type and class."""


def section(document: str, number: int) -> str:
    """The section of this number; both languages have the same."""
    return re.split(r"^## ", document, flags=re.MULTILINE)[number]


def table(text: str) -> Rows:
    """The rows of a section's table of members or headers."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    five = [row for row in cells if len(row) == 5][2:]
    assert len({row[0] for row in five}) == len(five)
    return {row[0]: (row[1], row[4].strip("`")) for row in five}


def type_names(schema: dict[str, Any]) -> list[str]:
    """The JSON types that a schema lets pass."""
    if "anyOf" in schema:
        return [name for one in schema["anyOf"] for name in type_names(one)]
    if "type" in schema:
        return list(schema["type"]) if isinstance(schema["type"], list) else [schema["type"]]
    values = schema.get("enum", [schema.get("const")])
    return ["string", "null"] if None in values else ["string"]


def members(schema: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Name to type as the dictionary writes it, members of members with a dot."""
    found: dict[str, str] = {}
    for name, member in schema.get("properties", {}).items():
        absent = "" if name in schema.get("required", ()) else "?"
        found[prefix + name] = "/".join(type_names(member)) + absent
        for one in member.get("anyOf", [member]):
            found |= members(one, f"{prefix}{name}.")
    return found


def contract(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / name).read_text(encoding="utf-8"))
    return loaded


def headers() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(EVENTS.iterdir()):
        for name, kind in members(contract(path.name)["$defs"]["headers"]).items():
            assert found.setdefault(name, kind) == kind
    return found


@pytest.mark.parametrize("document", [ENGLISH, CHINESE], ids=["english", "chinese"])
@pytest.mark.parametrize("topic", TOPICS)
def test_every_member_of_a_topic_is_in_the_dictionary_with_its_type(topic: str, document: str) -> None:
    text = section(document, 1 + list(TOPICS).index(topic))
    assert text.startswith(f"{topic}\n")
    assert {name: kind for name, (kind, _) in table(text).items()} == members(contract(TOPICS[topic]))


@pytest.mark.parametrize("document", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_every_header_is_in_the_dictionary_with_its_type(document: str) -> None:
    assert {name: kind for name, (kind, _) in table(section(document, 7)).items()} == headers()


def test_both_languages_class_every_member_alike_and_by_a_class_that_is_explained() -> None:
    for number in (1, 2, 3, 4, 7):
        classes = {name: kind for name, (_, kind) in table(section(ENGLISH, number)).items()}
        assert classes == {name: kind for name, (_, kind) in table(section(CHINESE, number)).items()}
        assert set(classes.values()) <= CLASSES
    for document in (ENGLISH, CHINESE):
        explained = re.findall(r"^\| `(\w+)` \|", section(document, 0), flags=re.MULTILINE)
        assert set(explained) == CLASSES


def test_design_9_nothing_biometric_is_outside_the_topics_that_the_writer_alone_reads() -> None:
    for number in (1, 3, 4, 7):
        assert "biometric" not in {kind for _, kind in table(section(ENGLISH, number)).values()}
    assert {kind for _, kind in table(section(ENGLISH, 2)).values()} == {"biometric"}


@pytest.mark.parametrize("document", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_the_synthetic_topic_is_explained_and_named_as_none_for_consumers(document: str) -> None:
    text = section(document, 6)
    assert text.startswith("attendance.synthetic.v1\n")
    assert "`attendance.sign-in.v1`" in text
    assert "0022" in text


def test_what_is_missing_or_of_another_type_is_found() -> None:
    text = section(ENGLISH, 1)
    known = members(contract(TOPICS["attendance.sign-in.v1"]))
    without = {name: kind for name, (kind, _) in table(re.sub(r"\| personId .*\n", "", text)).items()}
    assert known.keys() - without.keys() == {"personId"}
    wrong = {name: kind for name, (kind, _) in table(text.replace("| integer/null? |", "| integer |")).items()}
    assert {name for name in known if known[name] != wrong[name]} == {"bitType"}
