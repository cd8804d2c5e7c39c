import asyncio
import logging

import pytest
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict
from starlette.types import Message

from shared.runtime.problems import Problem, add_problem_handlers
from shared.runtime.unavailable import Unavailable
from shared.runtime.web_guard import guard
from tests.support.asgi import Answer, call


class Note(BaseModel):
    text: str
    pages: int


class StrictNote(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str


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

    @app.get("/away/{secret}")
    async def away_from(secret: str) -> None:
        raise Unavailable(f"MongoDB: code {len(secret)}")

    @app.post("/strict")
    async def add_strictly(note: StrictNote) -> StrictNote:
        return note

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


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ("txet", "body.txet"),
        ("idcard_no", "body.idcard_no"),
        ("op_kq0Ty3oKpQ4Ck1mB3c8gW5vYJ", "body.?"),
        ("13812341234", "body.?"),
        ("11010519491231002X", "body.?"),
        ("张三", "body.?"),
        ("e" * 41, "body.?"),
    ],
)
async def test_a_member_that_nobody_knows_is_named_where_it_can_be_a_misspelt_name_alone(
    member: str, shown: str
) -> None:
    answer = await call(make_app(), "POST", "/strict", json_body={"text": "a", member: 1})
    check_problem(answer, 422)
    assert [error["location"] for error in answer.json()["errors"]] == [shown]


async def test_design_rule_8_the_log_of_a_fault_names_the_route_and_not_what_stood_in_the_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        check_problem(await call(make_app(), "GET", "/away/hunter2"), 503)
    assert "GET /away/{secret}: MongoDB: code 7" in caplog.text
    assert "hunter2" not in caplog.text


async def test_of_a_body_in_which_a_thousand_things_are_wrong_a_hundred_are_listed() -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.post("/numbers")
    async def add(numbers: list[int]) -> None:
        raise AssertionError("not valid")

    answer = await call(app, "POST", "/numbers", json_body=["x"] * 1000)
    check_problem(answer, 422)
    assert len(answer.json()["errors"]) == 100


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


async def test_a_body_that_does_not_come_is_a_408_problem_and_no_fault_of_ours() -> None:
    sent: list[Message] = []
    parts: list[Message] = [{"type": "http.request", "body": b'{"text":', "more_body": True}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        await asyncio.sleep(5)
        raise AssertionError("waited for too long")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/notes", "raw_path": b"/notes", "query_string": b""}
    headers = [(b"content-type", b"application/json")]
    await make_app()({**scope, "headers": headers, "scheme": "http", "server": ("h", 80)}, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"the body took too long" in sent[1]["body"]


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
