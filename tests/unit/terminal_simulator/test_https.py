"""A fleet that fetches and reports its tasks over a real socket, from a platform that is well, late or gone."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from terminal_simulator.calls import Download, Downloaded
from terminal_simulator.fleet import Fleet, Plan
from terminal_simulator.https import KEPT_SECONDS, HttpsClient, NoAnswer, read_address
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address
from tests.unit.terminal_simulator.errand_bench import ACCOUNT, A, given, refusal, reliable, success
from tests.unit.terminal_simulator.scripted_platform import Request, accept, platform, write_answer

HABITS = reliable(heartbeat_seconds=0.2, sign_ins_per_minute=0)
TLS = ssl.create_default_context()
CLEAR = "T_CLEAR_DEVICE_PERSON"

Serve = Callable[[dict[str, Any]], web.Response]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A platform's HTTP side on a free port: its URL, and the bodies as they arrive."""
    bodies: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return serve(bodies[-1])

    app = web.Application()
    app.router.add_post("/api/device", handle)
    app.router.add_get("/files/{name}", give_file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


FILE = bytes(range(256)) * 4


async def give_file(request: web.Request) -> web.StreamResponse:
    """A file as task-api gives it, with one range at most; PEERS shows over which connection it was asked for."""
    PEERS.append(request.transport.get_extra_info("peername")[1] if request.transport else 0)
    if request.match_info["name"] == "busy":
        return web.Response(status=503)
    if request.headers.get("If-None-Match") == '"e1"':
        return web.Response(status=304)
    if request.match_info["name"] == "cut":
        answer = web.StreamResponse(headers={"Content-Length": str(len(FILE))})
        await answer.prepare(request)
        await answer.write(FILE[:100])
        assert request.transport is not None
        request.transport.close()
        return answer
    part = request.http_range
    status = 200 if part.start is None else 206
    return web.Response(status=status, body=FILE[part], headers={"ETag": '"e2"'})


PEERS: list[int] = []


def give_and_take(body: dict[str, Any]) -> web.Response:
    if body["apicode"] == "T_GET_TASKS":
        return web.Response(body=given((A, CLEAR)))
    return web.Response(body=success(signed=A if body["apicode"] == CLEAR else None))


async def run_fleet(tcp: Callable[[Request], bytes], url: str, seconds: float = 1.2) -> Fleet:
    async with platform(tcp) as (port, _):
        plan = Plan(
            Address("127.0.0.1", port),
            ACCOUNT,
            HABITS,
            terminals=1,
            seconds=seconds,
            start_spread_seconds=0,
            https=read_address(url, TLS),
        )
        fleet = Fleet(plan, Ledger(None))
        await fleet.run(asyncio.Event())
    return fleet


class ListsOne:
    """A TCP side that lists the task, or pushes it, until it was reported."""

    def __init__(self, bodies: list[dict[str, Any]], *, pushes: bool = False) -> None:
        self._bodies = bodies
        self._pushes = pushes

    def __call__(self, request: Request) -> bytes:
        is_reported = any(body["apicode"] == "T_UPDATE_TASKS_STATUS" for body in self._bodies)
        if request.apicode != "C_HEARTBEAT" or is_reported:
            return accept(request)
        if self._pushes:
            return accept(request) + write_answer(CLEAR, response=json.dumps({"taskid": A}))
        return write_answer("C_HEARTBEAT", response=json.dumps({"taskids": [A]}))


async def test_a_listed_task_is_fetched_and_reported() -> None:
    async with serving(give_and_take) as (url, bodies):
        fleet = await run_fleet(ListsOne(bodies), url)
    assert [body["apicode"] for body in bodies] == ["T_GET_TASKS", CLEAR, "T_UPDATE_TASKS_STATUS"]
    assert fleet.tally.tasks_reported == {"done": 1}


async def test_c1_a_pushed_task_is_reported_without_being_fetched() -> None:
    async with serving(give_and_take) as (url, bodies):
        fleet = await run_fleet(ListsOne(bodies, pushes=True), url)
    assert [body["apicode"] for body in bodies] == [CLEAR, "T_UPDATE_TASKS_STATUS"]
    assert fleet.tally.commands >= 1
    assert fleet.tally.tasks_fetched == 0


async def test_a_token_that_is_refused_over_https_brings_a_new_c_auth() -> None:
    def refuse_first(body: dict[str, Any]) -> web.Response:
        return web.Response(body=refusal("401_01", signed=False)) if len(bodies) == 1 else give_and_take(body)

    async with serving(refuse_first) as (url, bodies):
        fleet = await run_fleet(ListsOne(bodies), url, seconds=7)
    assert fleet.tally.authentications == 2
    assert fleet.tally.tasks_reported == {"done": 1}


async def test_a_platform_without_https_costs_no_heartbeat_and_is_named() -> None:
    async with serving(give_and_take) as (url, bodies):
        pass
    fleet = await run_fleet(ListsOne(bodies), url)
    assert "HTTPS" in fleet.tally.last_fault
    assert fleet.tally.heartbeats >= 4


@asynccontextmanager
async def client(url: str) -> AsyncIterator[HttpsClient]:
    client = HttpsClient(read_address(url, TLS))
    try:
        yield client
    finally:
        client.close()


async def test_a_status_that_is_no_success_is_no_answer() -> None:
    async with serving(lambda _: web.Response(status=503)) as (url, _), client(url) as http:
        with pytest.raises(NoAnswer, match="503"):
            await http.post(b"{}")


async def test_a_file_is_loaded_whole_or_by_range_or_not_again() -> None:
    async with serving(give_and_take) as (url, _), client(url) as http:
        link = f"{url}/files/face?signature=s"
        assert await http.get(Download(link, end=4096)) == Downloaded(200, FILE, '"e2"')
        ranged = Download(link, start=100, end=300, is_range=True)
        assert await http.get(ranged) == Downloaded(206, FILE[100:300], '"e2"')
        assert (await http.get(Download(link, '"e1"', end=4096))).status == 304
        assert (await http.get(Download(f"{url}/nothing", end=4096))).status == 404
        assert (await http.get(Download(f"{url}/files/busy", end=4096))).status == 503
        assert await http.get(Download("no link", end=4096)) == Downloaded(0)


async def test_of_a_file_no_more_than_wanted_is_read() -> None:
    async with serving(give_and_take) as (url, _), client(url) as http:
        assert (await http.get(Download(f"{url}/files/face", end=10))).body == FILE[:10]


async def test_a_download_that_breaks_off_is_no_answer_and_the_next_one_works() -> None:
    async with serving(give_and_take) as (url, _), client(url) as http:
        with pytest.raises(NoAnswer) as raised:
            await http.get(Download(f"{url}/files/cut?signature=secret", end=4096))
        assert "secret" not in str(raised.value)
        assert (await http.get(Download(f"{url}/files/face", end=4096))).status == 200


async def test_one_connection_serves_requests_that_follow_closely() -> None:
    PEERS.clear()
    async with serving(give_and_take) as (url, _), client(url) as http:
        await http.get(Download(f"{url}/files/face", end=4096))
        await http.post(json.dumps({"apicode": CLEAR}).encode())
        await http.get(Download(f"{url}/files/face", end=4096))
        await asyncio.sleep(KEPT_SECONDS + 0.1)
        await http.get(Download(f"{url}/files/face", end=4096))
    assert PEERS[0] == PEERS[1] != PEERS[2]


def test_the_address_may_name_another_path_and_must_be_a_url() -> None:
    assert read_address("https://gate.example", TLS).path == "/api/device"
    assert read_address("https://gate.example", TLS).port == 443
    assert read_address("https://gate.example:8443/v2/terminals/", TLS).path == "/v2/terminals"
    assert read_address("http://gate.example", TLS).tls is None
    for wrong in ("gate.example:8443", "ftp://gate.example", "https://"):
        with pytest.raises(ValueError, match="is not https"):
            read_address(wrong, TLS)
