"""A synthetic vendor's sign-in is answered and stored as any, and is nobody's attendance: it is in no list, no export,
no live view, and not on the topic from which wages are computed (ADR 0022)."""

import asyncio
import json

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from shared.runtime.settings import KafkaSettings
from terminal_simulator.face import picture
from tests.e2e.test_topics import SENSITIVE, SIGN_IN, of_device, valid
from tests.fixtures.stack import RunningStack
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.live import ServerEvent, read_blocks
from tests.support.operators import Operators, event_id
from tests.support.terminal import connect
from tests.support.topics import read_topic

SYNTHETIC = "attendance.synthetic.v1"
DEAD_LETTER = "attendance.dead-letter.v1"
PERSON = "4508004291609636864"
LIVE_SECONDS = 30.0


async def sign_in(platform: RunningStack, operators: Operators, sn: str, *, synthetic: bool = False) -> str:
    """Signs in once with a picture, iris data and an unknown member; the event's id."""
    _, vendor = await operators.create_vendor(synthetic=synthetic)
    record_time = now_ms()
    async with connect(*platform.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        answer = await terminal.ask(
            make_sign_in(
                vendor.access_secret,
                sn,
                token,
                person_id=PERSON,
                record_time=record_time,
                picture=picture(5),
                extra={"irisInfo": "iris", "lane": 4},
            )
        )
        assert answer.success
    return event_id(sn, PERSON, record_time, 1)


async def whole_topic(platform: RunningStack, topic: str) -> list[ConsumerRecord]:
    return await read_topic(KafkaSettings(bootstrap=platform.description["kafka"]), topic)


async def test_a_synthetic_sign_in_is_found_by_its_id_and_is_in_no_list_and_no_export(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    began = now_ms()
    event = await sign_in(platform_stack, operators, sn, synthetic=True)
    found = await operators.stored(event)
    assert (found["sn"], found["personId"], found["synthetic"]) == (sn, PERSON, True)
    assert (found["hasImage"], found["image"], found["extra"]) == (False, None, None)
    assert await operators.image(event) is None

    other_sn = f"{sn}-real"
    real = await sign_in(platform_stack, operators, other_sn)
    assert "synthetic" not in await operators.stored(real, with_image=True)

    assert [item["eventId"] for item in await operators.attendances_of(other_sn)] == [real]
    assert await operators.attendances_of(sn) == []
    of_person = (await operators.get("/attendance", personId=PERSON, limit=200, **{"from": began - 1000}))["items"]
    as_received = (await operators.get("/attendance", receivedAfter=began - 1000, limit=200))["items"]
    for items in (of_person, as_received):
        listed = {item["eventId"] for item in items}
        assert real in listed
        assert event not in listed
    headers = {"Authorization": f"Bearer {platform_stack.admin_token}"}
    async with (
        aiohttp.ClientSession(platform_stack.console, headers=headers) as http,
        http.get("/api/v1/attendance/export", params={"from": began - 1000}) as answer,
    ):
        exported = await answer.text()
    assert real in exported
    assert event not in exported
    # it is a device all the same, and its vendor tells
    device = await operators.get(f"/devices/{sn}")
    vendors = await operators.get("/vendors", limit=200)
    synthetic = [vendor["vendorId"] for vendor in vendors["items"] if vendor.get("synthetic")]
    assert device["vendorId"] in synthetic


async def test_a_synthetic_sign_in_is_on_its_own_topic_alone(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    event = await sign_in(platform_stack, operators, sn, synthetic=True)
    (record,) = await of_device(platform_stack, SYNTHETIC, sn, 1)
    assert valid(record, SIGN_IN)["ce_id"] == event
    assert json.loads(record.value)["eventId"] == event
    await operators.stored(event)
    for topic in (SIGN_IN, SENSITIVE, DEAD_LETTER):
        everything = await whole_topic(platform_stack, topic)
        assert [one for one in everything if one.key == sn.encode() or event.encode() in (one.value or b"")] == []

    real_sn = f"{sn}-real"
    real = await sign_in(platform_stack, operators, real_sn)
    (one,) = await of_device(platform_stack, SIGN_IN, real_sn, 1)
    assert json.loads(one.value)["eventId"] == real
    assert len(await of_device(platform_stack, SENSITIVE, real_sn, 2)) == 2
    assert real_sn.encode() not in {record.key for record in await whole_topic(platform_stack, SYNTHETIC)}


async def test_the_live_view_shows_no_synthetic_sign_in(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    headers = {"Authorization": f"Bearer {platform_stack.admin_token}"}
    async with (
        aiohttp.ClientSession(platform_stack.console, headers=headers) as http,
        http.get("/api/v1/live") as answer,
        asyncio.timeout(LIVE_SECONDS),
    ):
        assert answer.status == 200
        text = (await answer.content.readany()).decode()  # it has begun, and looks on from now
        event = await sign_in(platform_stack, operators, sn, synthetic=True)
        await operators.stored(event)
        real = await sign_in(platform_stack, operators, f"{sn}-real")
        while not any(real in block for block in sign_ins(read_blocks(text))):
            text += (await answer.content.readany()).decode()
    assert [block for block in sign_ins(read_blocks(text)) if sn in block and real not in block] == []
    assert event not in text


def sign_ins(blocks: list[ServerEvent]) -> list[str]:
    """The data of those that are sign-ins."""
    return [block.data or "" for block in blocks if block.name == "sign-in"]


async def test_a_synthetic_record_that_can_never_be_stored_is_a_dead_letter_as_any(
    platform_stack: RunningStack, sn: str
) -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_type", SIGN_IN.encode()), ("ce_id", b"none")]
    async with AIOKafkaProducer(bootstrap_servers=platform_stack.description["kafka"]) as producer:
        await producer.send_and_wait(SYNTHETIC, b"no JSON", key=sn.encode(), headers=headers)
    (letter,) = await of_device(platform_stack, DEAD_LETTER, sn, 1)
    told = valid(letter, DEAD_LETTER)
    assert (told["dl_topic"], told["dl_reason"]) == (SYNTHETIC, "invalid-json")
