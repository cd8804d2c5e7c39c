"""The console's OpenAPI document: what FastAPI cannot know of answers and errors is added here."""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from console_service.routes.attendance import AttendancePage
from shared.runtime.problems import PROBLEM_JSON

Schema = dict[str, Any]

PROBLEM: Schema = {
    "title": "Problem",
    "description": "An RFC 9457 problem document.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["about:blank"]},
        "title": {"type": "string", "examples": ["Not Found"]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {"type": "string", "examples": ["no such device"]},
        "errors": {
            "description": "Where the request is not valid (422): what is wrong with which member.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["location", "message"],
                "properties": {
                    "location": {"type": "string", "examples": ["query.limit"]},
                    "message": {"type": "string", "examples": ["Input should be less than or equal to 200"]},
                },
            },
        },
    },
}
FAULTS = {
    "401": "No bearer token, or a wrong one",
    "422": "The request is not valid",
    "500": "Our fault",
    "503": "A server behind the console is away: try again after Retry-After seconds",
}
FAULTS_BY_NEED = {
    "cursor": ("400", "The cursor is not one of this list with these filters"),
    "path": ("404", "There is nothing of this id"),
    "body": ("413", "The body is too large"),
}


def describe(app: FastAPI) -> Schema:
    """FastAPI's description, with the answers that msgspec writes and the problem documents in it."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        schemas: Schema = document["components"]["schemas"]
        _, answers = msgspec.json.schema_components([AttendancePage], ref_template="#/components/schemas/{name}")
        for answer in answers.values():
            if "description" in answer:
                answer["description"] = inspect.cleandoc(answer["description"])
        schemas |= answers
        schemas["Problem"] = PROBLEM
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for operation in _operations(document):
            operation["responses"] |= {code: _problem(description) for code, description in _faults(operation)}
        app.openapi_schema = document
    return app.openapi_schema


def _operations(document: Schema) -> Iterator[Schema]:
    for operations in document["paths"].values():
        yield from operations.values()


def _faults(operation: Schema) -> Iterator[tuple[str, str]]:
    parameters = operation.get("parameters", [])
    if any(parameter["name"] == "cursor" for parameter in parameters):
        yield FAULTS_BY_NEED["cursor"]
    if any(parameter["in"] == "path" for parameter in parameters):
        yield FAULTS_BY_NEED["path"]
    if "requestBody" in operation:
        yield FAULTS_BY_NEED["body"]
    yield from FAULTS.items()


def _problem(description: str) -> Schema:
    return {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
