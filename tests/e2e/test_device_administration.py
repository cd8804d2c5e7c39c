"""Operators enter sites, assign, disable and re-window devices, and terminals and records follow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.fixtures.stack import RunningStack
from tests.support.builders import PERSON, Vendor, make_auth, make_heartbeat, make_sign_in, now_ms, time_stamp
from tests.support.operators import Operators, event_id
from tests.support.revocations import seconds_until_refused
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

CONNECTIONS = 6
"""So many that hardly ever all of them are at one ingress process."""


@pytest.fixture
async def terminals(platform_stack: RunningStack) -> AsyncIterator[list[Terminal]]:
    """Connections, spread over the ingress processes."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(*platform_stack.tcp)) for _ in range(CONNECTIONS)]


async def test_rule_11_a_passage_of_before_gets_the_site_that_its_terminal_is_assigned_to_later(
    operators: Operators, vendor: Vendor, sn: str, terminals: list[Terminal]
) -> None:
    secret, before = vendor.access_secret, now_ms() - 3_600_000
    token = await terminals[0].authenticate(vendor, sn)
    assert (await terminals[0].ask(make_sign_in(secret, sn, token, record_time=before))).success
    stored = await operators.stored(event_id(sn, PERSON, before, 1))
    assert (stored["siteId"], stored["direction"]) == (None, None)

    site_id = await operators.create_site("东门 East Gate")
    assert {"siteId": site_id, "name": "东门 East Gate"} in (await operators.get("/sites", limit=200))["items"]
    status, device = await operators.change_device(sn, siteId=site_id, direction="in", name="Gate 1")
    assert status == 200
    assert (device["siteId"], device["direction"], device["name"]) == (site_id, "in", "Gate 1")
    assert await operators.get(f"/devices/{sn}") == device
    stored = await operators.stored(event_id(sn, PERSON, before, 1))
    assert (stored["siteId"], stored["direction"]) == (site_id, "in")

    async def says_its_site(terminal: Terminal, record_time: int) -> bool:
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=record_time))).success
        stored = await operators.stored(event_id(sn, PERSON, record_time, 1))
        return bool((stored["siteId"], stored["direction"]) == (site_id, "in"))

    for number, terminal in enumerate(terminals):
        assert await says_its_site(terminal, before + 1 + number)
    found = await operators.get("/attendance", siteId=site_id, sn=sn)
    assert len(found["items"]) == 1 + len(terminals)


async def test_t1_a_disabled_device_is_refused_on_every_connection_within_a_second(
    operators: Operators, vendor: Vendor, sn: str, terminals: list[Terminal]
) -> None:
    secret = vendor.access_secret
    token = await terminals[0].authenticate(vendor, sn)

    async def disable() -> None:
        status, device = await operators.change_device(sn, disabled=True)
        assert (status, device["disabled"]) == (200, True)

    assert await seconds_until_refused(terminals, secret, sn, token, disable) < 1.0
    refusal = await terminals[0].ask(make_auth(vendor, sn, stamp=time_stamp(5)))
    assert refusal.errorcode == "401_02"
    await operators.change_device(sn, disabled=False)
    assert (await terminals[0].ask(make_heartbeat(secret, sn, token))).errorcode == "401_02"
    answer = await terminals[0].ask(make_auth(vendor, sn, stamp=time_stamp(10)))
    assert answer.response is not None
    for terminal in terminals:
        assert (await terminal.ask(make_heartbeat(secret, sn, answer.response["token"]))).success


async def test_rule_14_a_wider_window_lets_a_drifted_clock_in(
    operators: Operators, vendor: Vendor, sn: str, terminals: list[Terminal]
) -> None:
    secret = vendor.access_secret
    token = await terminals[0].authenticate(vendor, sn)

    async def outcome(terminal: Terminal) -> str:
        drifted = make_heartbeat(secret, sn, token, stamp=time_stamp(-1800))
        return (await terminal.ask(drifted)).errorcode

    for terminal in terminals:
        assert await outcome(terminal) == "400_05"
    status, device = await operators.change_device(sn, timeWindowSeconds=3600)
    assert (status, device["timeWindowSeconds"]) == (200, 3600)

    async def passes_everywhere() -> bool:
        return {await outcome(terminal) for terminal in terminals} == {""}

    await eventually(passes_everywhere, seconds=1)
    status, device = await operators.change_device(sn, timeWindowSeconds=None)
    assert (status, device["timeWindowSeconds"]) == (200, None)
    await asyncio.sleep(0.5)
    assert await outcome(terminals[0]) == "400_05"


async def test_what_nobody_has_entered_is_told_and_changes_nothing(
    operators: Operators, vendor: Vendor, sn: str, terminals: list[Terminal]
) -> None:
    assert (await operators.change_device(sn, name="Gate"))[0] == 404
    assert await operators.get(f"/devices/{sn}") is None
    await terminals[0].authenticate(vendor, sn)
    before = await operators.get(f"/devices/{sn}")
    assert (await operators.change_device(sn, siteId="s0000000000000000", name="Gate"))[0] == 422
    assert (await operators.change_device(sn, direction="up"))[0] == 422
    assert await operators.get(f"/devices/{sn}") == before
