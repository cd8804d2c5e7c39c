"""C_AUTH in groups against a small HTTP server in place of the session service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web

from shared.domain.authentication import AuthCall, AuthReply
from shared.protocol.messages import AuthRequest
from shared.runtime.unavailable import Unavailable
from tcp_ingress.auth_client import MAX_GROUP_BYTES, PATH, AuthClient
from tests.support.waiting import eventually


class FakeSession:
    """Answers each call with its own sn, when it may."""

    def __init__(self) -> None:
        self.groups: list[list[AuthCall]] = []
        self.tokens: list[str] = []
        self.body_sizes: list[int] = []
        self.status = 200
        self.drops_one = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def authenticate(self, request: web.Request) -> web.Response:
        calls = msgspec.msgpack.decode(await request.read(), type=list[AuthCall])
        self.groups.append(calls)
        self.body_sizes.append(len(await request.read()))
        self.tokens.append(request.headers["Authorization"])
        await self.may_answer.wait()
        replies = [AuthReply(error_code="400_04", detail=call.request.sn) for call in calls]
        return web.Response(status=self.status, body=msgspec.msgpack.encode(replies[self.drops_one :]))


@asynccontextmanager
async def open_client(session: FakeSession, **changes: float) -> AsyncIterator[AuthClient]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes([web.post(PATH, session.authenticate)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    bounds = {"group_seconds": 0.01, "group_size": 5, "groups_in_flight": 2, "max_waiting": 20, "deadline_seconds": 1}
    try:
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            yield AuthClient(http, url, "the-token", **(bounds | changes))  # type: ignore[arg-type]  # numbers by name
    finally:
        session.may_answer.set()
        await runner.cleanup()


def call(sn: str, param: str = "") -> AuthCall:
    request = AuthRequest(
        version="v1", sn=sn, apicode="C_AUTH", access_id="a", access_key="k", access_secret=None,
        time_stamp="20261124150000", param=param, sign="s",
    )  # fmt: skip
    return AuthCall(request, "192.0.2.1")


async def test_calls_that_come_together_are_one_group_and_each_gets_its_own_reply() -> None:
    session = FakeSession()
    async with open_client(session) as client:
        replies = await asyncio.gather(*(client.authenticate(call(f"sn-{n}")) for n in range(5)))
    assert [reply.detail for reply in replies] == [f"sn-{n}" for n in range(5)]
    assert [len(group) for group in session.groups] == [5]
    assert session.groups[0][0].address == "192.0.2.1"
    assert session.tokens == ["Bearer the-token"]


async def test_groups_are_bounded_in_size_and_in_number_and_what_waits_is_bounded() -> None:
    session = FakeSession()
    session.may_answer.clear()
    async with open_client(session) as client:
        first = [asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))) for n in range(12)]
        await asyncio.sleep(0.1)
        more = [asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))) for n in range(12, 20)]
        await asyncio.sleep(0.1)
        assert [len(group) for group in session.groups] == [5, 5]
        filling = [asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))) for n in range(20, 30)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await client.authenticate(call("one too many"))
        session.may_answer.set()
        replies = await asyncio.gather(*first, *more, *filling)
        assert [reply.detail for reply in replies] == [f"sn-{n}" for n in range(30)]
        assert max(len(group) for group in session.groups) == 5


async def test_a_group_that_is_full_goes_at_once_and_beside_others_and_a_smaller_one_gathers_until_one_returns() -> (
    None
):
    session = FakeSession()
    session.may_answer.clear()
    async with open_client(session, group_seconds=60, deadline_seconds=30) as client:
        full = [asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))) for n in range(5)]
        await eventually(lambda: len(session.groups) == 1)
        smaller = []
        for n in range(5, 8):
            smaller.append(asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))))
            await asyncio.sleep(0.02)
        assert [len(group) for group in session.groups] == [5]
        session.may_answer.set()
        replies = await asyncio.gather(*full, *smaller)
    assert [reply.detail for reply in replies] == [f"sn-{n}" for n in range(8)]
    assert [len(group) for group in session.groups] == [5, 3]


async def test_two_full_groups_are_under_way_side_by_side() -> None:
    session = FakeSession()
    session.may_answer.clear()
    async with open_client(session, group_seconds=60, deadline_seconds=30) as client:
        calls = [asyncio.ensure_future(client.authenticate(call(f"sn-{n}"))) for n in range(10)]
        await eventually(lambda: [len(group) for group in session.groups] == [5, 5])
        session.may_answer.set()
        assert [reply.detail for reply in await asyncio.gather(*calls)] == [f"sn-{n}" for n in range(10)]


async def test_a_call_that_hangs_is_not_waited_for_by_those_that_come_after_it() -> None:
    session = FakeSession()
    session.may_answer.clear()
    async with open_client(session, deadline_seconds=30) as client:
        hanging = asyncio.ensure_future(client.authenticate(call("hangs")))
        await eventually(lambda: len(session.groups) == 1)
        session.may_answer, held = asyncio.Event(), session.may_answer
        session.may_answer.set()
        assert (await asyncio.wait_for(client.authenticate(call("comes after")), 20)).detail == "comes after"
        assert not hanging.done()
        held.set()
        assert (await hanging).detail == "hangs"


async def test_a_group_is_bounded_in_bytes() -> None:
    session = FakeSession()
    async with open_client(session, deadline_seconds=5) as client:
        large = " " * MAX_GROUP_BYTES
        await asyncio.gather(*(client.authenticate(call(f"sn-{n}", large)) for n in range(3)))
    assert [len(group) for group in session.groups] == [1, 1, 1]


@pytest.mark.parametrize(
    "field", ["version", "access_id", "access_key", "access_secret", "time_stamp", "param", "sign"]
)
async def test_whichever_field_fills_a_call_and_with_whatever_text_a_group_stays_below_its_bound(field: str) -> None:
    session = FakeSession()
    filling = "验" * (MAX_GROUP_BYTES // 4 // 3)  # three bytes each
    calls = [call(f"sn-{n}") for n in range(6)]
    calls[1:] = [AuthCall(msgspec.structs.replace(one.request, **{field: filling}), one.address) for one in calls[1:]]
    async with open_client(session, deadline_seconds=5) as client:
        replies = await asyncio.gather(*(client.authenticate(one) for one in calls))
    assert [reply.detail for reply in replies] == [f"sn-{n}" for n in range(6)]
    assert max(session.body_sizes) <= MAX_GROUP_BYTES
    assert [len(group) for group in session.groups] == [3, 2, 1]


async def test_a_call_given_up_while_it_waits_is_not_sent() -> None:
    session = FakeSession()
    async with open_client(session) as client:
        given_up = asyncio.ensure_future(client.authenticate(call("given up")))
        kept = asyncio.ensure_future(client.authenticate(call("kept")))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await kept).detail == "kept"
    assert [[one.request.sn for one in group] for group in session.groups] == [["kept"]]


@pytest.mark.parametrize("fault", ["status", "count", "hang", "away"])
async def test_whatever_the_session_service_does_wrong_is_unavailable(fault: str) -> None:
    session = FakeSession()
    async with open_client(session, deadline_seconds=0.2) as client:
        match fault:
            case "status":
                session.status = 503
            case "count":
                session.drops_one = True
            case "hang":
                session.may_answer.clear()
            case "away":
                client._url = "http://127.0.0.1:9/"
        with pytest.raises(Unavailable):
            await client.authenticate(call("sn"))
        # and the next group goes all the same
        with pytest.raises(Unavailable):
            await client.authenticate(call("sn"))
