"""docs/hostile-input.md names tests that exist, in the files that it says, for every kind of attack."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hostile-input.md"


def rows(text: str) -> list[str]:
    """The rows of its tables, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("|---", "| attack |"))]


def named_tests(row: str) -> Iterator[tuple[str, str]]:
    """File and test, of every test that the row names."""
    for file, tests in re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", row):
        for test in re.findall(r"`(test_\w+)`", tests):
            yield file, test


def missing(text: str) -> list[tuple[str, str]]:
    """What is named and is not there; of files with one name any may have the test."""
    found: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        found[path.name] = found.get(path.name, "") + path.read_text(encoding="utf-8")
    named = [pair for row in rows(text) for pair in named_tests(row)]
    return [(file, test) for file, test in named if f"def {test}(" not in found.get(file, "")]


def test_every_attack_of_the_page_names_tests_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(rows(text)) > 30
    assert [row for row in rows(text) if not list(named_tests(row))] == []
    assert missing(text) == []


def test_a_test_that_is_not_there_would_be_found() -> None:
    text = "| x | y | z | `test_frames.py`: `test_gone`, `test_f1_a_varint_is_written_in_its_shortest_form` |"
    assert missing(text) == [("test_frames.py", "test_gone")]
