"""Hostile bodies and files at a console behind a real socket, and what others read of what attackers wrote."""

import base64
import csv
import gzip
import io
import itertools
import json
import os
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydantic import SecretStr

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from shared.domain.devices import Device
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from stack.ports import free_port
from tests.support.attacked_console import BEARER, JSON, OWN_PAGE, AttackedConsole, attacked_console
from tests.support.attendance import make_event
from tests.support.multipart import BOUNDARY, field, file, form
from tests.support.process_costs import resident_bytes
from tests.support.raw_http import exchange, request

MIB = 1024 * 1024
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
FORMULAS = ["=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "＝1+1", '=HYPERLINK("http://evil.example")']


@pytest.fixture
async def console() -> AsyncIterator[AttackedConsole]:
    async with attacked_console() as console:
        yield console


HOSTILE_BODIES = {
    "10,000 levels": b'{"name":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 levels of objects": b'{"name":' * 8000 + b"1" + b"}" * 8000,
    "a number of 10,000 digits": b'{"name":"n","timeWindowSeconds":' + b"9" * 10_000 + b"}",
    "an exponent without end": b'{"name":"n","timeWindowSeconds":1e' + b"9" * 20 + b"}",
    "half a character": rb'{"name":"\ud800"}',
    "NUL": rb'{"name":"a\u0000b"}',
    "no UTF-8": b'{"name":"\xff\xfe"}',
    "an operator of a query language": b'{"name":{"$gt":""}}',
    "NaN": b'{"name":"n","timeWindowSeconds":NaN}',
    "a member twice": b'{"name":"n","name":{"$gt":""}}',
    "nothing": b"",
    "5,000 members": b"{" + b",".join(b'"a%d":1' % number for number in range(5000)) + b"}",
}
TAKING_JSON = (
    ("POST", "/vendors"),
    ("POST", "/sites"),
    ("POST", "/tokens"),
    ("POST", "/tasks"),
    ("POST", "/campaigns"),
    ("POST", "/persons/search"),
    ("PUT", "/persons/p1"),
    ("PATCH", "/devices/SN1"),
    ("POST", "/sign-in"),
)


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys())
async def test_a_hostile_body_is_its_senders_fault_on_every_route_that_takes_one(
    console: AttackedConsole, body: bytes
) -> None:
    for method, path in TAKING_JSON:
        answer = await console.ask(method, f"/api/v1{path}", BEARER, JSON, OWN_PAGE, body=body)
        assert answer.status in (400, 401, 413, 422), (path, answer)
        assert answer.all("content-type") == ["application/problem+json"]
        assert len(answer.body) < 15_000  # however much is wrong with it
    assert await console.site_names() == []
    assert console.parts.audit.entries == {}


async def test_a_string_of_4_mib_is_413_before_it_is_read(console: AttackedConsole) -> None:
    body = json.dumps({"name": "x" * (4 * MIB)}).encode()
    for method, path in (("POST", "/sites"), ("PUT", "/persons/p1"), ("POST", "/tasks"), ("POST", "/tokens")):
        answers = await exchange(console.port, request(method, f"/api/v1{path}", BEARER, JSON, body=body))
        assert [answer.status for answer in answers] in ([413], [])  # [] where the close outran our reading
    assert await console.site_names() == []


async def test_a_compressed_body_is_never_unpacked(console: AttackedConsole) -> None:
    """64 MiB of zeros are 64 KiB of gzip, and some hundred bytes packed twice."""
    zeros = gzip.compress(bytes(64 * MIB), 9)
    packed = {"gzip": zeros, "deflate": zlib.compress(bytes(64 * MIB), 9), "gzip, gzip": gzip.compress(zeros)}
    uploads = (
        ("POST", "/sites", JSON),
        ("POST", "/persons/import", "Content-Type: text/csv"),
        ("POST", "/persons/import", "Content-Type: application/x-ndjson"),
        ("PUT", "/persons/p1/face", "Content-Type: image/jpeg"),
        ("POST", "/firmware", FORM),
    )
    before = resident_bytes(os.getpid())
    for (encoding, bomb), (method, path, kind) in itertools.product(packed.items(), uploads):
        headers = (BEARER, kind, f"Content-Encoding: {encoding}")
        answers = await exchange(console.port, request(method, f"/api/v1{path}", *headers, body=bomb))
        assert all(400 <= answer.status < 500 for answer in answers), (path, answers)
    assert resident_bytes(os.getpid()) < before + 40 * MIB
    assert await console.site_names() == []


@pytest.mark.parametrize("boundary", ["b" * 10_000, "", '"\r"', f"{BOUNDARY}; charset=utf-7"], ids=range(4))
async def test_a_form_whose_head_is_a_trick_is_a_problem(console: AttackedConsole, boundary: str) -> None:
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    answer = await console.ask("POST", "/api/v1/firmware", BEARER, kind, body=form(field("version", "v1")))
    assert 400 <= answer.status < 500
    assert await console.site_names() == []


async def test_a_form_of_ten_thousand_parts_or_of_endless_part_headers_is_a_problem(console: AttackedConsole) -> None:
    start = f"--{BOUNDARY}\r\n".encode()
    for body in (
        form(*(field(f"f{number}", "x") for number in range(10_000))),
        start + b"X: " + b"y" * 500_000 + b"\r\n\r\n",
        start + b"X-A: b\r\n" * 50_000 + b"\r\nx\r\n",
        form(field("version", "v" * 2 * MIB), file("file", b"x")),
    ):
        answers = await exchange(console.port, request("POST", "/api/v1/firmware", BEARER, FORM, body=body))
        assert all(400 <= answer.status < 500 for answer in answers), answers
    assert await console.parts.firmware.page(None, 10) == []
    assert await console.site_names() == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a\x00.bin", "\u202egpj", "x" * 5000], ids=range(6)
)
async def test_the_name_of_an_uploaded_file_goes_nowhere(console: AttackedConsole, name: str) -> None:
    body = form(field("version", "v1"), file("file", b"package", name))
    answer = await console.ask("POST", "/api/v1/firmware", BEARER, FORM, body=body)
    assert answer.status in (201, 400, 422)
    assert name.encode() not in answer.body
    packages = await console.parts.firmware.page(None, 10)
    assert len(packages) == (1 if answer.status == 201 else 0)
    assert name not in repr(packages) + repr(console.parts.audit.entries)


