import hashlib
import re

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr, ValidationError

from console_service import operators
from console_service.settings import ConsoleSettings
from shared.domain.operators import OperatorToken, Role
from shared.runtime.settings import read_settings
from shared.runtime.unavailable import Unavailable
from tests.support.asgi import Answer, call
from tests.unit.console_service.parts import ADMIN_TOKEN, NOW_MS, Parts, check_problem
from tests.unit.console_service.route_roles import ROLES

OPERATIONS = [
    (method.upper(), path.removeprefix("/api/v1"))
    for path, operations in Parts().app.openapi()["paths"].items()
    for method in operations
]
GUARDED = [operation for operation in OPERATIONS if ROLES.get(operation, Role.VIEWER) is not None]
CHANGING = [(method, path) for method, path in GUARDED if method != "GET"]


def target_of(path: str) -> str:
    return re.sub(r"\{\w+\}", "x1", path)


def body_of(method: str) -> object:
    return None if method in ("GET", "DELETE") else {}


def test_every_route_declares_its_role_and_no_other_is_declared() -> None:
    assert sorted(OPERATIONS) == sorted(ROLES)


def test_no_route_hides_from_the_description_but_it_and_the_first_page() -> None:
    routes = list(iter_route_contexts(Parts().app.routes))
    assert len(routes) > 20
    assert [route.path for route in routes if not route.include_in_schema] == ["/api/v1/openapi.json", "/"]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_the_right_token_every_route_is_a_401_problem(method: str, path: str) -> None:
    parts = Parts()
    body = {"name": "Gate Works"} if (method, path) == ("POST", "/vendors") else body_of(method)
    wrong = [None, "", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "0", ADMIN_TOKEN.upper(), "é" * 32, "op_" + "A" * 43]
    for token in wrong:
        answer = await parts.ask(method, target_of(path), token=token, json_body=body)
        check_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert parts.session.calls == []
        assert parts.audit.entries == {}


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_every_route_opens_from_its_role_on(method: str, path: str) -> None:
    needed = ROLES[method, path]
    assert needed is not None
    parts = Parts()
    parts.stop.set()  # an answer that streams ends at once
    for role in sorted(Role):
        token = await parts.make_token(role)
        answer = await parts.ask(method, target_of(path), token=token, json_body=body_of(method))
        if role >= needed:
            assert answer.status not in (401, 403), (role, answer.body)
        else:
            assert f"role {needed.name.lower()}" in check_problem(answer, 403), role
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


# ── tokens from the store ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_is_looked_up_once_in_a_while_not_once_a_request() -> None:
    parts = Parts()
    token = await parts.make_token(Role.VIEWER)
    for _ in range(5):
        assert (await parts.ask("GET", "/devices", token=token)).status == 200
    assert parts.tokens.lookups == 1
    parts.clock.advance(1)
    assert (await parts.ask("GET", "/devices", token=token)).status == 200
    assert parts.tokens.lookups == 2


async def test_what_has_no_tokens_form_is_not_looked_up() -> None:
    parts = Parts()
    for token in ("x" * 46, "op_" + "x" * 42, "op_" + "x" * 44, "op_" + "x" * 42 + "="):
        check_problem(await parts.ask("GET", "/devices", token=token), 401)
    assert parts.tokens.lookups == 0


async def test_a_revoked_token_opens_nothing_from_two_seconds_later_on_at_the_latest() -> None:
    parts = Parts()
    token = await parts.make_token(Role.VIEWER)
    assert (await parts.ask("GET", "/devices", token=token)).status == 200
    await parts.tokens.revoke("t0", NOW_MS)
    parts.clock.advance(2)
    check_problem(await parts.ask("GET", "/devices", token=token), 401)


async def test_a_clock_that_is_set_back_keeps_no_revoked_token_alive() -> None:
    parts = Parts()
    token = await parts.make_token(Role.VIEWER)
    assert (await parts.ask("GET", "/devices", token=token)).status == 200
    await parts.tokens.revoke("t0", NOW_MS)
    parts.clock.advance(-3600)
    check_problem(await parts.ask("GET", "/devices", token=token), 401)


