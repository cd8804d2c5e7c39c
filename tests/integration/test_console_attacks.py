"""Hostile requests at a console behind a real socket: what a foreign page can have a browser send; heads, cookies and
paths that trick a proxy or a server. Bodies and files are in test_console_bodies.py."""

import itertools
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.attacked_console import BEARER, COOKIE, JSON, OWN_PAGE, AttackedConsole, attacked_console
from tests.support.raw_http import exchange, request
from tests.unit.console_service.parts import ADMIN_TOKEN

SITES = "/api/v1/sites"
SITE = b'{"name":"Foreign"}'


@pytest.fixture
async def console() -> AsyncIterator[AttackedConsole]:
    async with attacked_console() as console:
        yield console


# ── foreign pages ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        (JSON,),
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        (JSON, "X-Requested-With: XMLHttpRequest"),
        (JSON, "X-Requested-With: console, other"),
        (JSON, "X-Requested-With:"),
        (JSON, "X_Requested_With: console"),
        (JSON, "X-HTTP-Method-Override: GET"),
        (JSON, "Origin: null"),
    ],
    ids=" ".join,
)
async def test_what_a_foreign_page_can_have_a_browser_send_with_the_cookie_changes_nothing(
    console: AttackedConsole, headers: tuple[str, ...]
) -> None:
    assert (await console.ask("POST", SITES, COOKIE, *headers, body=SITE)).status == 403
    assert (await console.ask("GET", f"{SITES}?name=Foreign&_method=POST", COOKIE, *headers)).status == 200
    assert await console.site_names() == []
    assert (await console.ask("POST", SITES, COOKIE, JSON, OWN_PAGE, body=SITE)).status == 201


async def test_no_foreign_origin_is_allowed_the_header_or_to_read_an_answer(console: AttackedConsole) -> None:
    origin, token = "Origin: https://evil.example", json.dumps({"token": ADMIN_TOKEN}).encode()
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-requested-with, authorization")
    preflight = await console.ask("OPTIONS", SITES, origin, *asked)
    read = await console.ask("GET", SITES, COOKIE, origin)
    signed_in = await console.ask("POST", "/api/v1/sign-in", JSON, origin, OWN_PAGE, body=token)
    assert (preflight.status, read.status, signed_in.status) == (405, 200, 200)
    for answer in (preflight, read, signed_in):
        assert [name for name, _ in answer.headers if name.startswith("access-control-")] == []
    (cookie,) = signed_in.all("set-cookie")
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(cookie.split("; "))


# ── headers and cookies ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "injected",
    ["%0d%0aSet-Cookie:%20a=b", "%0aX-Evil:%201", "%E5%98%8D%E5%98%8ASet-Cookie:a=b", "%00", "%0d%0a%0d%0a<script>"],
)
async def test_no_part_of_an_address_becomes_a_header_of_the_answer(console: AttackedConsole, injected: str) -> None:
    for target in (
        f"/api/v1/devices/{injected}",
        f"/api/v1/persons/{injected}/face",
        f"/api/v1/attendance/{injected}/image",
        f"/api/v1/attendance?sn={injected}",
        f"/api/v1/attendance/export?siteId={injected}",
        f"/{injected}",
    ):
        answer = await console.ask("GET", target, BEARER)
        assert answer.status < 500, target
        assert answer.all("set-cookie") == answer.all("x-evil") == []
        assert answer.all("x-content-type-options") == ["nosniff"]
        assert b"<script>" not in answer.body or answer.all("content-type") == ["application/problem+json"]


@pytest.mark.parametrize(
    "cookie",
    [
        f"operator_token={ADMIN_TOKEN[:-1]}; operator_token={ADMIN_TOKEN}x",
        'operator_token="; Path=/; operator_token=x"',
        "operator_token=\xff\xfe",
        "operator_token=" + "a" * 60_000,
        "; " * 5000,
        "=;=;operator_token",
        "operator_token=op_" + "A" * 43 + "\x00",
        "$Version=1; operator_token=$Path",
    ],
    ids=range(8),
)
async def test_a_cookie_that_is_no_token_opens_nothing_and_breaks_nothing(
    console: AttackedConsole, cookie: str
) -> None:
    answers = await exchange(console.port, request("GET", SITES, f"Cookie: {cookie}"))
    assert [answer.status for answer in answers] in ([401], [400], [])  # [] where no head of that size is read
    assert await console.site_names() == []


