import asyncio
import logging

import pytest
from fastapi import FastAPI, Response
from pydantic import BaseModel

from shared.runtime.problems import Problem, add_problem_handlers
from shared.runtime.unavailable import Unavailable
from shared.runtime.web_guard import guard
from tests.support.asgi import Answer, call


class Note(BaseModel):
    text: str
    pages: int


def make_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    add_problem_handlers(app)
    guard(app, max_body_bytes=64, deadline_seconds=0.1)

    @app.post("/notes")
    async def add(note: Note) -> Note:
        return note

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(5)

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("password=hunter2")

    @app.get("/away")
    async def away() -> None:
        raise Unavailable("MongoDB: AutoReconnect")

    @app.get("/gone")
    async def gone() -> None:
        raise Problem(404, "no such note", {"X-Note": "1"})

    @app.get("/cached")
    async def cached() -> Response:
        return Response(b"x", headers={"Cache-Control": "private"})

    return app


def check_problem(answer: Answer, status: int) -> str:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    return str(document["detail"])


async def test_answers_carry_security_headers() -> None:
    answer = await call(make_app(), "POST", "/notes", json_body={"text": "a", "pages": 1})
    assert answer.json() == {"text": "a", "pages": 1}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_route_may_say_how_its_answer_is_cached() -> None:
    answer = await call(make_app(), "GET", "/cached")
    assert answer.headers["cache-control"] == "private"


async def test_an_unknown_address_is_a_404_problem() -> None:
    check_problem(await call(make_app(), "GET", "/nothing"), 404)


async def test_a_wrong_method_is_a_405_problem_that_names_the_right_one() -> None:
    answer = await call(make_app(), "DELETE", "/notes")
    assert "DELETE" in check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_an_invalid_body_is_a_422_problem_that_repeats_no_value() -> None:
    answer = await call(make_app(), "POST", "/notes", json_body={"text": "a", "pages": "hunter2"})
    check_problem(answer, 422)
    assert [error["location"] for error in answer.json()["errors"]] == ["body.pages"]
    assert b"hunter2" not in answer.body


async def test_broken_json_is_a_422_problem() -> None:
    answer = await call(make_app(), "POST", "/notes", body=b"{", headers={"content-type": "application/json"})
    check_problem(answer, 422)


async def test_an_announced_body_over_the_limit_is_a_413_problem() -> None:
    answer = await call(make_app(), "POST", "/notes", body=b"x", headers={"content-length": "65"})
    check_problem(answer, 413)
    assert answer.headers["connection"] == "close"


async def test_an_unannounced_body_over_the_limit_is_a_413_problem() -> None:
    answer = await call(make_app(), "POST", "/notes", json_body={"text": "x" * 64, "pages": 1}, chunks=4)
    check_problem(answer, 413)


async def test_a_body_of_exactly_the_limit_passes() -> None:
    body = b'{"pages":1,"text":"' + b"x" * 43 + b'"}'
    assert len(body) == 64
    headers = {"content-type": "application/json", "content-length": "64"}
    assert (await call(make_app(), "POST", "/notes", body=body, headers=headers, chunks=3)).status == 200


async def test_a_late_answer_is_a_503_problem_that_says_when_to_retry() -> None:
    answer = await call(make_app(), "GET", "/slow")
    check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


async def test_a_server_behind_us_that_is_away_is_a_503_problem() -> None:
    answer = await call(make_app(), "GET", "/away")
    assert "MongoDB" not in check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


async def test_an_unforeseen_fault_is_a_500_problem_that_says_nothing_internal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await call(make_app(), "GET", "/broken")
    check_problem(answer, 500)
    assert b"hunter2" not in answer.body
    assert b"ValueError" not in answer.body
    assert "ValueError" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_problem_keeps_its_detail_and_headers() -> None:
    answer = await call(make_app(), "GET", "/gone")
    assert check_problem(answer, 404) == "no such note"
    assert answer.headers["x-note"] == "1"
