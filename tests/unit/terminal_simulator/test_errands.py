"""Which tasks a terminal fetches, does and reports, and what it makes of every answer (3.1, 3.2)."""

import json5
import pytest

from terminal_simulator.calls import Call, read_answer
from terminal_simulator.signing import ParamStyle, SignForm
from terminal_simulator.wire import MalformedAnswer
from tests.unit.terminal_simulator.errand_bench import (
    SECRET,
    SN,
    TOKEN,
    A,
    B,
    Bench,
    given,
    md5,
    param_of,
    refusal,
    reliable,
    success,
    success_to,
)

CLEAR = "T_CLEAR_DEVICE_PERSON"


def test_3_1_listed_tasks_are_fetched_done_then_reported_and_then_there_is_peace() -> None:
    bench = Bench()
    bench.errands.listed([A, B])
    fetch = bench.call("T_GET_TASKS")
    assert sorted(param_of(fetch)["taskids"]) == [A, B]
    assert bench.answer(fetch, given((A, CLEAR), (B, CLEAR))) == ""
    done = []
    for _ in range(2):
        done.append(bench.give(CLEAR).task_ids[0])
        assert bench.report() == {"taskId": [done[-1]], "status": 1, "personCount": 0, "faceCount": 0}
    assert sorted(done) == [A, B]
    bench.errands.listed([A, B])  # on the way while the report was taken
    assert bench.is_idle()
    assert bench.tally.tasks_fetched == 2
    assert bench.tally.tasks_reported == {"done": 2}


def test_the_tasks_that_wait_are_done_in_any_order() -> None:
    orders: set[str] = set()
    for seed in range(20):
        bench = Bench(seed=seed)
        for number in range(4):
            bench.errands.pushed({"taskid": str(number)}, CLEAR)
        order = ""
        for _ in range(4):
            order += bench.give(CLEAR).task_ids[0]
            bench.report()
        assert sorted(order) == list("0123")
        orders.add(order)
    assert len(orders) > 3


@pytest.mark.parametrize("style", ParamStyle)
@pytest.mark.parametrize("form", SignForm)
def test_s2_s3_calls_are_signed_over_the_text_that_the_form_says(style: ParamStyle, form: SignForm) -> None:
    bench = Bench(reliable(style=style, form=form))
    bench.errands.listed([A])
    body = bench.call("T_GET_TASKS").body.decode()
    sent = json5.loads(body)
    text = body[body.index("{", 1) : -1]
    assert json5.loads(text) == {"taskids": [A]} == sent["param"]
    signed = text if form is SignForm.AS_SENT else f'{{"taskids":["{A}"]}}'
    assert sent["sign"] == md5("v1.0.0", SN, TOKEN, "T_GET_TASKS", signed, SECRET)
    assert (sent["version"], sent["sn"], sent["token"], sent["apicode"]) == ("v1.0.0", SN, TOKEN, "T_GET_TASKS")


def test_the_loose_style_reports_as_the_standard_prints_it() -> None:
    bench = Bench(reliable(style=ParamStyle.LOOSE))
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.give(CLEAR)
    body = bench.call("T_UPDATE_TASKS_STATUS").body.decode()
    assert f'param:{{task:[{{taskid:"{A}",status:1}}],personCount:0,faceCount:0}}' in body


def test_c1_a_pushed_task_is_done_without_being_fetched_and_once() -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.errands.listed([A])
    bench.errands.pushed({"taskid": A}, CLEAR)
    call = bench.call(CLEAR)
    bench.errands.listed([A])
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.answer(call, success_to(call))
    bench.report()
    bench.errands.pushed({"taskid": A}, CLEAR)
    assert bench.is_idle()


def test_c1_a_task_pushed_while_it_is_fetched_is_done_once() -> None:
    bench = Bench()
    bench.errands.listed([A])
    fetch = bench.call("T_GET_TASKS")
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.answer(fetch, given((A, CLEAR)))
    assert bench.give(CLEAR).task_ids == (A,)
    assert bench.report()["taskId"] == [A]
    assert bench.is_idle()


def test_tasks_that_are_not_given_have_ended_and_are_dropped() -> None:
    bench = Bench()
    bench.errands.listed([A, B])
    bench.answer(bench.call("T_GET_TASKS"), given((B, CLEAR)))
    assert bench.give(CLEAR).task_ids == (B,)
    bench.report()
    assert bench.is_idle()


def test_what_heartbeats_list_no_more_is_forgotten_and_done_anew_when_listed_again() -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.give(CLEAR)
    bench.report()
    bench.errands.listed([])
    bench.errands.listed([A])
    bench.call("T_GET_TASKS")