HEADS = {
    "a blank before the colon": b"GET /api/v1/sites HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer x\r\n\r\n",
    "a header on two lines": b"GET /api/v1/sites HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "two lengths": b"GET /api/v1/sites HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a length below 0": b"POST /api/v1/sites HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length of 10,000 digits": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 10_000 + b"\r\n\r\n",
    "a chunk without end": b"POST /api/v1/sign-out HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 18
    + b"\r\n",
    "no version": b"GET /api/v1/sites\r\n\r\n",
    "tabs": b"GET\t/api/v1/sites\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "20,000 headers": b"GET /api/v1/sites HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "an address of 100,000 characters": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
async def test_a_head_that_is_none_is_refused_or_closed_and_harms_nobody(console: AttackedConsole, head: bytes) -> None:
    statuses = [answer.status for answer in await exchange(console.port, head)]
    assert statuses == [] or (len(statuses) == 1 and 400 <= statuses[0] < 500), statuses
    assert await console.site_names() == []


@pytest.mark.parametrize(
    "lengths",
    [
        ("Transfer-Encoding: chunked", "Content-Length: %d"),
        ("Content-Length: %d", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding:\x0bchunked",),
        ("Content-Length: 0", "Content-Length: %d"),
    ],
    ids=range(6),
)
async def test_two_lengths_never_make_one_request_two(console: AttackedConsole, lengths: tuple[str, ...]) -> None:
    """Request smuggling: where a proxy believes the one and the server the other, the rest is the attacker's."""
    hidden = request("POST", SITES, BEARER, JSON, body=b'{"name":"Smuggled"}')
    heads = [line.replace("%d", str(len(hidden) + 5)) for line in lengths]
    data = request("POST", "/api/v1/sign-out", *heads, content_length=False, keep_alive=True) + b"0\r\n\r\n" + hidden
    assert len(await exchange(console.port, data)) <= 1
    assert await console.site_names() == []


async def test_answers_name_the_public_address_whatever_the_request_says(console: AttackedConsole) -> None:
    forged = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "Forwarded: host=evil.example")
    for target in ("/", "/api/v1/openapi.json", "/api/v1/devices", "/api/v1/nothing"):
        (answer,) = await exchange(console.port, request("GET", target, BEARER, *forged, host="evil.example"))
        assert b"evil.example" not in answer.body
        assert not any("evil.example" in value for _, value in answer.headers)


# ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd",
        "/api/v1/../../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/..%2f..%2fetc%2fpasswd",
        "/api/v1/%c0%ae%c0%ae/etc/passwd",
        "//evil.example/api/v1/devices",
        "/api/v1//devices",
        "/api/v1/devices/.",
        "/api/v1/devices/..;/sites",
        "/API/V1/devices",
        "/api/v1/attendance/../tokens",
        "http://evil.example/api/v1/nothing",
        "/api/v1/devices%00.json",
        "/api/v1/%",
        "*",
    ],
)
async def test_a_path_full_of_tricks_leads_nowhere_and_opens_nothing(console: AttackedConsole, target: str) -> None:
    for headers in ((), (BEARER,)):
        answers = await exchange(console.port, request("GET", target, *headers))
        assert [answer.status for answer in answers] in ([400], [401], [404])
        assert all(b"root:" not in answer.body for answer in answers)


async def test_what_stands_before_the_path_of_a_request_is_no_way_around_the_token(console: AttackedConsole) -> None:
    hosts, paths = ("http://evil.example", "https://console.example:443", "http://"), ("/api/v1/devices", SITES)
    for host, path in itertools.product(hosts, paths):
        answers = await exchange(console.port, request("GET", host + path))
        assert [answer.status for answer in answers] in ([401], [400], [404]), host
