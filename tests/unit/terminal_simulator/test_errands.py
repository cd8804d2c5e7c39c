"""What a terminal asks over HTTPS about its tasks, and what it makes of every answer (3.1, 3.2)."""

import hashlib
import json
from random import Random
from typing import Any

import json5
import pytest

from terminal_simulator.errands import Call, Errands, read_answer
from terminal_simulator.habits import Habits
from terminal_simulator.signing import ParamStyle, SignForm
from terminal_simulator.tally import Tally
from terminal_simulator.wire import MalformedAnswer

SN, TOKEN, SECRET = "1388186", "696e8019b6fe4dbcb7e5ced91a1c771c", "93f6218530984c32a3bf2b3d03dcb417"
A, B = "6541951958563696640", "6541951958626611200"
RELIABLE = Habits(failed_share=0, unsupported_share=0)


def md5(*fields: str) -> str:
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def success(response: str | None = None) -> bytes:
    """A signed answer; the response is signed as it stands."""
    member = "" if response is None else f'"response": {response} ,'
    signature = md5("v1.0.0", "true", response or "", SECRET)
    return f'{{"version":"v1.0.0", "success":true,{member}"sign":"{signature}"}}'.encode()


def refusal(code: str, *, signed: bool = True) -> bytes:
    sign = f',"sign":"{md5("v1.0.0", "false", SECRET)}"' if signed else ""
    return f'{{"version":"v1.0.0","success":false,"error":{{"errorcode":"{code}","errmsg":"…"}}{sign}}}'.encode()


def given(*tasks: tuple[str, str]) -> bytes:
    return success(json.dumps({"tasks": [{"taskid": task_id, "apicode": apicode} for task_id, apicode in tasks]}))


class Bench:
    """A terminal's errands; its clock and its platform are the test's hands."""

    def __init__(self, habits: Habits = RELIABLE) -> None:
        self.now = 1000.0
        self.tally = Tally()
        self.errands = Errands(SN, SECRET, habits, self.tally, Random(5))

    def call(self, apicode: str) -> Call:
        """The call that is due now, whose interface is the one expected."""
        call = self.errands.next_call(TOKEN, self.now)
        assert call is not None
        assert call.apicode == apicode
        return call

    def is_idle(self) -> bool:
        return self.errands.wake_at() is None and self.errands.next_call(TOKEN, self.now) is None

    def answer(self, call: Call, body: bytes) -> str:
        return self.errands.answered(call, body, self.now)


def param_of(call: Call) -> Any:
    return json.loads(call.body)["param"]


def test_3_1_listed_tasks_are_fetched_then_reported_and_then_there_is_peace() -> None:
    bench = Bench()
    bench.errands.listed([A, B])
    fetch = bench.call("T_GET_TASKS")
    assert sorted(param_of(fetch)["taskids"]) == [A, B]
    assert bench.answer(fetch, given((A, "T_SEND_PERSON"), (B, "T_CLEAR_DEVICE_PERSON"))) == ""
    report = bench.call("T_UPDATE_TASKS_STATUS")
    assert param_of(report) == {
        "task": [{"taskId": [A], "status": 1}, {"taskId": [B], "status": 1}],
        "personCount": 0,  # it was told to forget everybody
        "faceCount": 0,
    }
    assert bench.answer(report, success()) == ""
    bench.errands.listed([A, B])  # on the way while the report was taken
    assert bench.is_idle()
    assert bench.tally.tasks_fetched == 2
    assert bench.tally.tasks_reported == {"done": 2}


@pytest.mark.parametrize("style", ParamStyle)
@pytest.mark.parametrize("form", SignForm)
def test_s2_s3_calls_are_signed_over_the_text_that_the_form_says(style: ParamStyle, form: SignForm) -> None:
    bench = Bench(Habits(style=style, form=form))
    bench.errands.listed([A])
    body = bench.call("T_GET_TASKS").body.decode()
    sent = json5.loads(body)
    text = body[body.index("{", 1) : -1]
    assert json5.loads(text) == {"taskids": [A]} == sent["param"]
    signed = text if form is SignForm.AS_SENT else f'{{"taskids":["{A}"]}}'
    assert sent["sign"] == md5("v1.0.0", SN, TOKEN, "T_GET_TASKS", signed, SECRET)
    assert (sent["version"], sent["sn"], sent["token"], sent["apicode"]) == ("v1.0.0", SN, TOKEN, "T_GET_TASKS")


