"""The main job over real sockets: a terminal signs in, and its attendance stands behind the operators' API."""

import ssl

import pytest

from terminal_simulator.face import picture
from terminal_simulator.signing import ParamStyle, SignForm
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_heartbeat, make_sign_in, now_ms, time_stamp
from tests.support.operators import Operators, event_id
from tests.support.terminal import connect

PERSON = "4508004291609636864"


async def test_a_terminal_authenticates_beats_and_signs_in_with_its_picture(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    vendor_id, vendor = await operators.create_vendor()
    secret, record_time, image = vendor.access_secret, now_ms(), picture(1)
    sent_from = time_stamp()
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        assert len(token) == 32
        beat = await terminal.ask(make_heartbeat(secret, sn, token))
        assert (beat.version, beat.success, beat.apicode, beat.response) == ("v1.0.0", True, "C_HEARTBEAT", {})
        taken = await terminal.ask(
            make_sign_in(
                secret,
                sn,
                token,
                person_id=PERSON,
                record_time=record_time,
                picture=image,
                extra={
                    "bitType": "13",
                    "temperature": 36.7,
                    "coordinate": {"longitude": 120.15, "latitude": 30.28},
                    "healthInfo": {"healthCode": 3, "NADCode": 1, "travelCode": 0, "vaccineStatus": 2},
                    "lane": 4,
                },
            )
        )
        assert (taken.version, taken.success, taken.apicode, taken.response) == ("v1.0.0", True, "C_SIGN_IN", None)
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    assert (stored["sn"], stored["vendorId"], stored["personId"]) == (sn, vendor_id, PERSON)
    assert (stored["type"], stored["bitType"], stored["recordTime"]) == (1, 13, record_time)
    assert (stored["temperature"], stored["coordinate"]) == (36.7, {"longitude": 120.15, "latitude": 30.28})
    assert stored["healthInfo"] == {"healthCode": 3, "NADCode": 1, "travelCode": 0, "vaccineStatus": 2}
    assert stored["extra"] == {"lane": 4}
    sent_at = stored["sentAt"]
    assert sent_at.endswith("Z")
    assert sent_from[10:12] == sent_at[14:16] or time_stamp()[10:12] == sent_at[14:16]  # the minute, whatever the zone
    assert await operators.image(stored["eventId"]) == ("image/jpeg", image)
    device = await operators.get(f"/devices/{sn}")
    assert (device["sn"], device["vendorId"]) == (sn, vendor_id)


async def test_a_sign_in_without_a_picture_is_stored_without_one(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time = now_ms()
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(
            make_sign_in(vendor.access_secret, sn, token, record_time=record_time, sign_in_type=2)
        )
        assert answer.success
    stored = await operators.stored(event_id(sn, PERSON, record_time, 2))
    assert stored["hasImage"] is False
    assert stored.get("imageDropped") is None
    assert await operators.image(stored["eventId"]) is None


async def test_e6_a_sign_in_sent_twice_is_stored_once_and_a_later_picture_is_added(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    secret, record_time, image = vendor.access_secret, now_ms(), picture(2)
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        for sent in (None, None, image, None):
            answer = await terminal.ask(make_sign_in(secret, sn, token, record_time=record_time, picture=sent))
            assert answer.success
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    assert await operators.image(stored["eventId"]) == ("image/jpeg", image)
    assert [item["eventId"] for item in await operators.attendances_of(sn)] == [stored["eventId"]]


async def test_f3_a_picture_of_2_9_mb_passes(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time, image = now_ms(), picture(3, 2_900_000)
    assert len(image) > 2_899_990
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(
            make_sign_in(vendor.access_secret, sn, token, record_time=record_time, picture=image)
        )
        assert answer.success, answer.error
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    assert await operators.image(stored["eventId"]) == ("image/jpeg", image)


async def test_j6_an_image_that_is_not_base64_costs_the_picture_and_not_the_attendance(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time = now_ms()
    param = f'{{personId:"{PERSON}",type:1,img:"*not base64*",recordTime:"{record_time}"}}'
    signed = f'{{personId:"{PERSON}",type:1,recordTime:"{record_time}"}}'
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(make_sign_in(vendor.access_secret, sn, token, param=param, signed_param=signed))
        assert answer.success, answer.error
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1))
    assert stored["hasImage"] is False
    assert stored["imageDropped"]


@pytest.mark.parametrize("nine_fields", [False, True])
@pytest.mark.parametrize("style", list(ParamStyle))
@pytest.mark.parametrize("form", list(SignForm))
async def test_m2_j1_s3_every_layout_style_and_sign_form_works(
    platform_stack: RunningStack,
    operators: Operators,
    vendor: Vendor,
    sn: str,
    nine_fields: bool,
    style: ParamStyle,
    form: SignForm,
) -> None:
    record_time, image = now_ms(), picture(4)
    auth_param = '{deviceVersion:"1"extendSn:""}' if style is ParamStyle.LOOSE else '{"deviceVersion":"1"}'
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn, nine_fields=nine_fields, param=auth_param)
        answer = await terminal.ask(
            make_sign_in(
                vendor.access_secret,
                sn,
                token,
                record_time=str(record_time),
                picture=image,
                extra={"temperature": 36.7, "address": "杭州"},
                style=style,
                form=form,
            )
        )
        assert answer.success, answer.error
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    assert stored["extra"] == {"address": "杭州"}
    assert await operators.image(stored["eventId"]) == ("image/jpeg", image)


async def test_t3_the_tls_port_serves_the_same(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time = now_ms()
    trust = ssl.create_default_context(cafile=platform_stack.ca)
    async with connect(*platform_stack.tcp_tls, tls=trust) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(
            make_sign_in(vendor.access_secret, sn, token, record_time=record_time, picture=picture(5, 100_000))
        )
        assert answer.success
    stored = await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    assert stored["sn"] == sn


async def test_f7_one_connection_carries_several_devices(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time, numbers = now_ms(), [f"{sn}-{number}" for number in range(3)]
    async with connect(*platform_stack.tcp) as gateway:
        tokens = {number: await gateway.authenticate(vendor, number) for number in numbers}
        await gateway.send(
            *(make_sign_in(vendor.access_secret, number, tokens[number], record_time=record_time) for number in numbers)
        )
        assert [(await gateway.receive()).success for _ in numbers] == [True] * 3
    for number in numbers:
        assert (await operators.stored(event_id(number, PERSON, record_time, 1)))["sn"] == number


async def test_f5_answers_to_a_pipeline_leave_in_its_order(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    secret = vendor.access_secret
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        messages = []
        for number in range(100):  # past the bound of unanswered requests (F6), which is no error
            messages.append(make_sign_in(secret, sn, token, record_time=now_ms() + number))
            messages.append(make_heartbeat(secret, sn, token))
        await terminal.send(*messages)
        answers = [await terminal.receive() for _ in messages]
    assert [answer.apicode for answer in answers] == ["C_SIGN_IN", "C_HEARTBEAT"] * 100
    assert all(answer.success for answer in answers)


async def test_t1_a_token_is_good_on_another_connection_and_ends_with_a_new_c_auth(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as first, connect(*platform_stack.tcp) as second:
        token = await first.authenticate(vendor, sn)
        assert (await second.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        newer = await second.authenticate(vendor, sn, param='{"extendSn":"2"}')
        assert newer != token
        old = await second.ask(make_heartbeat(vendor.access_secret, sn, token))
        assert old.errorcode == "401_01"
        assert (await second.ask(make_heartbeat(vendor.access_secret, sn, newer))).success
