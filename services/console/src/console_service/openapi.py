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
    "401": "No operator's token, or one that is not in force",
    "403": "The token's role, or the sites that it is bound to, do not allow it",
    "422": "The request is not valid",
    "500": "Our fault",
    "503": "A server behind the console is away: try again after Retry-After seconds",
}
FAULTS_BY_NEED = {
    "cursor": ("400", "The cursor is not one of this list with these filters"),
    "path": ("404", "There is nothing of this id"),
    "body": ("413", "The body is too large"),
    "slow": ("408", "The body took too long"),
    "json": ("400", "The body cannot be read: it is no UTF-8, or nested too deep"),
}

PARAMETERS: dict[str, tuple[str, object]] = {
    "sn": ("A terminal's serial number.", "84E0F42C5D1A"),
    "siteId": ("A site that the operators have entered.", "s5f1c2a90b3d4e678"),
    "personId": ("A worker.", "4508004291609636864"),
    "vendorId": ("A vendor that the operators have admitted.", "v5f1c2a90b3d4e678"),
    "accessId": ("A credential of the vendor.", "0c5b7f0e8d3a4c21b6e4f9a1d2c3b4a5"),
    "taskid": ("A task.", "6541951958563696640"),
    "eventId": ("An attendance: the id of its event on Kafka.", "0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51"),
    "campaignId": ("A campaign.", "c019ab4d2f30c8d5e6f70"),
    "tokenId": ("An operator's token.", "t5f1c2a90b3d4e678"),
    "state": ("Tasks of this state.", None),
    "apicode": ("Tasks of this interface.", "T_SEND_PERSON"),
    "who": ("Changes that this operator asked for.", "token:t5f1c2a90b3d4e678"),
    "target": ("Changes of what has this id.", "84E0F42C5D1A"),
    "action": ("Changes of this kind.", "vendor."),
    "limit": ("Most items of this page.", 50),
    "if-none-match": (
        "The ETag that the caller has.",
        '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    ),
}
"""What a parameter of a name is, and one: for every route that does not say so itself."""


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
            for parameter in operation.get("parameters", ()):
                _explain(parameter)
            responses: Schema = operation["responses"]
            # What a route itself names comes first: it knows more of it.
            named = {
                code: answer["description"]
                for code, answer in responses.items()
                if code >= "400" and "content" not in answer
            }
            problems = {**dict(_faults(operation)), **named}
            responses |= {code: _problem(description) for code, description in problems.items()}
        app.openapi_schema = document
    return app.openapi_schema


def _operations(document: Schema) -> Iterator[Schema]:
    for operations in document["paths"].values():
        yield from operations.values()


def _explain(parameter: Schema) -> None:
    schema: Schema = parameter["schema"]
    explained = PARAMETERS.get(parameter["name"])
    if explained is not None:
        parameter.setdefault("description", explained[0])
        if explained[1] is not None:
            schema.setdefault("examples", [explained[1]])


def _faults(operation: Schema) -> Iterator[tuple[str, str]]:
    parameters = operation.get("parameters", [])
    if any(parameter["name"] == "cursor" for parameter in parameters):
        yield FAULTS_BY_NEED["cursor"]
    if any(parameter["in"] == "path" for parameter in parameters):
        yield FAULTS_BY_NEED["path"]
    if "requestBody" in operation:
        yield FAULTS_BY_NEED["body"]
        yield FAULTS_BY_NEED["slow"]
        if "application/json" in operation["requestBody"]["content"]:
            yield FAULTS_BY_NEED["json"]
    yield from FAULTS.items()


def _problem(description: str) -> Schema:
    return {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
