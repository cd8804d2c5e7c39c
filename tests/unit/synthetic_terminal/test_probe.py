"""What becomes of the synthetic terminal's sign-ins, and how each outcome is counted."""

import asyncio
import json
import socket

import pytest

from synthetic_terminal.requests import event_id
from tests.support.waiting import eventually
from tests.unit.synthetic_terminal.measured import NOW_MS, VIEWER, bench, console_at_work
from tests.unit.terminal_simulator.scripted_platform import TOKEN, Request, accept, platform, write_answer

EVENT = event_id("SYNTHETIC0007", NOW_MS)
NOWHERE = "http://127.0.0.1:1"


async def test_a_sign_in_that_is_answered_and_then_found_is_a_success() -> None:
    async with platform(accept) as (port, requests), console_at_work() as (url, console), bench(port, url) as it:
        await it.probe.sign_in()
        await eventually(lambda: len(console.asked) >= 2)
        assert it.counted == {}
        assert it.metrics.last_success_seconds == 0
        it.clock.advance(2)
        console.stored.add(EVENT)
        await eventually(lambda: it.counted == {"success": 1})
        assert it.metrics.last_success_seconds == (NOW_MS + 2000) / 1000
        assert set(console.asked) == {EVENT}
        assert console.tokens == {f"Bearer {VIEWER}"}
    assert [request.apicode for request in requests] == ["C_AUTH", "C_SIGN_IN"]


async def test_one_that_is_answered_and_never_found_is_not_stored() -> None:
    async with platform(accept) as (port, _), console_at_work() as (url, console):
        async with bench(port, url, stored_timeout_seconds=0.3) as it:
            await it.probe.sign_in()
            await eventually(lambda: it.counted == {"not_stored": 1})
            assert it.metrics.last_success_seconds == 0
        assert console.asked


@pytest.mark.parametrize("fault", [401, 500, None], ids=["token refused", "console broken", "console away"])
async def test_a_console_that_cannot_tell_is_asked_on_and_said_in_the_log(
    fault: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with platform(accept) as (port, _), console_at_work() as (url, console):
        console.fault = fault
        async with bench(port, url if fault else NOWHERE, stored_timeout_seconds=0.5) as it:
            await it.probe.sign_in()
            await eventually(lambda: it.counted == {"not_stored": 1})
    warnings = [record.getMessage() for record in caplog.records if "cannot tell" in record.getMessage()]
    assert len(warnings) == 1
    assert str(fault or "ClientConnectorError") in warnings[0]


async def test_a_token_lives_on_from_one_connection_to_the_next() -> None:
    async with platform(accept) as (port, requests), bench(port, NOWHERE) as it:
        for _ in range(3):
            await it.probe.sign_in()
            it.clock.advance(60)
    assert [request.apicode for request in requests] == ["C_AUTH", "C_SIGN_IN", "C_SIGN_IN", "C_SIGN_IN"]
    assert [request.token for request in requests[1:]] == [TOKEN] * 3  # type: ignore[union-attr]  # sign-ins
    times = [json.loads(request.param)["recordTime"] for request in requests[1:]]  # type: ignore[union-attr]  # as above
    assert times == [NOW_MS, NOW_MS + 60_000, NOW_MS + 120_000]


@pytest.mark.parametrize("code", ["400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01"])
async def test_a_refused_sign_in_is_counted_by_its_code_and_what_refuses_the_token_has_it_authenticate_anew(
    code: str,
) -> None:
    refusals = [write_answer("C_SIGN_IN", error=(code, "refused"))]

    def answering(request: Request) -> bytes:
        return refusals.pop() if request.apicode == "C_SIGN_IN" and refusals else accept(request)

    async with platform(answering) as (port, requests), bench(port, NOWHERE) as it:
        await it.probe.sign_in()
        assert it.counted == {code: 1}
        await it.probe.sign_in()
        assert it.counted == {code: 1}
    again = ["C_AUTH", "C_SIGN_IN"] if code in ("400_04", "401_01", "401_02") else ["C_SIGN_IN"]
    assert [request.apicode for request in requests] == ["C_AUTH", "C_SIGN_IN", *again]


async def test_a_refused_c_auth_is_counted_by_its_code_and_nothing_is_signed_in() -> None:
    def refusing(request: Request) -> bytes:
        return write_answer(request.apicode, error=("400_04", "sign wrong"))

    async with platform(refusing) as (port, requests), bench(port, NOWHERE) as it:
        await it.probe.sign_in()
        assert it.counted == {"400_04": 1}
    assert [request.apicode for request in requests] == ["C_AUTH"]


async def test_nobody_at_the_door_is_a_refused_connection() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and never listens
        async with bench(bound.getsockname()[1], NOWHERE) as it:
            await it.probe.sign_in()
            assert it.counted == {"refused_connection": 1}


def silent(_request: Request) -> None:
    return None


def closing(_request: Request) -> bytes:
    return b""


def rubbish(_request: Request) -> bytes:
    return b"\x03\xff\xff\xff"


def of_no_standard(request: Request) -> bytes:
    return write_answer(request.apicode, error=("418_00", "a teapot"))


def without_token(request: Request) -> bytes:
    return write_answer(request.apicode, response="{}")


@pytest.mark.parametrize("answering", [silent, closing, rubbish, of_no_standard, without_token])
async def test_what_is_no_answer_of_the_standard_is_unanswered(answering: object) -> None:
    seconds = 0.3 if answering is silent else 30
    async with platform(answering) as (port, _), bench(port, NOWHERE, answer_timeout_seconds=seconds) as it:  # type: ignore[arg-type]  # one of the above
        await it.probe.sign_in()
        assert it.counted == {"unanswered": 1}


async def test_c1_a_command_between_the_answers_is_passed_over() -> None:
    def with_command(request: Request) -> bytes:
        return write_answer("T_CLEAR_DEVICE_PERSON", response='{"taskid":"1"}') + accept(request)

    async with platform(with_command) as (port, _), console_at_work() as (url, console), bench(port, url) as it:
        console.stores_everything = True
        await it.probe.sign_in()
        await eventually(lambda: it.counted == {"success": 1})


async def test_one_that_waits_to_be_stored_holds_up_no_later_one() -> None:
    async with (
        platform(accept) as (port, requests),
        console_at_work() as (url, console),
        bench(port, url, interval_seconds=0.05) as it,
    ):
        working = asyncio.ensure_future(it.probe.run())
        await eventually(lambda: sum(request.apicode == "C_SIGN_IN" for request in requests) >= 4)
        assert it.counted == {}
        console.stores_everything = True
        await eventually(lambda: it.counted.get("success", 0) >= 4)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert set(it.counted) == {"success"}


def following() -> int:
    return sum(task.get_name() == "follow-sign-in" for task in asyncio.all_tasks())


async def test_when_it_is_told_to_stop_nothing_of_it_goes_on() -> None:
    async with (
        platform(accept) as (port, _),
        console_at_work() as (url, _),
        bench(port, url, interval_seconds=0.05) as it,
    ):
        working = asyncio.ensure_future(it.probe.run())
        await eventually(lambda: following() >= 3)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert following() == 0
