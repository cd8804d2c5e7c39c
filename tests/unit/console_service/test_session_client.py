import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pydantic import SecretStr

from console_service.session_client import SessionClient, open_session_client
from console_service.settings import ConsoleSettings
from shared.protocol.signatures import SignForm
from shared.runtime.unavailable import Unavailable

CREDENTIAL = {"vendorId": "v1", "name": "GW", "accessId": "a1", "accessKey": "k1", "accessSecret": "s1"}


class Heard:
    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.authorization = ""
        self.body: object = None


@asynccontextmanager
async def session_that(
    answer: Callable[[], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[SessionClient, Heard]]:
    heard = Heard()

    async def handle(request: web.Request) -> web.StreamResponse:
        heard.method, heard.path = request.method, request.raw_path
        heard.authorization = request.headers["Authorization"]
        heard.body = await request.json() if request.can_read_body else None
        return await answer()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    settings = ConsoleSettings(
        admin_token=SecretStr("x" * 32),
        session_token=SecretStr("i" * 32),
        session_url=f"http://127.0.0.1:{port}",
        session_timeout_ms=300,
    )
    try:
        async with open_session_client(settings) as client:
            yield client, heard
    finally:
        await runner.cleanup()


def answering(status: int, body: object = None) -> Callable[[], Awaitable[web.StreamResponse]]:
    async def answer() -> web.StreamResponse:
        return web.json_response(body, status=status) if body is not None else web.Response(status=status)

    return answer


async def test_a_vendor_is_asked_for_with_the_internal_token() -> None:
    async with session_that(answering(201, CREDENTIAL)) as (client, heard):
        created = await client.create_vendor("GW", SignForm.SORTED, None)
    assert created.access_secret == "s1"
    assert (heard.method, heard.path) == ("POST", "/internal/v1/vendors")
    assert heard.authorization == "Bearer " + "i" * 32
    assert heard.body == {"name": "GW", "signForm": "sorted", "timeWindowSeconds": None}


async def test_the_list_is_asked_for_after_a_vendor() -> None:
    vendor = {
        "vendorId": "v2",
        "name": "GW",
        "signForm": "as-sent",
        "timeWindowSeconds": 900,
        "createdAt": "2026-11-24T07:00:00.000Z",
        "credentials": [
            {"accessId": "a1", "createdAt": "2026-11-24T07:00:00.000Z", "revokedAt": "2026-11-24T08:00:00.000Z"}
        ],
    }
    async with session_that(answering(200, {"items": [vendor], "next": "v2"})) as (client, heard):
        page = await client.vendors("v1", 10)
    assert heard.path == "/internal/v1/vendors?limit=10&after=v1"
    assert page.next == "v2"
    assert page.items[0].sign_form is SignForm.AS_SENT
    assert page.items[0].credentials[0].revoked_at is not None


async def test_ids_are_escaped_in_paths() -> None:
    async with session_that(answering(204)) as (client, heard):
        assert await client.revoke("v/1?", "a#2")
    assert (heard.method, heard.path) == ("DELETE", "/internal/v1/vendors/v%2F1%3F/credentials/a%232")


@pytest.mark.parametrize("sn", ["SN1", ".", "..", "a/../b", "设备/1 %2F", "?", "#"])
async def test_a_device_is_changed_by_what_is_named_alone_whatever_its_sn(sn: str) -> None:
    async with session_that(answering(204)) as (client, heard):
        assert await client.change_device(sn, {"siteId": None, "disabled": True})
    assert (heard.method, heard.path) == ("PATCH", "/internal/v1/devices")
    assert heard.body == {"sn": sn, "siteId": None, "disabled": True}
    async with session_that(answering(404)) as (client, _):
        assert not await client.change_device("SN1", {})


async def test_not_found_is_told_from_a_fault() -> None:
    async with session_that(answering(404)) as (client, _):
        assert await client.add_credential("v1") is None
        assert not await client.revoke("v1", "a1")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_fault_of_session_is_unavailable(status: int) -> None:
    async with session_that(answering(status)) as (client, _):
        with pytest.raises(Unavailable, match=str(status)):
            await client.vendors(None, 1)


@pytest.mark.parametrize("status", [401, 422])
async def test_an_answer_that_session_should_never_give_is_our_fault(status: int) -> None:
    async with session_that(answering(status)) as (client, _):
        with pytest.raises(RuntimeError, match=str(status)):
            await client.vendors(None, 1)


async def test_a_session_that_hangs_is_unavailable_within_the_deadline() -> None:
    async def hang() -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with session_that(hang) as (client, _):
        async with asyncio.timeout(2):
            with pytest.raises(Unavailable):
                await client.vendors(None, 1)


async def test_a_session_that_is_not_there_is_unavailable() -> None:
    settings = ConsoleSettings(
        admin_token=SecretStr("x" * 32), session_token=SecretStr("i" * 32), session_url="http://127.0.0.1:1"
    )
    async with open_session_client(settings) as client:
        with pytest.raises(Unavailable, match="session"):
            await client.add_credential("v1")