# ── what others read, out of a real MongoDB ───────────────────────────────────────────────────────────────────────


@pytest.fixture
async def stored(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[aiohttp.ClientSession]:
    """An admin at a console over a database in which attackers' terminals stand."""
    patient = mongo_settings.model_copy(update={"timeout_ms": 30_000})
    token, port = "admin-" * 6, free_port()
    settings = ConsoleSettings(
        admin_token=SecretStr(token),
        session_token=SecretStr("s" * 32),
        port=port,
        admin_port=0,
        notice_seconds=0,
        request_deadline_seconds=60,
    )
    sealing = SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(32)).decode()}"))
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    events = [
        make_event(
            sn=formula, person_id=formula, vendor_id=formula, site_id=formula, record_time=1_795_503_600_000 + at
        )
        for at, formula in enumerate(FORMULAS)
    ]
    async with (
        open_mongo(patient, "test") as database,
        open_console(settings, patient, redis_settings, sealing, nowhere)(Lifecycle()),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as http,
    ):
        await MongoAttendanceStore(database).add_many(events)
        await MongoDeviceStore(database).register(
            [Device(sn=name, vendor_id="v1", registered_at_ms=1_795_503_600_000) for name in NAMES]
        )
        yield http


NAMES = ["<script>alert(1)</script>", "{{7*7}}", "' || '1'=='1", '{"$gt":""}', "a/../b", "%2e%2e", "$where"]


async def test_no_cell_of_an_export_is_a_formula_whatever_a_terminal_sent(stored: aiohttp.ClientSession) -> None:
    async with stored.get("/api/v1/attendance/export?bom=false") as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
        assert answer.headers["content-disposition"].startswith("attachment")
    for column, cell in (pair for row in rows for pair in row.items()):
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "＝"), (column, cell)
    assert sorted(row["personId"][1:] for row in rows) == sorted(FORMULAS)


async def test_what_a_terminal_is_called_never_becomes_markup(stored: aiohttp.ClientSession) -> None:
    async with stored.get("/api/v1/devices") as answer:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert sorted(item["sn"] for item in (await answer.json())["items"]) == sorted(NAMES)


async def test_operators_of_a_query_language_in_an_address_find_nothing(stored: aiohttp.ClientSession) -> None:
    for query in ("sn={}&siteId[$ne]=x", "sn=%7B%22%24gt%22%3A%22%22%7D", "personId=.*", "sn=%24where"):
        async with stored.get(f"/api/v1/attendance?{query}") as answer:
            assert (answer.status, (await answer.json())["items"]) == (200, []), query
