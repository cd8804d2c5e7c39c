"""Operators' tasks through the whole platform: made, listed or pushed, fetched, reported, shown (T5 to T7, C1, C2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_heartbeat
from tests.support.https_terminal import HttpsTerminal, https_terminal
from tests.support.operators import Operators
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

CLEAR = "T_CLEAR_DEVICE_PERSON"


@dataclass
class Device:
    """A device on both of its ways."""

    tcp: Terminal
    https: HttpsTerminal
    secret: str

    async def listed(self) -> list[str]:
        """What a heartbeat lists."""
        answer = await self.tcp.ask(make_heartbeat(self.secret, self.https.sn, self.https.token))
        assert answer.success, answer.error
        return list((answer.response or {}).get("taskids", []))

    async def lists(self, *task_ids: str) -> bool:
        return await self.listed() == list(task_ids)


@asynccontextmanager
async def device(stack: RunningStack, vendor: Vendor, sn: str) -> AsyncIterator[Device]:
    async with connect(*stack.tcp) as tcp:
        token = await tcp.authenticate(vendor, sn)
        async with https_terminal(stack.https, stack.ca, sn, token, vendor.access_secret) as https:
            yield Device(tcp, https, vendor.access_secret)


async def test_t5_a_task_goes_from_the_operator_to_the_terminal_and_its_outcome_back(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with device(platform_stack, vendor, sn) as terminal:
        assert await terminal.listed() == []
        (taskid,) = await operators.create_tasks(
            apicode="T_POST_DEVICE_PERSON", sn=sn, excludeFields=["img"], expiresAt="2099-01-01T00:00:00Z"
        )
        await eventually(lambda: terminal.lists(taskid), seconds=2)
        given = await terminal.https.get_tasks(taskid)
        assert given == [{"taskid": taskid, "apicode": "T_POST_DEVICE_PERSON", "param": '{"excludeFields":"img"}'}]
        assert await operators.task_states(taskid) == ["pending", "delivered"]
        assert await terminal.listed() == [taskid]  # until it has ended

        failed = [{"personId": "P1", "errCode": "404_1"}]
        assert await terminal.https.report([taskid], 1, failedPersons=failed) == ""
        shown = await operators.get(f"/tasks/{taskid}")
        assert [change["state"] for change in shown["history"]] == ["pending", "delivered", "done"]
        assert [change["actor"] for change in shown["history"]] == ["admin", "device", "device"]
        assert (shown["personCount"], shown["faceCount"]) == (300, 200)
        assert shown["failedPersons"] == [{"personId": "P1", "code": "404_1"}]
        await eventually(lambda: terminal.lists(), seconds=2)


async def test_c1_a_pushed_task_arrives_within_a_second_and_is_delivered(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with device(platform_stack, vendor, sn) as terminal:
        assert await terminal.listed() == []
        (taskid,) = await operators.create_tasks(apicode=CLEAR, sn=sn, push=True)
        command = await terminal.tcp.receive(1)
        assert (command.success, command.apicode, command.response) == (True, CLEAR, {"taskid": taskid})

        async def is_delivered() -> bool:
            return await operators.task_states(taskid) == ["pending", "delivered"]

        await eventually(is_delivered, seconds=5)
        shown = await operators.get(f"/tasks/{taskid}")
        assert (shown["history"][1]["actor"], shown["history"][1]["reason"]) == ("platform", "pushed")
        assert await terminal.listed() == [taskid]  # C2
        assert await terminal.https.report([taskid], 2) == ""
        assert await operators.task_states(taskid) == ["pending", "delivered", "failed"]


async def test_c2_a_push_for_a_terminal_that_is_away_waits_for_its_heartbeat(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with device(platform_stack, vendor, sn) as terminal:
        assert await terminal.listed() == []
    (taskid,) = await operators.create_tasks(apicode=CLEAR, sn=sn, push=True)
    await asyncio.sleep(1.5)  # as long as a push and its mark take
    assert await operators.task_states(taskid) == ["pending"]
    async with device(platform_stack, vendor, sn) as terminal:
        assert await terminal.listed() == [taskid]


async def test_a_cancelled_task_leaves_the_heartbeats_and_is_given_no_more(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with device(platform_stack, vendor, sn) as terminal:
        assert await terminal.listed() == []
        (taskid,) = await operators.create_tasks(apicode=CLEAR, sn=sn)
        await eventually(lambda: terminal.lists(taskid), seconds=2)
        status, cancelled = await operators.cancel_task(taskid)
        assert (status, cancelled["state"]) == (200, "cancelled")
        await eventually(lambda: terminal.lists(), seconds=1)
        assert await terminal.https.get_tasks(taskid) == []
        assert await terminal.https.report([taskid], 1) == ""  # T7: it stays as it ended
        assert await operators.task_states(taskid) == ["pending", "cancelled"]
        assert (await operators.cancel_task(taskid))[0] == 200


async def test_t6_t7_foreign_ended_and_unknown_tasks(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with (
        device(platform_stack, vendor, sn) as terminal,
        device(platform_stack, vendor, f"{sn}-2") as another,
    ):
        (mine,) = await operators.create_tasks(apicode=CLEAR, sn=sn)
        (ended,) = await operators.create_tasks(apicode=CLEAR, sn=sn)
        (foreign,) = await operators.create_tasks(apicode=CLEAR, sn=f"{sn}-2")
        ids = [ended, foreign, "6541951958563696640", mine]
        assert await terminal.https.report([ended], 3) == ""
        assert (await operators.cancel_task(ended))[0] == 409

        assert [given["taskid"] for given in await terminal.https.get_tasks(*ids)] == [mine]
        assert await terminal.https.report([foreign], 1) == "400_02"
        assert await terminal.https.report(["6541951958563696640"], 1) == "400_02"
        assert await terminal.https.report([mine], 4) == "400_02"
        assert await operators.task_states(foreign) == ["pending"]
        assert await operators.task_states(ended) == ["pending", "unsupported"]
        assert await another.listed() == [foreign]
        assert await operators.get("/tasks/6541951958563696640") is None


async def test_t5_an_expired_task_ends_and_leaves_the_heartbeats(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    async with device(platform_stack, vendor, sn) as terminal:
        soon = datetime.now(UTC) + timedelta(seconds=2)
        (taskid,) = await operators.create_tasks(apicode=CLEAR, sn=sn, expiresAt=soon.isoformat())
        await eventually(lambda: terminal.lists(taskid), seconds=2)
        await eventually(lambda: terminal.lists(), seconds=15)

        async def has_expired() -> bool:
            return await operators.task_states(taskid) == ["pending", "expired"]

        await eventually(has_expired, seconds=5)
        assert await terminal.https.get_tasks(taskid) == []


async def test_design_3_a_flush_of_redis_forgets_no_task(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    (taskid,) = await _registered_and_told(platform_stack, operators, vendor, sn)
    async with Redis.from_url(platform_stack.description["redis"]) as redis:
        await redis.flushall()
    async with device(platform_stack, vendor, sn) as terminal:
        await eventually(lambda: terminal.lists(taskid), seconds=5)
        assert [given["taskid"] for given in await terminal.https.get_tasks(taskid)] == [taskid]


async def _registered_and_told(stack: RunningStack, operators: Operators, vendor: Vendor, sn: str) -> list[str]:
    """A task for a terminal that was there, and has left."""
    async with device(stack, vendor, sn) as terminal:
        made = await operators.create_tasks(apicode=CLEAR, sn=sn)
        await eventually(lambda: terminal.lists(*made), seconds=2)
    return made


async def test_a_site_s_task_is_one_a_terminal_and_found_by_site(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    site_id = await operators.create_site()
    sns = [f"{sn}-{number}" for number in range(3)]
    for one in sns:
        async with device(platform_stack, vendor, one):
            pass
    for one in sns[:2]:
        assert (await operators.change_device(one, siteId=site_id))[0] == 200
    made = await operators.create_tasks(apicode=CLEAR, siteId=site_id)
    listed = await operators.get("/tasks", siteId=site_id, state="pending")
    assert [(one["taskid"], one["sn"]) for one in listed["items"]] == list(zip(made, sns[:2], strict=True))[::-1]
