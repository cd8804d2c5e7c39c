"""The committed OpenAPI document is the console's, so that a change of the contract is seen in review.

`python -m tests.contract.test_openapi` writes it anew.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema

from tests.unit.console_service.parts import Parts
from tests.unit.console_service.test_attendance import add, add_extra, make_event

SNAPSHOT = Path(__file__).parents[2] / "contracts" / "openapi" / "console.json"


def described() -> dict[str, Any]:
    return Parts().app.openapi()


def test_the_committed_document_is_what_the_console_serves() -> None:
    assert json.loads(SNAPSHOT.read_text(encoding="utf-8")) == described(), (
        "the interface changed: if that is meant, run .venv/bin/python -m tests.contract.test_openapi and commit"
    )


def test_every_operation_has_a_summary_a_description_and_its_problems() -> None:
    for path, operations in described()["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            assert operation["summary"], name
            assert operation["description"], name
            assert operation["security"] == [{"bearer": []}], name
            for code in ("401", "422", "500", "503"):
                assert "application/problem+json" in operation["responses"][code]["content"], name


def test_every_reference_has_its_schema() -> None:
    document = described()
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text


async def test_an_attendance_page_is_as_described() -> None:
    parts = Parts()
    add(parts, make_event("e1"), make_event("e2"))
    add_extra(parts, '{"note":1}')
    await check_answer(parts, "/attendance?limit=1", "AttendancePage")
    await check_answer(parts, "/attendance/e1", "Attendance")


async def test_a_vendor_page_and_a_problem_are_as_described() -> None:
    parts = Parts()
    await check_answer(parts, "/vendors", "VendorPage")
    await check_answer(parts, "/devices", "DevicePage")
    await check_answer(parts, "/devices/none", "Problem")
    await check_answer(parts, "/devices?limit=0", "Problem")


async def check_answer(parts: Parts, target: str, schema: str) -> None:
    document = parts.app.openapi()
    answer = await parts.ask("GET", target)
    jsonschema.validate(
        answer.json(),
        {"$ref": f"#/components/schemas/{schema}", "components": document["components"]},
        cls=jsonschema.Draft202012Validator,
    )


if __name__ == "__main__":
    SNAPSHOT.parent.mkdir(parents=True, exist_ok=True)
    SNAPSHOT.write_text(json.dumps(described(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
