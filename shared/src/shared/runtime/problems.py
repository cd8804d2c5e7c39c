"""RFC 9457 problem documents: the one form of error that every HTTP interface for people and programs answers with.
Devices get the protocol's own errors instead (E5)."""

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from shared.runtime.routes import route_of
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 2

MAX_ERRORS = 100
"""Those of a request that are listed: else a body of commas would be answered with many times its size."""
_NAME = re.compile(r"[A-Za-z_-]{1,40}")


class FieldError(TypedDict):
    """What is wrong with one member of a request: `query.limit` and a sentence. The value is never repeated."""

    location: str
    message: str


class Problem(Exception):
    """A request that is answered with a problem document; `detail` is for the caller's eyes."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[FieldError] = ()
) -> Response:
    """The document as an answer; `errors` is added where there are any."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = list(errors)
    return JSONResponse(document, status, headers, media_type=PROBLEM_JSON)


def unavailable_response(detail: str) -> Response:
    """503: a server behind us is away, and the caller may try again."""
    return problem_response(503, detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _shown(part: str | int) -> str:
    """A part of a location. A member that nobody knows has the name that the caller gave it, which may be a secret: it
    is shown where it can be a misspelt one of ours alone."""
    return str(part) if isinstance(part, int) or _NAME.fullmatch(part) else "?"


def add_problem_handlers(app: FastAPI) -> None:
    """Makes every error of `app` a problem document. What nobody foresaw is shared.runtime.web_guard's."""

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, error: Problem) -> Response:
        return problem_response(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        details = {
            404: "there is nothing at this address",
            405: f"{request.method} is not possible at this address",
        }
        return problem_response(error.status_code, details.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> Response:
        # pydantic's `input` and `ctx` would repeat what was sent, which may be secret (design rule 8)
        errors = [
            FieldError(location=".".join(_shown(part) for part in fault["loc"]), message=str(fault["msg"]))
            for fault in error.errors()[:MAX_ERRORS]
        ]
        return problem_response(422, "the request is not valid: see errors", errors=errors)

    @app.exception_handler(Unavailable)
    async def on_unavailable(request: Request, error: Unavailable) -> Response:
        # the route, and never the path: ids stand there, and whatever a caller takes for one
        log.warning("%s %s: %s", request.method, route_of(request.scope), error)
        return unavailable_response(
            "what this needs is not to be had now: a server is away, or others are at work on it; please try again"
        )
