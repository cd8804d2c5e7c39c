"""task-api over real HTTPS with real Redis, MongoDB and Kafka."""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.domain.control import TasksChanged
from shared.domain.sessions import TOKEN_LIFE_MS
from shared.domain.tasks import HistoryEntry, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from shared.stores.interfaces import NewTask
from shared.stores.redis.client import CONTROL_STREAM_KEY, device_token_key, session_key
from shared.stores.redis.control_stream import RedisControlStream
from stack.kafka_part import KafkaPart
from stack.mongo_part import MongoPart
from stack.ports import free_port
from stack.redis_part import RedisPart
from tests.support.task_api import SECRET, SN, TOKEN, error_code, make_body, md5, read_answer
from tests.support.task_api_platform import GET, SEALING_KEYS, Platform, open_platform
from tests.support.task_values import make_task
from tests.support.waiting import eventually
from tests.unit.task_api.test_device_endpoint import FAULTS

A, B, C, D = (str(6_541_951_958_563_696_640 + number) for number in range(4))

_sns = itertools.count(1)


@pytest.fixture
async def platform(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[Platform]:
    async with open_platform(redis_settings, mongo_settings, kafka_settings, tmp_path) as platform:
        yield platform


def new_sn() -> str:
    """An sn that no other test of this session uses: topics stay."""
    return f"task-api-{os.getpid()}-{next(_sns)}"


# ── devices ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_e2_every_fault_over_https_gets_its_code_in_its_order(platform: Platform) -> None:
    async with platform.running() as client:
        for name, body, code, signed in FAULTS:
            answer = await client.ask(body)
            assert error_code(json.loads(answer)) == code, name
            assert ("sign" in json.loads(answer)) == signed, name
            if signed:
                read_answer(answer)


async def test_t1_an_expired_token_is_401_01(platform: Platform) -> None:
    async with platform.running() as client:
        assert await client.get(A) == []
        await platform.redis.pexpire(session_key(TOKEN), 1)
        await asyncio.sleep(0.01)
        answer = json.loads(await client.ask(make_body(GET, {"taskids": [A]})))
        assert (error_code(answer), "sign" in answer) == ("401_01", False)


@pytest.mark.parametrize("end", ["credential", "device"])
async def test_t1_what_is_ended_answers_401_02_within_a_second(platform: Platform, end: str) -> None:
    async with platform.running() as client:
        assert await client.get(A) == []
        began = time.monotonic()
        if end == "credential":
            await platform.ended.end_credential("a1")
        else:
            await platform.ended.end_device(SN, time.time_ns() // 1_000_000)

        async def refused() -> bool:
            return error_code(read_answer(await client.ask(make_body(GET, {"taskids": [A]})))) == "401_02"

        await eventually(refused, 1)
        assert time.monotonic() - began < 1
        await platform.redis.flushall()
        await asyncio.sleep(1)  # the control stream was missed by now
        assert await refused()


@pytest.mark.parametrize("lost", ["trimmed", "gone"])
async def test_design_4_after_the_control_stream_was_lost_a_revocation_is_obeyed_within_a_second(
    platform: Platform, lost: str
) -> None:
    async with platform.running() as client:
        assert await client.get(A) == []
        if lost == "trimmed":
            await platform.redis.xtrim(CONTROL_STREAM_KEY, maxlen=0, approximate=False)
        else:
            await platform.redis.delete(CONTROL_STREAM_KEY)
        await platform.ended.end_credential("a1")

        async def refused() -> bool:
            return error_code(read_answer(await client.ask(make_body(GET, {"taskids": [A]})))) == "401_02"

        await eventually(refused, 1)


async def test_t1_an_accepted_request_prolongs_the_token(platform: Platform) -> None:
    async with platform.running() as client:
        for key in (session_key(TOKEN), device_token_key(SN)):
            await platform.redis.pexpire(key, 60_000)
        assert await client.get(A) == []
        for key in (session_key(TOKEN), device_token_key(SN)):
            assert TOKEN_LIFE_MS - 10_000 < await platform.redis.pttl(key) <= TOKEN_LIFE_MS


async def test_t5_t6_t7_the_life_of_tasks_from_fetching_to_the_report(platform: Platform) -> None:
    await platform.add(
        make_task(A, apicode=Apicode.T_POST_DEVICE_PERSON, exclude_fields=("img",)),
        make_task(B),
        make_task(C, sn="1388187"),
        make_task(D),
    )
    async with platform.running() as client:
        given = await client.get(B, C, A, "1")
        assert given == [
            {"taskid": B, "apicode": "T_SEND_PERSON"},
            {"taskid": A, "apicode": "T_POST_DEVICE_PERSON", "param": '{"excludeFields":"img"}'},
        ]
        assert [await platform.state(one) for one in (A, B, C, D)] == ["delivered", "delivered", "pending", "pending"]
        assert await platform.listed() == [A, B, D]
        failed = [{"personId": "1", "errCode": "404_1"}]
        assert await client.report({"taskId": [A, C], "status": 2, "failedPersons": failed, "personCount": 7}) == ""
        assert [await platform.state(one) for one in (A, C)] == ["failed", "pending"]
        assert await platform.listed() == [B, D]
        assert await client.report({"taskid": A, "status": 1}) == ""  # repeated: stays as it ended
        assert await client.report({"taskid": C, "status": 1}) == "400_02"
        assert await client.report({"taskid": B, "status": 1}, {"taskid": D, "status": 4}) == "400_02"
        assert await platform.listed() == [B, D]
        assert await client.get(A, B) == [{"taskid": B, "apicode": "T_SEND_PERSON"}]
    task = (await platform.tasks.find([A]))[A]
    assert [(entry.state, entry.actor) for entry in task.history[1:]] == [("delivered", "device"), ("failed", "device")]
    assert (task.outcome.person_count, task.outcome.face_count) == (7, None)
    assert [(one.person_id, one.code) for one in task.outcome.failed_persons] == [("1", "404_1")]


async def test_j1_j4_loose_json_and_a_param_in_a_string_are_understood(platform: Platform) -> None:
    await platform.add(make_task(A))
    param = f"{{taskids: ['{A}',], }}"
    sign = md5("v1.0.0", SN, TOKEN, GET, param, SECRET)
    head = f"version: 'v1.0.0', sn: 1388186, token: '{TOKEN}', apicode: '{GET}', sign: '{sign}'"
    async with platform.running() as client:
        for written in (param, json.dumps(param)):
            answer = read_answer(await client.ask(f"{{{head}, param: {written},}}".encode()))
            assert answer["response"]["tasks"] == [{"taskid": A, "apicode": "T_SEND_PERSON"}]


async def test_e5_413_404_and_405(platform: Platform) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with platform.running(max_body_bytes=20_000) as client:
        async with client.http.post("/api/device", data=b" " * 20_001) as answer:
            assert answer.status == 413
        async with client.http.post("/api/device", data=endless()) as answer:
            assert answer.status == 413
        assert error_code(json.loads(await client.ask(b" " * 20_000))) == "400_02"
        async with client.http.get("/api/device") as answer:
            assert answer.status == 405
        async with client.http.post("/api/devices", data=b"{}") as answer:
            assert answer.status == 404


async def test_design_12_redis_that_hangs_is_500_01_in_time_and_then_all_goes_on(
    platform: Platform, redis_part: RedisPart
) -> None:
    async with platform.running(request_deadline_seconds=1.5) as client:
        assert await client.get(A) == []
        redis_part.suspend()
        try:
            began = time.monotonic()
            assert error_code(json.loads(await client.ask(make_body(GET, {"taskids": [A]})))) == "500_01"
            assert time.monotonic() - began < 3
        finally:
            redis_part.resume()
        assert await client.get(A) == []


async def test_design_12_mongodb_that_hangs_is_500_01_signed_in_time_and_then_all_goes_on(
    platform: Platform, mongo_part: MongoPart
) -> None:
    async with platform.running(request_deadline_seconds=1.5) as client:
        assert await client.get(A) == []
        mongo_part.suspend()
        try:
            began = time.monotonic()
            answer = read_answer(await client.ask(make_body(GET, {"taskids": [A]})))
            assert (error_code(answer), time.monotonic() - began < 3) == ("500_01", True)
        finally:
            mongo_part.resume()

        async def again() -> bool:
            return bool(read_answer(await client.ask(make_body(GET, {"taskids": [A]})))["success"])

        await eventually(again)


async def test_design_12_it_starts_without_any_part_and_says_500_01_until_they_are_there(platform: Platform) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    platform.redis_settings = RedisSettings(url=SecretStr(f"redis://{nowhere}"))
    platform.mongo_settings = MongoSettings(url=SecretStr(f"mongodb://{nowhere}"))
    platform.kafka = KafkaSettings(bootstrap=nowhere)
    async with platform.running() as client:
        assert error_code(json.loads(await client.ask(make_body(GET, {"taskids": [A]})))) == "500_01"
        assert error_code(json.loads(await client.ask(make_body("C_AUTH")))) == "400_01"


# ── background work ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_3_after_a_flush_the_index_is_whole_again_and_every_ingress_is_told(platform: Platform) -> None:
    await platform.add(make_task(A), make_task(B, sn="2"), make_task(C), make_task(D))
    await platform.tasks.change([C], HistoryEntry(at_ms=1, state=TaskState.CANCELLED, actor="op"))
    async with platform.running():
        await eventually(platform.pending.is_whole)
        await platform.redis.flushall()
        reader = RedisControlStream(platform.redis)
        assert await reader.read(1) is None
        began = time.monotonic()
        await eventually(platform.pending.is_whole)
        assert time.monotonic() - began < 3
        assert (await platform.listed(), await platform.listed("2")) == ([A, D], [B])
        assert set(await reader.read(100) or ()) >= {TasksChanged(SN), TasksChanged("2")}


async def test_an_index_that_lacks_a_task_gains_it(platform: Platform) -> None:
    async with platform.running(index_heal_seconds=0.2):
        await eventually(platform.pending.is_whole)
        await platform.tasks.add_many([NewTask(task=make_task(A))])  # its maker died before it was added

        async def healed() -> bool:
            return await platform.listed() == [A]

        await eventually(healed)


async def test_t5_a_task_expires_and_is_listed_no_more(platform: Platform) -> None:
    soon = time.time_ns() // 1_000_000 + 300
    await platform.add(make_task(A, expires_at_ms=soon), make_task(B))
    async with platform.running() as client:

        async def expired() -> bool:
            return await platform.state(A) is TaskState.EXPIRED

        await eventually(expired)
        assert (await platform.listed(), await platform.state(B)) == ([B], "pending")
        assert await client.report({"taskid": A, "status": 1}) == ""
        assert await platform.state(A) == "expired"


async def test_of_two_processes_one_relays_and_the_other_takes_over(platform: Platform) -> None:
    sn = new_sn()
    async with platform.running():
        async with platform.running():
            await platform.add(make_task(A, sn=sn))
            await eventually_relayed(platform)
            assert await platform.events_of(sn) == [(f"{A}-0", "pending")]
        await platform.add(make_task(B, sn=sn))
        await eventually_relayed(platform)
        assert await platform.events_of(sn) == [(f"{A}-0", "pending"), (f"{B}-0", "pending")]


async def eventually_relayed(platform: Platform) -> None:
    async def relayed() -> bool:
        return not await platform.tasks.unrelayed(1)

    await eventually(relayed)


async def test_the_history_of_a_devices_tasks_is_relayed_in_order(platform: Platform) -> None:
    sn, token = new_sn(), "a" * 32
    await platform.open_session(sn, token)
    async with platform.running() as client:
        await platform.add(make_task(A, sn=sn), make_task(B, sn=sn))
        assert len(await client.get(A, B, sn=sn, token=token)) == 2
        assert await client.report({"taskid": B, "status": 3}, sn=sn, token=token) == ""
        assert await client.report({"taskid": A, "status": 1}, sn=sn, token=token) == ""
        await eventually_relayed(platform)
    events = await platform.events_of(sn)
    assert sorted(events) == [
        *zip([f"{A}-{n}" for n in range(3)], ["pending", "delivered", "done"], strict=True),
        *zip([f"{B}-{n}" for n in range(3)], ["pending", "delivered", "unsupported"], strict=True),
    ]
    for task_id in (A, B):
        assert [one for one, _ in events if one.startswith(task_id)] == [f"{task_id}-{n}" for n in range(3)]
    assert events.index((f"{B}-2", "unsupported")) < events.index((f"{A}-2", "done"))


async def test_killed_between_ack_and_mark_it_relays_again_with_the_same_id(platform: Platform) -> None:
    sn = new_sn()
    await platform.add(make_task(A, sn=sn))
    settings = {f"TASK_API_{name.upper()}": str(value) for name, value in platform.environment().items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.killed_outbox",
        env={
            **os.environ,
            **settings,
            "SEALING_KEYS": SEALING_KEYS,
            "REDIS_URL": platform.redis_settings.url.get_secret_value(),
            "MONGO_URL": platform.mongo_settings.url.get_secret_value(),
            "MONGO_DATABASE": platform.mongo_settings.database,
            "KAFKA_BOOTSTRAP": platform.kafka.bootstrap,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == -signal.SIGKILL, log.decode()
    assert await platform.events_of(sn) == [(f"{A}-0", "pending")]
    assert [one.relayed for one in await platform.tasks.unrelayed(10)] == [0]
    await platform.redis.flushall()  # the dead process's lock would be waited for
    async with platform.running():
        await eventually_relayed(platform)
    assert await platform.events_of(sn) == [(f"{A}-0", "pending")] * 2


async def test_design_12_while_kafka_hangs_devices_are_served_and_their_events_come_later(
    platform: Platform, kafka_part: KafkaPart
) -> None:
    sn, token = new_sn(), "b" * 32
    await platform.open_session(sn, token)
    async with platform.running(kafka_deadline_seconds=1) as client:
        await platform.add(make_task(A, sn=sn))
        await eventually_relayed(platform)
        kafka_part.suspend()
        try:
            assert len(await client.get(A, sn=sn, token=token)) == 1
            assert await client.report({"taskid": A, "status": 1}, sn=sn, token=token) == ""
            await asyncio.sleep(1.5)
            assert len(await platform.tasks.unrelayed(1)) == 1
        finally:
            kafka_part.resume()
        await eventually_relayed(platform)
    events = await platform.events_of(sn)
    assert list(dict.fromkeys(events)) == [(f"{A}-0", "pending"), (f"{A}-1", "delivered"), (f"{A}-2", "done")]