async def test_a_token_that_expires_opens_nothing_from_that_very_moment_on() -> None:
    parts = Parts()
    token = "op_" + "x" * 43
    digest = hashlib.sha256(token.encode()).hexdigest()
    await parts.tokens.add(
        OperatorToken(token_id="t1", digest=digest, role=Role.VIEWER, created_at_ms=NOW_MS, expires_at_ms=NOW_MS + 500)
    )
    parts.clock.value_ms = NOW_MS + 499
    assert (await parts.ask("GET", "/devices", token=token)).status == 200
    parts.clock.value_ms = NOW_MS + 500
    check_problem(await parts.ask("GET", "/devices", token=token), 401)


async def test_with_the_store_away_the_settings_token_opens_and_others_are_503_not_401() -> None:
    parts = Parts()
    token = await parts.make_token(Role.ADMIN)
    parts.tokens.available = False
    check_problem(await parts.ask("GET", "/devices", token=token), 503)
    check_problem(await parts.ask("GET", "/devices", token="x" * 46), 401)
    assert (await parts.ask("GET", "/devices")).status == 200


async def test_what_is_remembered_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "MAX_REMEMBERED", 3)
    parts = Parts()
    finder = operators.Operators(SecretStr(ADMIN_TOKEN), parts.tokens, parts.clock, 1000)
    tokens = [await parts.make_token(Role.VIEWER) for _ in range(7)]
    for token in tokens:
        assert await finder.find(token) is not None
    assert len(finder._remembered) <= 3
    assert await finder.find(tokens[0]) is not None
    assert parts.tokens.lookups == 8


async def test_an_answer_that_lasts_can_ask_whether_its_token_is_in_force_still() -> None:
    parts = Parts()
    finder = operators.Operators(SecretStr(ADMIN_TOKEN), parts.tokens, parts.clock, 1000)
    token = await parts.make_token(Role.VIEWER)
    assert await finder.is_in_force(token)
    await parts.tokens.revoke("t0", NOW_MS)
    parts.clock.advance(1)
    assert not await finder.is_in_force(token)
    parts.clock.advance(1)
    parts.tokens.available = False
    with pytest.raises(Unavailable):
        await finder.is_in_force(token)
    assert await finder.is_in_force(ADMIN_TOKEN)


async def test_who_changed_something_is_named_by_the_tokens_id_which_nobody_chooses() -> None:
    parts = Parts()
    token = await parts.make_token(Role.OPERATOR)
    assert (await parts.ask("POST", "/sites", token=token, json_body={"name": "Tower"})).status == 201
    assert parts.audit.only().who == "token:t0"


# ── the cookie ────────────────────────────────────────────────────────────────────────────────────────────────────

OWN_PAGE = {"X-Requested-With": "console"}


async def sign_in(parts: Parts, token: str) -> Answer:
    return await parts.ask("POST", "/sign-in", token=None, json_body={"token": token}, headers=OWN_PAGE)


async def test_signing_in_sets_a_cookie_that_scripts_and_foreign_pages_cannot_use() -> None:
    parts = Parts()
    token = await parts.make_token(Role.OPERATOR, "s2", "s1")
    answer = await sign_in(parts, token)
    assert (answer.status, answer.json()) == (200, {"who": "token:t0", "role": "operator", "siteIds": ["s1", "s2"]})
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert value == f"operator_token={token}"
    assert sorted(attributes) == ["HttpOnly", "Max-Age=43200", "Path=/base/api/v1", "SameSite=strict", "Secure"]


async def test_without_https_the_cookie_is_not_secure_for_it_would_never_be_sent() -> None:
    app = Parts(public_base_url="http://127.0.0.1:8080").app
    answer = await call(app, "POST", "/api/v1/sign-in", headers=OWN_PAGE, json_body={"token": ADMIN_TOKEN})
    _, *attributes = answer.headers["set-cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=43200", "Path=/api/v1", "SameSite=strict"]


async def test_the_settings_token_signs_in_as_any_other() -> None:
    answer = await sign_in(Parts(), ADMIN_TOKEN)
    assert answer.json() == {"who": "admin", "role": "admin", "siteIds": None}


