"""The documents name what is there: links lead somewhere, ARCHITECTURE.md's files and functions exist, and every rule
that the code cites can be looked up."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT_OUT = {".venv", ".cache", ".run", ".git", "node_modules"}


def documents() -> list[Path]:
    return [file for file in ROOT.rglob("*.md") if not KEPT_OUT & set(file.relative_to(ROOT).parts)]


def sources() -> list[Path]:
    folders = ("shared", "services", "tools", "tests")
    return [file for folder in folders for file in (ROOT / folder).rglob("*.py") if file != Path(__file__)]


def dead_links(document: Path, text: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists():
            yield target


def unknown_names(text: str) -> list[str]:
    """Python files, and functions with their classes, that a document names and the sources do not have."""
    texts = [file.read_text(encoding="utf-8") for file in sources()]
    paths = [f"/{file.relative_to(ROOT)}" for file in sources()]
    unknown = [
        name for name in re.findall(r"`([\w/-]+\.py)`", text) if not any(path.endswith(f"/{name}") for path in paths)
    ]
    for name in re.findall(r"`(\w+\.\w+|_?[a-z]+_\w+)`", text):
        if name.endswith(".py"):
            continue
        owner, _, function = name.rpartition(".")
        pattern = re.compile(rf"def {function}\(")
        if not any(pattern.search(text_of) and (not owner or f"class {owner}" in text_of) for text_of in texts):
            unknown.append(name)
    return unknown


def cited_rules(source: str) -> set[str]:
    """Rules of docs/protocol.md by their ids, design rules by their numbers."""
    rules = set(re.findall(r"\(([FMJSETC]\d{1,2})\b", source))
    rules |= {rule.upper() for rule in re.findall(r"def test_([fmjsetc]\d+)_", source)}
    return rules | {f"design rule {number}" for number in re.findall(r"design rules? (\d+)", source)}


def known_rules() -> set[str]:
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    design = (ROOT / "docs" / "design-rules.md").read_text(encoding="utf-8")
    rules = set(re.findall(r"^- ([FMJSETC]\d{1,2})\. ", protocol, re.MULTILINE))
    return rules | {f"design rule {number}" for number in re.findall(r"^(\d+)\. ", design, re.MULTILINE)}


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents()
        for target in dead_links(document, document.read_text(encoding="utf-8"))
    ]
    assert len(documents()) > 15
    assert dead == []


def test_architecture_names_files_and_functions_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert "`Connection.data_received`" in text
    assert unknown_names(text) == []


def test_what_is_not_there_is_found() -> None:
    text = "see [x](nowhere.md#part) and [y](README.md), `gone.py`, `handlers.py`, `Handlers.fly`, `verify_request`"
    assert list(dead_links(ROOT / "any.md", text)) == ["nowhere.md"]
    assert unknown_names(text) == ["gone.py", "Handlers.fly"]


def test_every_rule_that_is_cited_can_be_looked_up() -> None:
    cited = {rule for file in sources() for rule in cited_rules(file.read_text(encoding="utf-8"))}
    assert {"F3", "J1", "S4", "design rule 9"} <= cited
    assert sorted(cited - known_rules()) == []
    assert cited_rules("as F9 says (F8, M1); design rule 44; def test_e99_") - known_rules() == {
        "F8",
        "design rule 44",
        "E99",
    }


def test_every_chinese_document_has_its_twin() -> None:
    chinese = [file for file in documents() if file.name.endswith(".zh-CN.md")]
    assert len(chinese) >= 2
    assert [file for file in chinese if not file.with_name(file.name.replace(".zh-CN", "")).exists()] == []
