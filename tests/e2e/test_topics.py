"""The topics of the running platform, read as a consumer reads them: every record is what contracts/ says."""

import asyncio
import json
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord
from jsonschema import Draft202012Validator

from shared.runtime.settings import KafkaSettings
from terminal_simulator.face import picture
from tests.contract.test_events import schema
from tests.fixtures.stack import RunningStack
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.operators import Operators, event_id
from tests.support.terminal import connect
from tests.support.topics import read_topic

SIGN_IN = "attendance.sign-in.v1"
SENSITIVE = "attendance.sensitive.v1"
PRESENCE = "device.presence.v1"
TASK = "device.task.v1"
DEAD_LETTER = "attendance.dead-letter.v1"

PERSON = "4508004291609636864"
WAIT_SECONDS = 20.0


def valid(record: ConsumerRecord, name: str) -> dict[str, str]:
    """Holds headers and, where it is JSON, value to the schema; the headers."""
    contract = schema(f"{name}.schema.json")
    headers = {key: value.decode() for key, value in record.headers}
    Draft202012Validator(contract["$defs"]["headers"]).validate(headers)
    if "properties" in contract:
        Draft202012Validator(contract).validate(json.loads(record.value))
    return headers


async def of_device(platform: RunningStack, topic: str, sn: str, at_least: int) -> list[ConsumerRecord]:
    """The device's records, when there are so many."""
    settings = KafkaSettings(bootstrap=platform.description["kafka"])
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = [record for record in await read_topic(settings, topic) if record.key == sn.encode()]
            if len(found) >= at_least:
                return found
            await asyncio.sleep(0.2)


async def test_a_terminals_records_are_on_every_topic_as_the_contract_says(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    vendor_id, vendor = await operators.create_vendor()
    secret, record_time, image = vendor.access_secret, now_ms(), picture(3)
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        await terminal.ask(make_heartbeat(secret, sn, token))
        everything = {"irisInfo": "iris", "lane": 4, "temperature": 36.7, "qrCodeInfo": {"type": "1", "codeValue": "c"}}
        answer = await terminal.ask(
            make_sign_in(secret, sn, token, person_id=PERSON, record_time=record_time, picture=image, extra=everything)
        )
        assert answer.success
        (taskid,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn)
        assert (await operators.cancel_task(taskid))[0] == 200

    (sign_in,) = await of_device(platform_stack, SIGN_IN, sn, 1)
    headers = valid(sign_in, SIGN_IN)
    event: dict[str, Any] = json.loads(sign_in.value)
    assert headers["ce_id"] == event["eventId"] == event_id(sn, PERSON, record_time, 1)
    assert (event["sn"], event["vendorId"], event["image"]["size"]) == (sn, vendor_id, len(image))
    assert b"iris" not in sign_in.value
    assert b"lane" not in sign_in.value
    assert abs(sign_in.timestamp - now_ms()) < 60_000

    sensitive = await of_device(platform_stack, SENSITIVE, sn, 2)
    assert [
        valid(record, f"{SENSITIVE}.{kind}")["ce_id"]
        for record, kind in zip(sensitive, ("picture", "details"), strict=True)
    ] == [event["eventId"]] * 2
    assert sensitive[0].value == image
    assert json.loads(sensitive[1].value) == {"irisInfo": "iris", "extra": '{"lane":4}'}

    presence = await of_device(platform_stack, PRESENCE, sn, 2)
    assert {valid(record, PRESENCE)["ce_type"] for record in presence} == {PRESENCE}
    assert [json.loads(record.value)["state"] for record in (presence[0], presence[-1])] == ["online", "offline"]

    tasks = await of_device(platform_stack, TASK, sn, 2)
    assert [valid(record, TASK)["ce_id"] for record in tasks] == [f"{taskid}-0", f"{taskid}-1"]
    assert [json.loads(record.value)["state"] for record in tasks] == ["pending", "cancelled"]


async def test_a_record_that_can_never_be_stored_is_a_dead_letter_as_the_contract_says(
    platform_stack: RunningStack, sn: str
) -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_type", SIGN_IN.encode()), ("ce_id", b"none"), ("own", b"kept")]
    async with AIOKafkaProducer(bootstrap_servers=platform_stack.description["kafka"]) as producer:
        sent = await producer.send_and_wait(SIGN_IN, b"no JSON", key=sn.encode(), headers=headers)
    (letter,) = await of_device(platform_stack, DEAD_LETTER, sn, 1)
    told = valid(letter, DEAD_LETTER)
    assert letter.value == b"no JSON"
    assert letter.headers[:4] == tuple(headers)
    assert {name: told[name] for name in ("dl_reason", "dl_topic", "dl_partition", "dl_offset")} == {
        "dl_reason": "invalid-json",
        "dl_topic": SIGN_IN,
        "dl_partition": str(sent.partition),
        "dl_offset": str(sent.offset),
    }