def test_the_loose_style_reports_as_the_standard_prints_it() -> None:
    bench = Bench(Habits(style=ParamStyle.LOOSE, failed_share=0, unsupported_share=0))
    bench.errands.pushed({"taskid": A}, "T_SEND_PERSON")
    sent = json5.loads(bench.call("T_UPDATE_TASKS_STATUS").body.decode())
    assert sent["param"]["task"] == [{"taskid": A, "status": 1}]


def test_c1_a_pushed_task_is_done_without_being_fetched_and_once() -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, "T_CLEAR_DEVICE_PERSON")
    bench.errands.listed([A])
    bench.errands.pushed({"taskid": A}, "T_CLEAR_DEVICE_PERSON")
    report = bench.call("T_UPDATE_TASKS_STATUS")
    bench.answer(report, success())
    bench.errands.pushed({"taskid": A}, "T_CLEAR_DEVICE_PERSON")
    assert bench.is_idle()


def test_c1_a_task_pushed_while_it_is_fetched_is_done_once() -> None:
    bench = Bench()
    bench.errands.listed([A])
    fetch = bench.call("T_GET_TASKS")
    bench.errands.pushed({"taskid": A}, "T_SEND_PERSON")
    bench.answer(fetch, given())
    assert bench.call("T_UPDATE_TASKS_STATUS").task_ids == (A,)


def test_tasks_that_are_not_given_have_ended_and_are_dropped() -> None:
    bench = Bench()
    bench.errands.listed([A, B])
    bench.answer(bench.call("T_GET_TASKS"), given((B, "T_SEND_PERSON")))
    assert bench.call("T_UPDATE_TASKS_STATUS").task_ids == (B,)


def test_what_heartbeats_list_no_more_is_forgotten_and_done_anew_when_listed_again() -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, "T_SEND_PERSON")
    bench.answer(bench.call("T_UPDATE_TASKS_STATUS"), success())
    bench.errands.listed([])
    bench.errands.listed([A])
    bench.call("T_GET_TASKS")


def test_shares_of_tasks_fail_or_are_not_supported_and_an_unknown_interface_never_is() -> None:
    bench = Bench(Habits(failed_share=0.3, unsupported_share=0.2))
    for number in range(2000):
        bench.errands.pushed({"taskid": str(number)}, "T_SEND_PERSON")
    while (call := bench.errands.next_call(TOKEN, bench.now)) is not None:
        bench.answer(call, success())
    assert 500 < bench.tally.tasks_reported["failed"] < 700
    assert 300 < bench.tally.tasks_reported["unsupported"] < 500
    bench.errands.pushed({"taskid": A}, "T_NEW")
    assert param_of(bench.call("T_UPDATE_TASKS_STATUS"))["task"] == [{"taskId": [A], "status": 3}]


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
    bench.errands.pushed({"taskid": A}, "T_SEND_PERSON")
    first = bench.call("T_UPDATE_TASKS_STATUS")
    assert bench.answer(first, refusal(code)) == code
    assert bench.errands.next_call(TOKEN, bench.now) is None
    bench.now += 5
    assert bench.call("T_UPDATE_TASKS_STATUS").body == first.body


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


@pytest.mark.parametrize("code", ["400_01", "400_02"])
def test_what_is_refused_for_good_is_given_up(code: str) -> None:
    bench = Bench()
    bench.errands.pushed({"taskid": A}, "T_SEND_PERSON")
    bench.answer(bench.call("T_UPDATE_TASKS_STATUS"), refusal(code))
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
    bench.now += 5
    bench.call("T_GET_TASKS")


def test_s5_an_error_may_come_unsigned_but_not_wrongly_signed() -> None:
    assert read_answer(refusal("401_01", signed=False), SECRET)["error"]["errorcode"] == "401_01"
    with pytest.raises(MalformedAnswer, match="signature"):
        read_answer(refusal("401_01"), "another secret")
