"""Tasks on the device's own connection: listed in heartbeats (M7, T5), and pushed (C1, C2)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.domain.control import PushCommand
from shared.stores.redis.client import open_redis
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.pushed_tasks import RedisPushedTasks
from stack.ports import free_port
from stack.redis_part import RedisPart
from terminal_simulator.wire import Answer
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.ingress import Ingress, Parts, ingress_process, ready
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

A, B, C = "6541951958563696640", "6541951958563696641", "6541951958563696642"
CLEAR = "T_CLEAR_DEVICE_PERSON"
QUIET_SECONDS = 0.5


@pytest.fixture
async def redis(parts: Parts) -> AsyncIterator[Redis]:
    async with open_redis(parts.redis) as redis:
        yield redis


@pytest.fixture
def pending(redis: Redis) -> RedisPendingTasks:
    return RedisPendingTasks(redis)


class Device:
    """An authenticated device on a connection."""

    def __init__(self, terminal: Terminal, secret: str, sn: str, token: str) -> None:
        self.terminal = terminal
        self.secret = secret
        self.sn = sn
        self.token = token

    async def listed(self) -> list[str]:
        """What a heartbeat lists; taskids is absent where nothing waits (M7)."""
        answer = await self.terminal.ask(make_heartbeat(self.secret, self.sn, self.token))
        assert answer.success, answer.error
        response = dict(answer.response or {})
        if response:
            assert response["taskids"], "taskids without a task"
        return list(response.get("taskids", []))

    async def lists(self, *task_ids: str) -> bool:
        return await self.listed() == list(task_ids)


@contextlib.asynccontextmanager
async def device_on(ingress: Ingress, parts: Parts, sn: str = "sn-tasks") -> AsyncIterator[Device]:
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        yield Device(terminal, parts.vendor.access_secret, sn, token)


# ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_m7_the_first_heartbeat_lists_what_waited_before_the_device_came(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks
) -> None:
    await pending.add_many({"sn-tasks": [B, A], "another": [C]})
    async with device_on(ingress, parts) as device:
        assert await device.listed() == [A, B]


async def test_m7_a_change_is_in_the_heartbeats_within_a_second(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks
) -> None:
    async with device_on(ingress, parts) as device:
        assert await device.listed() == []
        await pending.add_many({"sn-tasks": [A]})
        await eventually(lambda: device.lists(A), seconds=1)
        await pending.add_many({"sn-tasks": [C, B]})
        await eventually(lambda: device.lists(A, B, C), seconds=1)
        await pending.remove_many({"sn-tasks": [A, C]})
        await eventually(lambda: device.lists(B), seconds=1)
        await pending.remove_many({"sn-tasks": [B]})
        await eventually(lambda: device.lists(), seconds=1)


async def test_m7_fifty_ids_are_listed_at_most_the_oldest_first(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks
) -> None:
    task_ids = [str(int(A) + number) for number in range(60)]
    await pending.add_many({"sn-tasks": task_ids[::-1]})
    async with device_on(ingress, parts) as device:
        assert await device.listed() == task_ids[:50]


async def test_design_4_heartbeats_cost_no_round_trip(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks
) -> None:
    await pending.add_many({"sn-tasks": [A]})
    async with device_on(ingress, parts) as device:
        assert await device.listed() == [A]
        reads = (await ingress.metrics())["tcp_ingress_task_list_reads_total"]
        for _ in range(50):
            assert await device.listed() == [A]
        assert (await ingress.metrics())["tcp_ingress_task_list_reads_total"] == reads == 1


async def test_design_3_after_a_flush_the_rebuilt_index_is_listed(
    ingress: Ingress, parts: Parts, redis: Redis, pending: RedisPendingTasks
) -> None:
    await pending.add_many({"sn-tasks": [A]})
    async with device_on(ingress, parts) as device:
        assert await device.listed() == [A]
        await redis.flushall()
        # The token went with the flush, which costs the device one C_AUTH.
        await eventually(lambda: _is_refused(device), seconds=3)
        device.token = await device.terminal.authenticate(parts.vendor, device.sn)
        assert await device.listed() == []
        await pending.add_many({"sn-tasks": [A, B]})  # what task-api's index rebuilder does
        await eventually(lambda: device.lists(A, B), seconds=1)


async def _is_refused(device: Device) -> bool:
    answer = await device.terminal.ask(make_heartbeat(device.secret, device.sn, device.token))
    return answer.errorcode == "401_01"


async def test_design_3_while_redis_hangs_heartbeats_list_what_was_known_last(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks, redis_part: RedisPart
) -> None:
    await pending.add_many({"sn-tasks": [A]})
    async with device_on(ingress, parts) as device:
        assert await device.listed() == [A]
        redis_part.suspend()
        try:
            for _ in range(5):
                assert await device.listed() == [A]
        finally:
            redis_part.resume()
        await pending.add_many({"sn-tasks": [B]})
        await eventually(lambda: device.lists(A, B), seconds=5)


# ── pushes ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def pushed(terminal: Terminal, seconds: float = 1) -> Answer:
    """The command that is pushed within the time."""
    command = await terminal.receive(seconds)
    assert command.success
    assert command.apicode.startswith("T_")
    return command


async def nothing_comes(terminal: Terminal) -> bool:
    try:
        await terminal.receive(QUIET_SECONDS)
    except TimeoutError:
        return True
    return False


async def test_c1_a_command_is_pushed_within_a_second_and_told(
    ingress: Ingress, parts: Parts, redis: Redis, pending: RedisPendingTasks
) -> None:
    async with device_on(ingress, parts) as device:
        assert await device.listed() == []
        command = PushCommand("sn-tasks", A, "T_POST_DEVICE_PERSON", '{"excludeFields":"img"}')
        await pending.add_many({"sn-tasks": [A]}, [command])
        answer = await pushed(device.terminal)
        assert (answer.version, answer.apicode) == ("v1.0.0", "T_POST_DEVICE_PERSON")
        assert answer.response == {"taskid": A, "param": {"excludeFields": "img"}}
        assert await device.listed() == [A]  # C2: until it ends
        await eventually(lambda: _told(redis, A), seconds=1)


async def _told(redis: Redis, *task_ids: str) -> bool:
    return list(await RedisPushedTasks(redis).oldest(10)) == list(task_ids)


async def test_c1_a_push_stands_between_answers(ingress: Ingress, parts: Parts, pending: RedisPendingTasks) -> None:
    async with device_on(ingress, parts) as device:
        assert await device.listed() == []
        beat = make_heartbeat(device.secret, device.sn, device.token)
        for number in range(20):
            task_id = str(int(A) + number)
            await asyncio.gather(device.terminal.send(*[beat] * 10), _push(pending, task_id))
        answers = [await device.terminal.receive() for _ in range(220)]
        codes = [answer.apicode for answer in answers]
        assert (codes.count("C_HEARTBEAT"), codes.count(CLEAR)) == (200, 20)


async def _push(pending: RedisPendingTasks, task_id: str) -> None:
    await pending.add_many({"sn-tasks": [task_id]}, [PushCommand("sn-tasks", task_id, CLEAR)])


async def test_f7_a_push_goes_to_the_connection_that_carried_the_device_last(
    ingress: Ingress, parts: Parts, pending: RedisPendingTasks
) -> None:
    async with device_on(ingress, parts) as gateway, ingress.connect() as other:
        assert await gateway.listed() == []
        second = await gateway.terminal.authenticate(parts.vendor, "sn-second")
        beat = make_heartbeat(gateway.secret, "sn-second", second)
        assert (await gateway.terminal.ask(beat)).success
        assert (await other.ask(beat)).success
        await pending.add_many({"sn-second": [A]}, [PushCommand("sn-second", A, CLEAR)])
        assert (await pushed(other)).response == {"taskid": A}
        await pending.add_many({"sn-tasks": [B]}, [PushCommand("sn-tasks", B, CLEAR)])
        assert (await pushed(gateway.terminal)).response == {"taskid": B}
        assert await nothing_comes(other)


async def test_c2_a_device_that_is_gone_is_not_pushed_to_and_learns_by_heartbeat(
    ingress: Ingress, parts: Parts, redis: Redis, pending: RedisPendingTasks
) -> None:
    async with device_on(ingress, parts) as device:
        assert await device.listed() == []
    await _push(pending, A)
    await asyncio.sleep(QUIET_SECONDS)
    assert await _told(redis)
    async with ingress.connect() as terminal:
        device = Device(terminal, device.secret, device.sn, device.token)
        assert await device.listed() == [A]
        assert await nothing_comes(terminal)


async def test_design_5_a_device_that_was_disabled_is_pushed_nothing(
    ingress: Ingress, parts: Parts, redis: Redis, pending: RedisPendingTasks
) -> None:
    async with device_on(ingress, parts) as device:
        assert await device.listed() == []
        await RedisEndedStore(redis).end_device("sn-tasks", now_ms())
        await _push(pending, A)
        assert await nothing_comes(device.terminal)
        assert await _told(redis)


async def test_c1_of_two_processes_the_one_pushes_whose_connection_carried_the_device_last(
    parts: Parts, redis: Redis, pending: RedisPendingTasks
) -> None:
    with ingress_process(parts, free_port()) as first, ingress_process(parts, free_port()) as second:
        await asyncio.gather(ready(first), ready(second))
        async with device_on(first, parts) as device, second.connect() as later:
            assert await device.listed() == []
            await _push(pending, A)
            assert (await pushed(device.terminal)).response == {"taskid": A}

            # The same session goes on over a connection to the other process, and the first one stays open.
            sign_in = make_sign_in(device.secret, device.sn, device.token)
            assert (await later.ask(sign_in)).success
            await asyncio.sleep(1.5)  # the process tells Redis once a second whom it holds
            await _push(pending, B)
            assert (await pushed(later)).response == {"taskid": B}
            assert await nothing_comes(device.terminal)

            # Back again.
            assert sorted(await device.listed()) == [A, B]
            await asyncio.sleep(1.5)
            await _push(pending, C)
            assert (await pushed(device.terminal)).response == {"taskid": C}
            assert await nothing_comes(later)
        await eventually(lambda: _told(redis, A, B, C), seconds=2)
