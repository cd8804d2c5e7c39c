"""The interfaces that give a task's content, over real HTTPS with real parts (T8, T9, T10, T12)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.domain.firmware import FirmwareReference
from shared.domain.tasks import HistoryEntry, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from stack.mongo_part import MongoPart
from tests.support.session_values import NOW_MS
from tests.support.task_api import SECRET, SN, TOKEN, error_code, make_body, md5, read_answer
from tests.support.task_api_platform import Platform, open_platform
from tests.support.task_values import make_task
from tests.support.waiting import eventually

SEND, UPDATE = Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON
DELETE, CLEAR, VERSION = Apicode.T_DEL_DEVICE_PERSON, Apicode.T_CLEAR_DEVICE_PERSON, Apicode.T_UPDATE_DEVICE_VERSION
PAGED = (SEND, UPDATE)
ALL = (SEND, UPDATE, DELETE, CLEAR, VERSION)
A, B = "6541951958563696640", "6541951958563696641"
FACE = b"\xff\xd8\xff\xe0 a face \xff\xd9"


@pytest.fixture
async def platform(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[Platform]:
    async with open_platform(redis_settings, mongo_settings, kafka_settings, tmp_path) as platform:
        yield platform


async def test_t8_a_terminal_loads_ten_thousand_persons_by_pages_and_a_face_by_its_link(platform: Platform) -> None:
    named = [f"{number * 7919 % 10_000:04}" for number in range(10_000)]
    await platform.add_naming(A, SEND, *named)
    loaded = named[7900:8000]
    for person_id in loaded:
        await platform.put_person(person_id, f"张三{person_id}", FACE if person_id == loaded[3] else None)
    async with platform.running() as client:
        answer = await client.ask_about(A, SEND, {"currentPage": 80, "size": 100})
        assert [one["personId"] for one in answer["response"]["data"]] == loaded
        assert (answer["response"]["currentPage"], answer["response"]["totalPage"]) == (80, 100)
        assert [bool(one["imgUrls"]) for one in answer["response"]["data"]].count(True) == 1
        assert answer["response"]["data"][3]["name"] == f"张三{loaded[3]}"
        (link,) = answer["response"]["data"][3]["imgUrls"]
        async with client.http.get(link) as face:
            assert (face.status, await face.read()) == (200, FACE)
        past = await client.ask_about(A, SEND, {"currentPage": 101, "size": 100})
        assert past["response"] == {"data": [], "currentPage": 101, "totalPage": 100}


@pytest.mark.parametrize("apicode", PAGED)
async def test_t8_pages_repeat_and_come_in_any_order_and_follow_what_changes(
    platform: Platform, apicode: Apicode
) -> None:
    named = [f"p{number}" for number in (5, 3, 1, 4, 2)]
    await platform.add_naming(A, apicode, *named)
    for person_id in named:
        await platform.put_person(person_id)
    async with platform.running() as client:

        async def page(number: int, **more: object) -> list[str]:
            answer = await client.ask_about(A, apicode, {"currentPage": number, "size": 2, **more})
            assert answer["response"]["totalPage"] == 3
            return [one["personId"] for one in answer["response"]["data"]]

        pages = [await page(number) for number in (3, 1, 1, 2, 3)]
        assert pages == [["p2"], ["p5", "p3"], ["p5", "p3"], ["p1", "p4"], ["p2"]]
        assert await page(1, totalPage=7) == ["p5", "p3"]
        await platform.persons.delete("p3", NOW_MS)
        await platform.put_person("p5", "新名", FACE)
        answer = await client.ask_about(A, apicode, {"currentPage": "1", "size": "2"})
        (only,) = answer["response"]["data"]
        assert (only["personId"], only["name"], len(only["imgUrls"])) == ("p5", "新名", 1)
        assert await page(2) == ["p1", "p4"]
        for wrong in ({}, {"currentPage": 0}, {"currentPage": 1, "size": 0}, {"currentPage": "x"}, None):
            assert error_code(await client.ask_about(A, apicode, wrong)) == "400_02"


async def test_t9_t10_the_other_three_say_what_is_to_be_done(platform: Platform) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"\x7fELF" * 1000

    package = await platform.firmware.add("v14.9", data(), NOW_MS)
    reference = FirmwareReference(
        firmware_id=package.firmware_id, version=package.version, size=package.size, sha256=package.sha256
    )
    await platform.add_naming("1", DELETE, "人员1", "2")
    await platform.add(make_task("2", apicode=CLEAR), make_task("3", apicode=VERSION, firmware=reference))
    async with platform.running() as client:
        assert (await client.ask_about("1", DELETE))["response"] == {"personIds": ["人员1", "2"]}
        cleared = await client.ask_about("2", CLEAR)
        assert (cleared["success"], "response" in cleared) == (True, False)
        for param in (None, {"version": "v14.9", "size": 1, "downloadUrl": "x"}):
            response = (await client.ask_about("3", VERSION, param))["response"]
            assert (response["version"], response["size"], response["sha256"]) == ("v14.9", 4000, package.sha256)
            async with client.http.get(response["downloadUrl"]) as download:
                assert await download.read() == b"\x7fELF" * 1000
        assert error_code(await client.ask_about("3", VERSION, {"version": "v14.8"})) == "400_02"
        (given,) = await client.get("3")
        assert json.loads(given["param"])["sha256"] == package.sha256


@pytest.mark.parametrize("apicode", ALL)
async def test_t12_a_task_that_is_not_the_devices_has_ended_or_has_another_apicode_is_400_02(
    platform: Platform, apicode: Apicode
) -> None:
    other = CLEAR if apicode is DELETE else DELETE
    await platform.add(
        make_task("1", sn="1388187", apicode=apicode), make_task("2", apicode=apicode), make_task("3", apicode=other)
    )
    await platform.tasks.change(["2"], HistoryEntry(at_ms=NOW_MS, state=TaskState.CANCELLED, actor="op"))
    param = {"currentPage": 1} if apicode in PAGED else None
    async with platform.running() as client:
        for task_id in ("1", "2", "3", "4", "x"):
            assert error_code(await client.ask_about(task_id, apicode, param)) == "400_02", task_id
        body = await client.ask(make_body(apicode, param))
        assert error_code(read_answer(body, response_signed=False)) == "400_02"


async def test_j1_j2_j4_loose_json_and_a_param_in_a_string_and_numbers_are_understood(platform: Platform) -> None:
    await platform.add_naming(A, SEND, "1", "2")
    await platform.put_person("2")
    param = "{currentPage: '2', 'size': 1,}"
    sign = md5("v1.0.0", SN, TOKEN, A, SEND, param, SECRET)
    head = f"version: 'v1.0.0', sn: {SN}, token: '{TOKEN}', apicode: '{SEND}', taskId: {A}, sign: '{sign}'"
    async with platform.running() as client:
        for written in (param, json.dumps(param)):
            answer = read_answer(await client.ask(f"{{{head}, param: {written},}}".encode()), task_id=A)
            assert answer["response"] == {
                "data": [{"personId": "2", "name": "张三", "imgUrls": []}],
                "currentPage": 2,
                "totalPage": 2,
            }


@pytest.mark.parametrize("apicode", ALL)
async def test_t1_with_a_revoked_credential_every_interface_is_401_02_within_a_second(
    platform: Platform, apicode: Apicode
) -> None:
    await platform.add(make_task(A, apicode=apicode, named_persons=0))
    param = {"currentPage": 1} if apicode in PAGED else None
    async with platform.running() as client:
        assert (await client.ask_about(A, apicode, param))["success"]
        await platform.ended.end_credential("a1")

        async def refused() -> bool:
            return error_code(await client.ask_about(A, apicode, param)) == "401_02"

        await eventually(refused, 1)


async def test_design_12_mongodb_that_hangs_is_500_01_signed_and_then_all_goes_on(
    platform: Platform, mongo_part: MongoPart
) -> None:
    await platform.add_naming(A, SEND, "1")
    await platform.put_person("1")
    async with platform.running(request_deadline_seconds=1) as client:
        mongo_part.suspend()
        try:
            assert error_code(await client.ask_about(A, SEND, {"currentPage": 1})) == "500_01"
        finally:
            mongo_part.resume()

        async def again() -> bool:
            return bool((await client.ask_about(A, SEND, {"currentPage": 1}))["success"])

        await eventually(again)
