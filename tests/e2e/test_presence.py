"""Which terminal is online, as an operator sees it within seconds (T2, design rules 6, 13, 14)."""

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_auth, make_heartbeat, time_stamp
from tests.support.operators import Operators
from tests.support.terminal import connect

SECONDS = 10.0


async def shown(operators: Operators, sn: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The device once it is shown so. Raises TimeoutError where it is not within seconds."""
    async with asyncio.timeout(SECONDS):
        while True:
            device = await operators.get(f"/devices/{sn}")
            if device is not None and is_so(device):
                return dict(device)
            await asyncio.sleep(0.1)


async def test_t2_an_operator_sees_a_terminal_come_and_go_with_what_it_tells_of_itself(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    slow = time_stamp(-120)
    async with connect(*platform_stack.tcp) as terminal:
        answer = await terminal.ask(make_auth(vendor, sn, stamp=slow))
        assert answer.response is not None
        token = str(answer.response["token"])
        assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token, stamp=slow))).success
        device = await shown(operators, sn, lambda device: device["online"] and device["deviceVersion"] is not None)
        assert (device["address"], device["deviceVersion"], device["deviceIp"]) == (
            "127.0.0.1",
            "v14.8.7",
            "192.168.1.11",
        )
        assert -125 <= device["clockSkewSeconds"] <= -119
    gone = await shown(operators, sn, lambda device: not device["online"])
    last_seen = [datetime.fromisoformat(one["lastSeenAt"]) for one in (device, gone)]
    assert abs(last_seen[1] - last_seen[0]) < timedelta(seconds=1)  # by Redis's clock, and by that of ingress
    assert {**gone, "online": True, "lastSeenAt": device["lastSeenAt"]} == device


async def test_a_terminal_whose_ingress_was_killed_and_that_comes_back_stays_online(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        await shown(operators, sn, lambda device: bool(device["online"]))
        platform_stack.kill("tcp-ingress", signal.SIGKILL)
        assert await terminal.closed_by_peer()
    await asyncio.sleep(1)
    platform_stack.wait_ready()
    async with connect(*platform_stack.tcp) as terminal:
        assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        for _ in range(20):
            assert (await operators.get(f"/devices/{sn}"))["online"]
            await asyncio.sleep(0.1)
    await shown(operators, sn, lambda device: not device["online"])
