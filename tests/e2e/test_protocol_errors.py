"""Every error code in the order of E2 over a real socket: each request is also wrong in all that is checked later."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from terminal_simulator.wire import Answer, encode_frame, encode_varint
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_request, make_sign_in, now_ms, time_stamp
from tests.support.operators import Operators, event_id
from tests.support.terminal import connect

NO_TOKEN = "0" * 32
NO_SIGN = "0" * 32
NO_PARAM = "neither JSON nor JSON5"
LONG_AGO = "20210328031608"
TEXTS = {
    "400_01": "APICODE 为空",
    "400_02": "param 解析失败",
    "400_04": "token 或 sign 验证失败",
    "400_05": "timestamp 验证错误",
    "401_01": "token 不存在",
    "401_02": "认证密钥已失效",
    "500_01": "系统异常",
}


def assert_refused(answer: Answer, code: str, apicode: str) -> None:
    assert (answer.version, answer.success, answer.apicode, answer.response) == ("v1.0.0", False, apicode, None)
    assert answer.error is not None
    assert set(answer.error) == {"errorcode", "errmsg"}
    assert answer.errorcode == code
    assert answer.errmsg.startswith(TEXTS[code])


async def test_e1_e2_each_check_of_a_request_comes_before_the_later_ones(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    vendor_id, vendor = await operators.create_vendor()
    secret, other = vendor.access_secret, f"{sn}-other"
    long_sn = "S" * 65

    def wrong(
        number: str,
        token: str,
        apicode: str,
        param: str = NO_PARAM,
        stamp: str = LONG_AGO,
        signature: str | None = NO_SIGN,
    ) -> bytes:
        return make_request(secret, number, token, apicode, param, stamp=stamp, signature=signature)

    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        foreign = await terminal.authenticate(vendor, other)
        now = time_stamp()
        no_fields = '{"unknown":1}'
        steps = [
            ("400_01", "", wrong(long_sn, NO_TOKEN, "")),
            ("400_01", "C_NOTHING", wrong(long_sn, NO_TOKEN, "C_NOTHING")),
            ("400_01", "T_GET_TASKS", wrong(long_sn, NO_TOKEN, "T_GET_TASKS")),
            ("400_01", "C_AUTH", wrong(long_sn, NO_TOKEN, "C_AUTH")),
            ("400_02", "C_SIGN_IN", wrong(long_sn, NO_TOKEN, "C_SIGN_IN")),
            ("400_02", "C_SIGN_IN", wrong("", NO_TOKEN, "C_SIGN_IN")),
            ("401_01", "C_SIGN_IN", wrong(sn, NO_TOKEN, "C_SIGN_IN")),
            ("401_01", "C_HEARTBEAT", wrong(sn, "", "C_HEARTBEAT")),
            ("400_04", "C_SIGN_IN", wrong(sn, foreign, "C_SIGN_IN")),
            ("400_05", "C_SIGN_IN", wrong(sn, token, "C_SIGN_IN")),
            ("400_05", "C_HEARTBEAT", wrong(sn, token, "C_HEARTBEAT", stamp="yesterday")),
            ("400_02", "C_SIGN_IN", wrong(sn, token, "C_SIGN_IN", stamp=now)),
            ("400_02", "C_HEARTBEAT", wrong(sn, token, "C_HEARTBEAT", param=f'{{"a":"{"x" * 65536}"}}', stamp=now)),
            ("400_04", "C_SIGN_IN", wrong(sn, token, "C_SIGN_IN", no_fields, now)),
            ("400_04", "C_HEARTBEAT", wrong(sn, token, "C_HEARTBEAT", "{}", now)),
            ("400_02", "C_SIGN_IN", wrong(sn, token, "C_SIGN_IN", no_fields, now, None)),
        ]
        for code, apicode, message in steps:
            assert_refused(await terminal.ask(message), code, apicode)
        assert (await terminal.ask(make_heartbeat(secret, sn, token))).success  # none of them cost the connection
        await operators.revoke(vendor_id, vendor.access_id)
        await asyncio.sleep(1.0)  # revocation is everywhere within a second (T1)
        assert_refused(await terminal.ask(wrong(sn, token, "C_SIGN_IN")), "401_02", "C_SIGN_IN")
        assert_refused(await terminal.ask(wrong(sn, foreign, "C_SIGN_IN")), "400_04", "C_SIGN_IN")
        assert_refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02", "C_HEARTBEAT")


async def test_e1_e2_each_check_of_c_auth_comes_before_the_later_ones(
    platform_stack: RunningStack, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    other_id, other = await operators.create_vendor()
    bound = f"{sn}-bound"

    def wrong(
        who: Vendor, number: str, param: str = NO_PARAM, stamp: str = LONG_AGO, signature: str | None = NO_SIGN
    ) -> bytes:
        return make_auth(who, number, param=param, stamp=stamp, signature=signature)

    nobody = Vendor("f" * 32, vendor.access_key, vendor.access_secret)
    wrong_key = Vendor(vendor.access_id, "f" * 32, vendor.access_secret)
    async with connect(*platform_stack.tcp) as terminal:
        await terminal.authenticate(other, bound)
        await operators.revoke(other_id, other.access_id)
        await asyncio.sleep(1.0)
        now = time_stamp()
        good = make_auth(vendor, sn, stamp=now)
        steps = [
            ("400_02", wrong(nobody, "S" * 65)),
            ("400_02", wrong(nobody, "")),
            ("400_04", wrong(nobody, bound)),
            ("400_04", wrong(wrong_key, bound)),
            (
                "400_04",
                make_auth(vendor, bound, nine_fields=True, sent_secret="f" * 32, param=NO_PARAM, stamp=LONG_AGO),
            ),
            ("401_02", wrong(other, bound)),
            ("400_04", wrong(vendor, bound)),
            ("400_05", wrong(vendor, sn)),
            ("400_02", wrong(vendor, sn, stamp=now)),
            ("400_04", wrong(vendor, sn, param="{}", stamp=now)),
        ]
        for code, message in steps:
            assert_refused(await terminal.ask(message), code, "C_AUTH")
        assert (await terminal.ask(good)).success
        assert_refused(await terminal.ask(good), "400_05", "C_AUTH")  # a replay (E4)


async def test_e3_a_refused_time_stamp_is_answered_with_the_server_s_time(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        for offset in (-700, 700):
            answer = await terminal.ask(make_heartbeat(vendor.access_secret, sn, token, stamp=time_stamp(offset)))
            assert_refused(answer, "400_05", "C_HEARTBEAT")
            (told,) = re.findall(r"\d{14}", answer.errmsg)
            assert time_stamp(-5) <= told <= time_stamp(1)
        for offset in (-500, 500):
            assert (
                await terminal.ask(make_heartbeat(vendor.access_secret, sn, token, stamp=time_stamp(offset)))
            ).success


@pytest.mark.parametrize(
    ("param", "clause"),
    [
        ('{"type":1,"recordTime":1609744974000}', "personId"),
        ('{"personId":"P","recordTime":1609744974000}', "type"),
        ('{"personId":"P","type":1}', "recordTime"),
        ('{"personId":"P","type":0,"recordTime":1609744974000}', "type"),
        ('{"personId":"P","type":128,"recordTime":1609744974000}', "type"),
        ('{"personId":"","type":1,"recordTime":1609744974000}', "personId"),
        ('{"personId":"P","type":1,"recordTime":1609744974.5}', "recordTime"),
        ('{"personId":"P","type":1,"recordTime":-1}', "recordTime"),
        ('{"personId":"P","type":1,"recordTime":9999999999999}', "recordTime"),
        (
            '{"personId":"P","type":1,"recordTime":1609744974000,"coordinate":{"longitude":181,"latitude":0}}',
            "longitude",
        ),
        ('{personId:"4508004291609636864",type:1,img:"",recordTime:"1609744974000}', ""),
        ('["personId"]', ""),
        ("", ""),
        ("[" * 65 + "]" * 65, ""),
    ],
)
async def test_j5_a_sign_in_that_is_not_understood_is_400_02_and_says_why(
    platform_stack: RunningStack, vendor: Vendor, sn: str, param: str, clause: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(make_sign_in(vendor.access_secret, sn, token, param=param))
        assert_refused(answer, "400_02", "C_SIGN_IN")
        assert clause in answer.errmsg
        assert vendor.access_secret not in answer.errmsg


@pytest.mark.parametrize(
    "data",
    [
        encode_varint(4 * 1024 * 1024 + 1) + b"\x0a\x00",
        encode_varint(2**34),
        b"\xff" * 6,
        encode_frame(b"\xff\xff\xff garbage"),
        encode_frame(b"\x0a\x02\xff\xfe"),  # a string that is not UTF-8
        b"GET / HTTP/1.1\r\nHost: example\r\n\r\n" + b"x" * 71,
    ],
    ids=["too long", "length of 35 bits", "varint without end", "no protobuf", "not UTF-8", "HTTP"],
)
async def test_f3_f4_a_frame_that_is_none_is_answered_400_02_without_apicode_and_closed(
    platform_stack: RunningStack, data: bytes
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        await terminal.send_raw(data)
        assert_refused(await terminal.receive(), "400_02", "")
        assert await terminal.closed_by_peer()


async def test_f4_what_came_before_a_bad_frame_is_answered_before_the_close(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        sign_ins = [make_sign_in(vendor.access_secret, sn, token, record_time=now_ms() + number) for number in range(5)]
        await terminal.send_raw(b"".join(map(encode_frame, sign_ins)) + b"\xff" * 6)
        for _ in sign_ins:
            assert (await terminal.receive()).success
        assert_refused(await terminal.receive(), "400_02", "")
        assert await terminal.closed_by_peer()


async def test_f4_an_empty_frame_is_400_01_and_the_connection_stays(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        await terminal.send_raw(b"\x00")
        assert_refused(await terminal.receive(), "400_01", "")
        assert await terminal.authenticate(vendor, sn)


async def test_f4_a_peer_that_half_closes_gets_its_answers(
    platform_stack: RunningStack, vendor: Vendor, sn: str
) -> None:
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        await terminal.send(
            *(make_sign_in(vendor.access_secret, sn, token, record_time=now_ms() + n) for n in range(5))
        )
        terminal.send_no_more()
        for _ in range(5):
            assert (await terminal.receive()).success
        assert await terminal.closed_by_peer()


async def test_a_fault_of_one_connection_costs_no_other_its_answers(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    """A bystander signs in all the time while others send garbage, half a frame, a flood, or never read."""
    secret = vendor.access_secret
    big = make_request(secret, sn, NO_TOKEN, "C_HEARTBEAT", "x" * 60_000)
    faults: list[Callable[[], bytes]] = [
        lambda: b"\xff" * 6,
        lambda: encode_varint(2**32 - 1),
        lambda: encode_frame(b"\xff garbage"),
        lambda: encode_varint(3_000_000) + b"half a frame, then silence",
        lambda: encode_frame(make_heartbeat(secret, sn, NO_TOKEN)) * 64,
        lambda: encode_frame(big) * 100,
    ]
    sent: list[int] = []
    stop = asyncio.Event()

    async def bystander() -> None:
        async with connect(*platform_stack.tcp) as terminal:
            token = await terminal.authenticate(vendor, sn)
            while not stop.is_set():
                record_time = now_ms()
                answer = await terminal.ask(make_sign_in(secret, sn, token, record_time=record_time))
                assert answer.success, answer.error
                sent.append(record_time)
                await asyncio.sleep(0.01)

    async def offender(data: bytes, *, reads: bool) -> None:
        async with connect(*platform_stack.tcp) as terminal:
            try:
                await asyncio.wait_for(terminal.send_raw(data), 1)
                if reads:
                    await terminal.receive(0.5)
                await stop.wait()
            except (ConnectionError, TimeoutError):
                pass  # that it is cut off is the platform's right
            finally:
                terminal.reset()

    watched = asyncio.create_task(bystander())
    offenders = [
        asyncio.create_task(offender(make(), reads=reads))
        for make in faults
        for reads in (True, False)
        for _ in range(4)
    ]
    await asyncio.sleep(3)
    assert not watched.done() or watched.exception() is None
    before = len(sent)
    stop.set()
    await asyncio.gather(*offenders)
    await watched
    assert before > 30
    await operators.stored(event_id(sn, "4508004291609636864", sent[-1], 1))
    stored = {item["recordTime"] for item in await operators.attendances_of(sn)}
    assert stored == set(sent)


async def test_e6_500_01_within_the_deadline_while_kafka_hangs_and_success_after(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, sn: str
) -> None:
    record_time = now_ms()
    async with connect(*platform_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        message = make_sign_in(vendor.access_secret, sn, token, record_time=record_time)
        (kafka,) = platform_stack.pids("kafka")
        os.kill(kafka, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert_refused(await terminal.ask(message), "500_01", "C_SIGN_IN")
            assert 4 < time.monotonic() - began < 6.5
            assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        finally:
            os.kill(kafka, signal.SIGCONT)
        deadline = time.monotonic() + 10
        while not (await terminal.ask(message)).success:
            assert time.monotonic() < deadline, "no success within 10 s of SIGCONT"
            await asyncio.sleep(0.2)
    await operators.stored(event_id(sn, "4508004291609636864", record_time, 1))
    assert len(await operators.attendances_of(sn)) == 1
