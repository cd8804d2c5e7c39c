"""A fleet that fetches and reports its tasks over a real socket, from a platform that is well, late or gone."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from terminal_simulator.fleet import Fleet, Plan
from terminal_simulator.habits import Account, Habits
from terminal_simulator.https import NoAnswer, post, read_address
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address
from tests.unit.terminal_simulator.scripted_platform import Request, accept, platform, write_answer
from tests.unit.terminal_simulator.test_errands import given, refusal, success

A = "6541951958563696640"
ACCOUNT = Account("id", "key", "93f6218530984c32a3bf2b3d03dcb417")
HABITS = Habits(heartbeat_seconds=0.2, sign_ins_per_minute=0, failed_share=0, unsupported_share=0)
TLS = ssl.create_default_context()

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
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


def give_and_take(body: dict[str, Any]) -> web.Response:
    answer = given((A, "T_SEND_PERSON")) if body["apicode"] == "T_GET_TASKS" else success()
    return web.Response(body=answer)


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
            return accept(request) + write_answer("T_SEND_PERSON", response=json.dumps({"taskid": A}))
        return write_answer("C_HEARTBEAT", response=json.dumps({"taskids": [A]}))


async def test_a_listed_task_is_fetched_and_reported() -> None:
    async with serving(give_and_take) as (url, bodies):
        fleet = await run_fleet(ListsOne(bodies), url)
    assert [body["apicode"] for body in bodies] == ["T_GET_TASKS", "T_UPDATE_TASKS_STATUS"]
    assert fleet.tally.tasks_reported == {"done": 1}


async def test_c1_a_pushed_task_is_reported_without_being_fetched() -> None:
    async with serving(give_and_take) as (url, bodies):
        fleet = await run_fleet(ListsOne(bodies, pushes=True), url)
    assert [body["apicode"] for body in bodies] == ["T_UPDATE_TASKS_STATUS"]
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


async def test_a_status_that_is_no_success_is_no_answer() -> None:
    async with serving(lambda _: web.Response(status=503)) as (url, _):
        with pytest.raises(NoAnswer, match="503"):
            await post(read_address(url, TLS), b"{}")


def test_the_address_may_name_another_path_and_must_be_a_url() -> None:
    assert read_address("https://gate.example", TLS).path == "/api/device"
    assert read_address("https://gate.example", TLS).port == 443
    assert read_address("https://gate.example:8443/v2/terminals/", TLS).path == "/v2/terminals"
    assert read_address("http://gate.example", TLS).tls is None
    for wrong in ("gate.example:8443", "ftp://gate.example", "https://"):
        with pytest.raises(ValueError, match="is not https"):
            read_address(wrong, TLS)
