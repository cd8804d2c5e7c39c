"""The committed OpenAPI document is the console's, so that a change of the contract is seen in review.

`python -m tests.contract.test_openapi` writes it anew.
"""

import json
from collections.abc import Iterator
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
            security: list[dict[str, list[str]]] = (
                [] if path.endswith(("/sign-in", "/sign-out")) else [{"bearer": []}, {"cookie": []}]
            )
            assert operation.get("security", []) == security, name
            for code in ("401", "403", "422", "500", "503"):
                assert "application/problem+json" in operation["responses"][code]["content"], name


def test_every_operation_declares_the_problems_that_follow_from_what_it_takes() -> None:
    problems = {
        f"{method.upper()} {path.removeprefix('/api/v1')}": {
            code for code in operation["responses"] if code >= "400" and code not in ("401", "403", "422", "500", "503")
        }
        for path, operations in described()["paths"].items()
        for method, operation in operations.items()
    }
    for name, codes in problems.items():
        assert ("404" in codes) >= ("{" in name), name
    assert problems["GET /sites"] == {"400"}
    assert problems["POST /sites"] == {"400", "408", "413"}
    assert problems["PATCH /devices/{sn}"] == {"400", "404", "408", "413"}
    assert problems["POST /tasks"] == {"400", "404", "408", "413"}
    assert problems["POST /tasks/{taskid}/cancel"] == {"404", "409"}
    assert problems["POST /campaigns/{campaignId}/pause"] == {"404", "409"}
    assert problems["GET /attendance"] == problems["GET /persons"] == problems["GET /live"] == {"400", "404"}
    assert problems["GET /attendance/export"] == {"404"}
    assert problems["POST /persons/import"] == {"400", "408", "413", "415"}
    assert problems["PUT /persons/{personId}/face"] == {"400", "404", "408", "413"}
    assert problems["POST /firmware"] == {"400", "408", "409", "413", "415"}


def test_every_operation_has_an_example_of_what_it_takes_and_gives() -> None:
    document = described()
    lacking = [
        f"{method} {path}: {lack}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for lack in lacks(document, operation)
    ]
    assert not lacking


def test_an_example_that_is_missing_is_noticed() -> None:
    document: dict[str, Any] = {"components": {"schemas": {"Site": {"properties": {"name": {"type": "string"}}}}}}
    site = {"application/json": {"schema": {"$ref": "#/components/schemas/Site"}}}
    operation = {
        "parameters": [{"name": "sn", "description": "", "schema": {"type": "string", "examples": ["SN1"]}}],
        "requestBody": {"content": site},
        "responses": {"200": {"content": site}, "204": {"description": "done"}},
    }
    assert list(lacks(document, operation)) == ["sn", "the body's name", "the answer's name"]


OPAQUE = ("cursor", "last-event-id")
"""Parameters of which an answer gives the only right values."""


def lacks(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """What has no example, or no description where it is a parameter."""
    for parameter in operation.get("parameters", ()):
        has_example = parameter["name"] in OPAQUE or is_shown(parameter["schema"])
        if not (has_example and parameter.get("description")):
            yield parameter["name"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from (f"the body's {member}" for member in members_without_example(document, content))
    for code, answer in operation["responses"].items():
        if code < "300":
            for content in answer.get("content", {}).values():
                yield from (f"the answer's {member}" for member in members_without_example(document, content))


def members_without_example(document: dict[str, Any], content: dict[str, Any]) -> list[str]:
    if "example" in content or content["schema"].get("format") == "binary":
        return []
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    members: dict[str, Any] = schema["properties"]
    found = [name for name, member in members.items() if not is_shown(member)]
    for member in members.values():
        for reference in json.dumps(member).split('"$ref": "')[1:]:
            named = document["components"]["schemas"][reference.partition('"')[0].rpartition("/")[2]]
            if "properties" in named:
                found += members_without_example(document, {"schema": named})
    return found


def is_shown(schema: dict[str, Any]) -> bool:
    """Whether there is an example, or the schema says itself what is possible."""
    if schema.keys() & {"examples", "default", "enum", "const", "$ref"} or schema.get("type") == "boolean":
        return True
    if schema.get("format") == "binary":
        return True
    options = [schema["items"]] if "items" in schema else schema.get("anyOf", ())
    return any(is_shown(option) for option in options)


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


async def test_tokens_and_the_audit_are_as_described() -> None:
    parts = Parts()
    made = await parts.ask("POST", "/tokens", json_body={"role": "viewer", "name": "Office"})
    assert made.status == 201
    await check_answer(parts, "/tokens", "TokenPage")
    await check_answer(parts, "/audit", "AuditPage")
    schemes = parts.app.openapi()["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {"bearer": "http", "cookie": "apiKey"}
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "operator_token")


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