async def test_a_wrong_token_signs_nobody_in_and_is_not_repeated() -> None:
    parts = Parts()
    for token in ("x" * 46, "op_" + "x" * 43, "é"):
        answer = await sign_in(parts, token)
        check_problem(answer, 401)
        assert "set-cookie" not in answer.headers
        assert token not in answer.body.decode()
    check_problem(await sign_in(parts, ""), 422)
    parts.tokens.available = False
    check_problem(await sign_in(parts, "op_" + "x" * 43), 503)


async def test_a_foreign_page_signs_nobody_in_or_out() -> None:
    parts = Parts()
    for headers in ({}, {"X-Requested-With": "XMLHttpRequest"}):
        answer = await parts.ask("POST", "/sign-in", token=None, json_body={"token": ADMIN_TOKEN}, headers=headers)
        check_problem(answer, 403)
        assert "set-cookie" not in answer.headers
        check_problem(await parts.ask("POST", "/sign-out", token=None, headers=headers), 403)


async def test_signing_out_takes_the_cookie_away_whatever_it_holds() -> None:
    for cookie in ({}, {"Cookie": "operator_token=gone"}):
        answer = await Parts().ask("POST", "/sign-out", token=None, headers=OWN_PAGE | cookie)
        assert (answer.status, answer.body) == (204, b"")
        value, *attributes = answer.headers["set-cookie"].split("; ")
        assert value == 'operator_token=""'
        assert {"Max-Age=0", "Path=/base/api/v1", "HttpOnly", "SameSite=strict", "Secure"} <= set(attributes)


async def test_the_cookie_opens_what_its_token_opens() -> None:
    parts = Parts()
    cookie = {"Cookie": f"operator_token={await parts.make_token(Role.VIEWER)}"}
    assert (await parts.ask("GET", "/devices", token=None, headers=cookie)).status == 200
    check_problem(await parts.ask("POST", "/sites", token=None, headers=cookie | OWN_PAGE), 403)
    for wrong in ("operator_token=", "operator_token=x", f"other={ADMIN_TOKEN}", "operator_token=op_" + "x" * 43):
        check_problem(await parts.ask("GET", "/devices", token=None, headers={"Cookie": wrong}), 401)


@pytest.mark.parametrize(("method", "path"), CHANGING)
async def test_with_the_cookie_nothing_is_changed_from_a_foreign_page(method: str, path: str) -> None:
    parts = Parts()
    cookie = {"Cookie": f"operator_token={ADMIN_TOKEN}"}
    for headers in (cookie, cookie | {"X-Requested-With": "XMLHttpRequest"}):
        answer = await parts.ask(method, target_of(path), token=None, headers=headers, json_body=body_of(method))
        assert "X-Requested-With" in check_problem(answer, 403)
        assert parts.session.calls == []
        assert parts.audit.entries == {}
    answer = await parts.ask(method, target_of(path), token=None, headers=cookie | OWN_PAGE, json_body=body_of(method))
    assert answer.status not in (401, 403)


async def test_a_bearer_token_counts_before_a_cookie_and_needs_no_header() -> None:
    parts = Parts()
    admin = {"Cookie": f"operator_token={ADMIN_TOKEN}"}
    viewer = await parts.make_token(Role.VIEWER)
    assert "role operator" in check_problem(
        await parts.ask("POST", "/sites", token=viewer, headers=admin, json_body={"name": "Tower"}), 403
    )
    check_problem(await parts.ask("GET", "/devices", token="wrong", headers=admin), 401)
    assert (await parts.ask("POST", "/sites", headers=admin, json_body={"name": "Tower"})).status == 201


async def test_an_admin_token_of_any_characters_that_are_allowed_signs_in() -> None:
    token = "".join(chr(code) for code in range(0x21, 0x7F))
    parts = Parts(admin_token=token)
    answer = await sign_in(parts, token)
    assert answer.status == 200
    cookie, _, _ = answer.headers["set-cookie"].partition("; ")
    assert (await parts.ask("GET", "/devices", token=None, headers={"Cookie": cookie})).status == 200
    assert (await parts.ask("GET", "/devices", token=token)).status == 200


@pytest.mark.parametrize("token", ["é" * 32, "x" * 32 + " ", "x" * 32 + "\n"])
def test_an_admin_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValidationError, match="visible ASCII"):
        Parts(admin_token=token)


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
