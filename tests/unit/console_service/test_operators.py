import pytest
from pydantic import ValidationError

from console_service.settings import ConsoleSettings
from shared.runtime.settings import read_settings
from tests.support.asgi import call
from tests.unit.console_service.parts import ADMIN_TOKEN, Parts, check_problem

ROUTES = [
    ("GET", "/vendors"),
    ("POST", "/vendors"),
    ("POST", "/vendors/v1/credentials"),
    ("DELETE", "/vendors/v1/credentials/a1"),
    ("GET", "/devices"),
    ("GET", "/devices/SN1"),
    ("PATCH", "/devices/SN1"),
    ("GET", "/sites"),
    ("POST", "/sites"),
    ("GET", "/tasks"),
    ("POST", "/tasks"),
    ("GET", "/tasks/1"),
    ("POST", "/tasks/1/cancel"),
    ("GET", "/attendance"),
    ("GET", "/attendance/e1"),
    ("GET", "/attendance/e1/image"),
]


def test_every_route_is_among_those_tested_here() -> None:
    paths = Parts().app.openapi()["paths"]
    described = {(method.upper(), path.count("/")) for path, operations in paths.items() for method in operations}
    assert len(described) <= len(ROUTES)
    assert sum(len(operations) for operations in paths.values()) == len(ROUTES)


@pytest.mark.parametrize(("method", "target"), ROUTES)
@pytest.mark.parametrize(
    "token",
    [None, "", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "0", ADMIN_TOKEN.upper(), "é" * 32],
    ids=["missing", "empty", "too short", "too long", "other case", "not ASCII"],
)
async def test_without_the_right_token_every_route_is_a_401_problem(
    method: str, target: str, token: str | None
) -> None:
    parts = Parts()
    body = {"name": "Gate Works"} if (method, target) == ("POST", "/vendors") else None
    answer = await parts.ask(method, target, token=token, json_body=body)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert parts.session.calls == []
    assert parts.audit.entries == {}


async def test_another_scheme_than_bearer_is_a_401_problem() -> None:
    answer = await Parts().ask("GET", "/devices", token=None, headers={"Authorization": f"Basic {ADMIN_TOKEN}"})
    check_problem(answer, 401)


async def test_the_right_token_opens() -> None:
    assert (await Parts().ask("GET", "/devices")).status == 200


async def test_a_token_in_the_query_opens_nothing() -> None:
    check_problem(await Parts().ask("GET", f"/devices?token={ADMIN_TOKEN}", token=None), 401)


async def test_what_the_console_is_can_be_seen_without_a_token_and_names_the_public_address() -> None:
    answer = await call(Parts().app, "GET", "/", headers={"Host": "evil.example"})
    assert answer.json() == {
        "service": "console",
        "openapi": "https://console.example/base/api/v1/openapi.json",
    }


async def test_the_openapi_document_is_served_and_no_page_with_foreign_scripts() -> None:
    app = Parts().app
    assert (await call(app, "GET", "/api/v1/openapi.json")).json()["openapi"].startswith("3.1")
    for path in ("/docs", "/redoc", "/api/v1/docs"):
        check_problem(await call(app, "GET", path), 404)


async def test_a_trailing_slash_is_not_redirected_to_the_host_header() -> None:
    answer = await Parts().ask("GET", "/vendors/", headers={"Host": "evil.example"})
    check_problem(answer, 404)
    assert "location" not in answer.headers


def test_a_short_admin_token_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSOLE_ADMIN_TOKEN", "tooshort")
    monkeypatch.setenv("CONSOLE_SESSION_TOKEN", "s" * 32)
    with pytest.raises(ValidationError):
        ConsoleSettings()
    with pytest.raises(SystemExit):
        read_settings(ConsoleSettings)
    text = capsys.readouterr().err
    assert "CONSOLE_ADMIN_TOKEN" in text
    assert "tooshort" not in text