def test_shares_of_tasks_fail_or_are_not_supported_and_an_unknown_interface_never_is() -> None:
    bench = Bench(reliable(failed_share=0.3, unsupported_share=0.2))
    for number in range(2000):
        bench.errands.pushed({"taskid": str(number)}, CLEAR)
    while isinstance(call := bench.errands.next_call(TOKEN, bench.now), Call):
        bench.answer(call, success_to(call) if call.apicode == CLEAR else success())
    assert 500 < bench.tally.tasks_reported["failed"] < 700
    assert 300 < bench.tally.tasks_reported["unsupported"] < 500
    bench.errands.pushed({"taskid": A}, "T_NEW")
    assert bench.report() == {"taskId": [A], "status": 3, "personCount": 0, "faceCount": 0}


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def test_one_call_is_under_way_at_a_time_and_none_without_a_token() -> None:
    bench = Bench()
    bench.errands.listed([A])
    assert bench.errands.next_call("", bench.now) is None
    bench.call("T_GET_TASKS")
    assert bench.errands.under_way
    assert bench.is_idle()


@pytest.mark.parametrize("code", ["500_01", "401_01"])
def test_a_report_that_was_not_taken_is_made_again_after_a_pause(code: str) -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.give(CLEAR)
    first = bench.call("T_UPDATE_TASKS_STATUS")
    assert bench.answer(first, refusal(code)) == code
    assert bench.errands.next_call(TOKEN, bench.now) is None
    bench.now += 5
    assert bench.call("T_UPDATE_TASKS_STATUS").body == first.body


@pytest.mark.parametrize("code", ["500_01", "401_01"])
def test_a_step_of_a_job_that_was_refused_for_now_is_made_again_with_the_token_of_then(code: str) -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    assert bench.answer(bench.call(CLEAR), refusal(code, task_id=A)) == code
    bench.now += 5
    again = bench.errands.next_call("another token", bench.now)
    assert isinstance(again, Call)
    assert (again.apicode, again.task_ids, again.token) == (CLEAR, (A,), "another token")


def test_a_call_without_an_answer_is_made_again_after_a_pause() -> None:
    bench = Bench()
    bench.errands.listed([A])
    first = bench.call("T_GET_TASKS")
    bench.errands.not_answered(bench.now)
    due_at = bench.errands.wake_at()
    assert due_at is not None
    assert 1 <= due_at - bench.now <= 5
    bench.now = due_at
    assert bench.call("T_GET_TASKS").body == first.body


def test_an_answer_that_is_lost_on_purpose_is_counted_and_the_call_made_again() -> None:
    bench = Bench(reliable(lost_share=1.0))
    bench.errands.pushed({"taskid": A}, CLEAR)
    first = bench.call(CLEAR)
    assert bench.answer(first, success_to(first)) == ""
    assert bench.tally.answers_lost == 1
    assert bench.errands.next_call(TOKEN, bench.now) is None
    bench.now += 5
    assert bench.call(CLEAR).body == first.body


@pytest.mark.parametrize("code", ["400_01", "400_02"])
def test_what_is_refused_for_good_is_given_up(code: str) -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.give(CLEAR)
    bench.answer(bench.call("T_UPDATE_TASKS_STATUS"), refusal(code))
    bench.now += 5
    assert bench.is_idle()


def test_t12_a_task_that_ended_while_it_was_done_is_given_up_and_not_reported() -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, CLEAR)
    bench.answer(bench.call(CLEAR), refusal("400_02", task_id=A))
    bench.now += 5
    assert bench.is_idle()


def test_a_signature_that_is_refused_again_and_again_is_given_up() -> None:
    bench = Bench()
    bench.errands.listed([A])
    for _ in range(3):
        bench.answer(bench.call("T_GET_TASKS"), refusal("400_04"))
        bench.now += 5
    assert bench.is_idle()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (success().replace(b'"sign":"', b'"sign":"0'), "signature"),
        (given((A, "T_SEND_PERSON")).replace(b"taskid", b"taskID"), "signature"),
        (b'{"version":"v1.0.0","success":true,"response":{"tasks":[]}}', "signature"),
        (refusal("400_02").replace(b"false", b"true"), "signature"),
        (success('{"tasks":1}'), "without tasks"),
        (success('{"tasks":[{"id":1}]}'), "without tasks"),
        (success(), "without tasks"),
        (b'{"success":false}', "without an error"),
        (b'{"success":1}', "without success"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b'{"a" 1}', "not JSON"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"<html>", "not a JSON object"),
    ],
)
def test_s5_an_answer_that_is_none_or_wrongly_signed_is_named_and_the_call_made_again(body: bytes, fault: str) -> None:
    bench = Bench()
    bench.errands.listed([A])
    with pytest.raises(MalformedAnswer, match=fault):
        bench.answer(bench.call("T_GET_TASKS"), body)
    assert bench.tally.wrong_signatures == (fault == "signature")
    bench.now += 5
    bench.call("T_GET_TASKS")


def test_s5_an_error_may_come_unsigned_but_not_wrongly_signed() -> None:
    call = Call("T_GET_TASKS", (A,), TOKEN, b"")
    assert read_answer(call, refusal("401_01", signed=False), SECRET)["error"]["errorcode"] == "401_01"
    with pytest.raises(MalformedAnswer, match="signature"):
        read_answer(call, refusal("401_01"), "another secret")
