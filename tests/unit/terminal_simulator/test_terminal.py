"""One terminal's state without a socket: what it sends when, and what it makes of every answer."""

import base64
import calendar
import datetime
import hashlib
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import json5
import pytest

from shared.protocol.generated.device.v1 import messages_pb2
from terminal_simulator.habits import Account, Habits, Layout
from terminal_simulator.holdings import HeldPerson
from terminal_simulator.ledger import Ledger
from terminal_simulator.signing import ParamStyle, SignForm
from terminal_simulator.tally import Tally
from terminal_simulator.terminal import MOST_UNANSWERED, Terminal
from terminal_simulator.wire import MalformedAnswer
from tests.unit.terminal_simulator.scripted_platform import TOKEN, Request, accept, read_requests, write_answer

# 2021-03-28 03:16:08 in Asia/Shanghai, the standard's own example
NOW = float(calendar.timegm((2021, 3, 27, 19, 16, 8)))
ACCOUNT = Account("e752cf16af1c462a9859d565ebaac6c7", "a9f88d5b5f4e4c94962ee3feaa85cdc3", "93f6218530984c32")


class Bench:
    """A terminal on a bench: its clock and its platform are the test's hands."""

    def __init__(self, habits: Habits, ledger: Ledger | None = None, seed: int = 5) -> None:
        self.now = NOW
        self.tally = Tally()
        self.terminal = Terminal("1388186", ACCOUNT, habits, self.tally, ledger or Ledger(None), Random(seed), NOW)

    def connect(self) -> None:
        self.terminal.connection_made(self.now)

    def sent(self) -> list[Request]:
        """What the terminal sends at this moment."""
        return read_requests(self.terminal.due(self.now))

    def sent_after(self, seconds: float) -> list[Request]:
        self.now += seconds
        return self.sent()

    def answer(self, frame: bytes) -> None:
        self.terminal.receive(frame, self.now)

    def authenticate(self) -> None:
        self.connect()
        (auth,) = self.sent()
        self.answer(accept(auth))

    def refuse(self, request: Request, code: str, errmsg: str = "") -> None:
        self.answer(write_answer(request.apicode, error=(code, errmsg)))


QUIET = Habits(sign_ins_per_minute=0)
BUSY = Habits(sign_ins_per_minute=60, heartbeat_seconds=10_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        yield ledger


def lines_of(folder: Path) -> list[dict[str, object]]:
    """The lines of the ledger fixture's file."""
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def md5(*fields: str) -> str:
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def sign_ins(requests: list[Request]) -> list[dict[str, object]]:
    return [
        json.loads(request.param)
        for request in requests
        if isinstance(request, messages_pb2.DeviceRequest) and request.apicode == "C_SIGN_IN"
    ]


def pass_and_take(bench: Bench, seconds: float) -> list[Request]:
    """Sign-ins that were sent after some time, each accepted at once."""
    requests = bench.sent_after(seconds)
    for request in requests:
        bench.answer(accept(request))
    return requests


def test_m1_a_terminal_authenticates_first_with_its_time_in_shanghai() -> None:
    bench = Bench(QUIET)
    bench.connect()
    (auth,) = bench.sent()
    assert isinstance(auth, messages_pb2.AuthRequest)
    assert (auth.version, auth.sn, auth.apicode) == ("v1.0.0", "1388186", "C_AUTH")
    assert (auth.access_id, auth.access_key) == (ACCOUNT.access_id, ACCOUNT.access_key)
    assert auth.field_6 == "20210328031608"
    assert json.loads(auth.field_7) == {"deviceVersion": "simulator-1.0", "extendSn": ""}
    assert not auth.HasField("field_9")
    assert auth.field_8 == md5(
        "v1.0.0",
        "1388186",
        "C_AUTH",
        ACCOUNT.access_id,
        ACCOUNT.access_key,
        auth.field_6,
        auth.field_7,
        "93f6218530984c32",
    )
    assert bench.sent_after(1) == []  # one C_AUTH at a time


def test_m2_the_nine_field_layout_carries_the_secret_and_the_same_signature() -> None:
    bench = Bench(Habits(layout=Layout.NINE, style=ParamStyle.LOOSE, sign_ins_per_minute=0))
    bench.connect()
    (auth,) = bench.sent()
    assert isinstance(auth, messages_pb2.AuthRequest)
    assert (auth.field_6, auth.field_7) == ("93f6218530984c32", "20210328031608")
    assert auth.field_8 == '{deviceVersion:"simulator-1.0"extendSn:""}'  # the comma is missing in 2.1.4
    assert auth.field_9 == md5(
        "v1.0.0",
        "1388186",
        "C_AUTH",
        ACCOUNT.access_id,
        ACCOUNT.access_key,
        auth.field_7,
        auth.field_8,
        "93f6218530984c32",
    )


def test_a_heartbeat_follows_c_auth_and_then_one_a_minute_at_least() -> None:
    bench = Bench(QUIET)
    bench.authenticate()
    times = []
    for _ in range(5):
        (beat,) = bench.sent()
        assert isinstance(beat, messages_pb2.DeviceRequest)
        assert (beat.apicode, beat.token) == ("C_HEARTBEAT", TOKEN)
        assert beat.sign == md5(
            "v1.0.0", "1388186", TOKEN, "C_HEARTBEAT", beat.time_stamp, beat.param, "93f6218530984c32"
        )
        bench.answer(accept(beat))
        times.append(bench.now)
        assert bench.sent() == []
        bench.now = bench.terminal.wake_at(bench.now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(54 <= gap <= 60 for gap in gaps)
    assert len(set(gaps)) > 1  # jitter
    assert bench.tally.heartbeats == 5


@pytest.mark.parametrize("style", list(ParamStyle))
@pytest.mark.parametrize("form", list(SignForm))
def test_s3_s4_a_sign_in_is_signed_without_its_picture_in_every_form(style: ParamStyle, form: SignForm) -> None:
    habits = Habits(sign_ins_per_minute=60, picture_share=1.0, style=style, form=form)
    bench = Bench(habits)
    bench.authenticate()
    requests = [request for request in bench.sent_after(30) if request.apicode == "C_SIGN_IN"]
    assert len(requests) == MOST_UNANSWERED - 1  # the heartbeat is one of those that wait
    for request in requests:
        assert isinstance(request, messages_pb2.DeviceRequest)
        members = json5.loads(request.param)
        image = members.pop("img")
        assert base64.b64decode(image).startswith(b"\xff\xd8")
        assert 4508004291609636864 <= int(members["personId"]) < 4508004291609637064
        assert int(members["type"]) == 1
        assert NOW * 1000 < int(members["recordTime"]) <= bench.now * 1000
        if form is SignForm.AS_SENT:
            # cut by hand: img stands between type and recordTime
            start, end = request.param.index("img"), request.param.index("recordTime")
            quote = 1 if style is ParamStyle.STRICT else 0
            signed = request.param[: start - quote] + request.param[end - quote :]
        else:
            signed = json.dumps(members, separators=(",", ":"), sort_keys=form is SignForm.SORTED)
        assert request.sign == md5(
            "v1.0.0", "1388186", TOKEN, "C_SIGN_IN", request.time_stamp, signed, "93f6218530984c32"
        )


def test_sign_ins_come_at_the_wanted_rate_and_share_of_pictures() -> None:
    bench = Bench(Habits(sign_ins_per_minute=60, picture_share=0.5, heartbeat_seconds=10_000))
    bench.authenticate()
    members = [entry for _ in range(1000) for entry in sign_ins(pass_and_take(bench, 1))]
    assert 900 < len(members) < 1100  # Poisson: 1000 ± 3 × 32
    assert 0.4 < sum("img" in entry for entry in members) / len(members) < 0.6
    keys = {(entry["personId"], entry["recordTime"], entry["type"]) for entry in members}
    assert len(keys) == len(members)


def test_f6_no_more_than_a_window_of_requests_is_unanswered() -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    assert len(bench.sent_after(100)) == MOST_UNANSWERED
    assert bench.sent_after(1) == []


def test_sign_ins_wait_in_the_buffer_while_there_is_no_connection() -> None:
    bench = Bench(BUSY)
    assert bench.sent_after(60) == []
    waiting = bench.tally.buffered
    assert waiting > 30
    bench.authenticate()
    times: list[object] = []
    while len(times) < waiting:
        times += [entry["recordTime"] for entry in sign_ins(pass_and_take(bench, 0))]
    assert times == sorted(times, key=str)
    assert bench.tally.acknowledged == waiting
    assert bench.tally.buffered == 0


def test_a_full_buffer_keeps_the_oldest() -> None:
    bench = Bench(Habits(sign_ins_per_minute=60, buffer_size=5))
    bench.sent_after(60)
    assert bench.tally.buffered == 5
    assert bench.tally.dropped > 30
    bench.authenticate()
    first, *_ = sign_ins(bench.sent())
    assert int(str(first["recordTime"])) < (NOW + 15) * 1000


def test_what_was_unanswered_is_sent_again_in_order_with_the_same_record_time() -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    lost = sign_ins(bench.sent_after(100))
    bench.terminal.connection_lost()
    assert bench.tally.online == 0
    assert bench.sent_after(5) == []
    bench.connect()
    again = sign_ins(bench.sent())
    assert again[: len(lost)] == lost[: len(again)]
    assert bench.tally.unanswered == len(lost)
    assert bench.tally.resent == len(again)
    assert bench.tally.sign_ins_sent == len(lost)


def test_a_token_outlives_its_connection() -> None:
    bench = Bench(QUIET)
    bench.authenticate()
    bench.terminal.connection_lost()
    bench.connect()
    (beat,) = bench.sent()
    assert isinstance(beat, messages_pb2.DeviceRequest)
    assert (beat.apicode, beat.token) == ("C_HEARTBEAT", TOKEN)
    assert bench.tally.online == 0  # not before it is answered
    bench.answer(accept(beat))
    assert bench.tally.online == 1


@pytest.mark.parametrize("code", ["401_01", "401_02", "400_04"])
def test_e1_a_refused_token_brings_a_new_c_auth_and_then_the_sign_ins_again(code: str) -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    refused = bench.sent_after(100)
    for request in refused:
        bench.refuse(request, code)
    (auth,) = bench.sent()
    assert auth.apicode == "C_AUTH"
    bench.answer(accept(auth))
    again = sign_ins(bench.sent())
    assert again[: len(refused) - 1] == sign_ins(refused)
    assert bench.tally.errors == {code: len(refused)}


def test_a_sign_in_whose_signature_never_passes_is_refused_at_last(tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(Habits(sign_ins_per_minute=1, heartbeat_seconds=10_000), ledger)
    bench.authenticate()
    (beat,) = bench.sent()
    bench.answer(accept(beat))
    bench.now = bench.terminal.wake_at(bench.now)
    for _ in range(3):
        (request,) = bench.sent()
        bench.refuse(request, "400_04")
        (auth,) = bench.sent()
        bench.answer(accept(auth))
    assert bench.sent() == []
    assert bench.tally.refused == 1
    (line,) = lines_of(tmp_path)
    assert (line["outcome"], line["errorcode"]) == ("refused", "400_04")


def test_e3_a_wrong_clock_is_set_from_the_error_and_the_sign_in_goes_again() -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    first, *others = bench.sent_after(100)
    bench.refuse(first, "400_05", "timestamp 验证错误: server time 20210401120000")
    for request in others:
        bench.answer(accept(request))
    again = bench.sent_after(2)
    assert again
    assert {request.time_stamp for request in again if isinstance(request, messages_pb2.DeviceRequest)} == {
        "20210401120002"
    }


def test_e4_a_replayed_c_auth_is_tried_again_in_another_second() -> None:
    bench = Bench(QUIET)
    bench.connect()
    (auth,) = bench.sent()
    bench.refuse(auth, "400_05", "timestamp 验证错误: replay")
    assert bench.sent_after(1.0) == []
    (again,) = bench.sent_after(1.0)
    assert isinstance(again, messages_pb2.AuthRequest)
    assert again.field_6 == "20210328031610"
    assert bench.terminal.refusal is None  # not the credentials' fault


def test_e1_our_fault_is_retried_later_with_the_same_record_time() -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    requests = bench.sent_after(100)
    for request in requests:
        bench.refuse(request, "500_01", "系统异常")
    assert bench.sent_after(0.9) == []
    assert sign_ins(bench.sent_after(5))[: len(requests) - 1] == sign_ins(requests)[: MOST_UNANSWERED - 1]


def test_e1_a_param_that_is_refused_is_not_sent_again(tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(BUSY, ledger)
    bench.authenticate()
    requests = bench.sent_after(100)
    for request in requests:
        bench.refuse(request, "400_02", "param 解析失败")
    lines = lines_of(tmp_path)
    refused = sign_ins(requests)
    assert [line["recordTime"] for line in lines] == [entry["recordTime"] for entry in refused]
    assert {line["outcome"] for line in lines} == {"refused"}
    assert bench.tally.refused == len(refused)
    assert not {entry["recordTime"] for entry in sign_ins(bench.sent())} & {entry["recordTime"] for entry in refused}


def test_the_ledger_names_what_was_taken_and_what_was_left(tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(BUSY, ledger)
    bench.authenticate()
    requests = bench.sent_after(100)
    for request in requests[:3]:
        bench.answer(accept(request))
    bench.terminal.connection_lost()
    bench.terminal.close_books()
    lines = lines_of(tmp_path)
    taken = [line for line in lines if line["outcome"] == "acknowledged"]
    sent = sign_ins(requests)
    assert [
        (line["sn"], line["personId"], line["recordTime"], str(line["type"]), line["withPicture"]) for line in taken
    ] == [("1388186", entry["personId"], entry["recordTime"], entry["type"], "img" in entry) for entry in sent[:2]]
    assert len(lines) - len(taken) == bench.tally.buffered
    assert {line["outcome"] for line in lines[2:]} == {"unanswered"}
    shown = {entry["recordTime"]: entry.get("img") for entry in sent}
    for line in lines:
        image = shown.get(line["recordTime"])
        assert (
            line.get("pictureSha256")
            == (hashlib.sha256(base64.b64decode(image)).hexdigest() if isinstance(image, str) else None)
            or not line["wasSent"]
        )
    assert sum(line["wasSent"] is True for line in lines) == len(sent)
    assert len(lines) > len(sent)  # some were made and never sent


def test_e3_a_clock_that_is_off_by_hours_stamps_requests_so_until_it_is_told_the_time() -> None:
    stamps = set()
    for seed in range(5):
        bench = Bench(Habits(sign_ins_per_minute=0, clock_off_hours=5), seed=seed)
        bench.connect()
        (auth,) = bench.sent()
        assert isinstance(auth, messages_pb2.AuthRequest)
        stamped = datetime.datetime.strptime(auth.field_6, "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
        right = datetime.datetime(2021, 3, 28, 3, 16, 8, tzinfo=datetime.UTC)  # as M1 has it
        assert abs(stamped - right) <= datetime.timedelta(hours=5)
        stamps.add(stamped)
        bench.refuse(auth, "400_05", "timestamp 验证错误: server time 20210328031608")
        (again,) = bench.sent_after(2)
        assert isinstance(again, messages_pb2.AuthRequest)
        assert again.field_6.startswith("202103280316")
    assert len(stamps) == 5


def test_c1_a_pushed_command_between_answers_takes_no_answers_place() -> None:
    bench = Bench(QUIET)
    bench.authenticate()
    (beat,) = bench.sent()
    command = write_answer("T_SEND_PERSON", response='{"taskid":"6541951958563696640","param":{}}')
    bench.answer(command + accept(beat) + command)
    assert (bench.tally.commands, bench.tally.heartbeats) == (2, 1)


def test_m7_task_ids_of_heartbeats_are_counted_once() -> None:
    bench = Bench(QUIET)
    bench.authenticate()
    for _ in range(2):
        (beat,) = bench.sent()
        bench.answer(write_answer(beat.apicode, response='{"taskids":["6543831380287827968","6543831380300410880"]}'))
        bench.now += 61
    assert bench.tally.tasks == 2


def test_t10_another_firmware_is_told_by_a_heartbeat_at_once_and_by_every_later_one() -> None:
    bench = Bench(QUIET)
    bench.authenticate()
    (beat,) = bench.sent()
    bench.answer(accept(beat))
    assert isinstance(beat, messages_pb2.DeviceRequest)
    assert json.loads(beat.param)["deviceVersion"] == "simulator-1.0"
    assert bench.sent_after(1) == []
    bench.terminal.holdings.device_version = "2.4.1"
    assert bench.terminal.wake_at(bench.now) <= bench.now
    for seconds in (0, 61):
        (beat,) = bench.sent_after(seconds)
        assert isinstance(beat, messages_pb2.DeviceRequest)
        assert json.loads(beat.param)["deviceVersion"] == "2.4.1"
        bench.answer(accept(beat))
        assert bench.sent() == []


def test_the_workers_whom_a_terminal_holds_pass_and_no_others() -> None:
    bench = Bench(BUSY)
    bench.terminal.holdings.persons.update({one: HeldPerson("甲", None) for one in ("W1", "W2")})
    bench.authenticate()
    passed = [entry["personId"] for _ in range(100) for entry in sign_ins(pass_and_take(bench, 1))]
    assert set(passed) == {"W1", "W2"}
    assert 0.3 < passed.count("W1") / len(passed) < 0.7


def test_a_request_without_an_answer_stalls_the_connection_in_time() -> None:
    bench = Bench(QUIET)
    bench.connect()
    bench.sent()
    assert bench.terminal.wake_at(bench.now) == NOW + 15
    assert not bench.terminal.is_stalled(NOW + 14.9)
    assert bench.terminal.is_stalled(NOW + 15)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (write_answer("C_HEARTBEAT"), "where C_AUTH was asked first"),
        (write_answer("C_AUTH", response="{}"), "without a token"),
        (write_answer("C_AUTH") + write_answer("C_AUTH"), "without a token"),
        (b"\x02\xff\xff", "ends inside a varint"),
    ],
)
def test_an_answer_that_fits_no_request_is_named(answer: bytes, fault: str) -> None:
    bench = Bench(QUIET)
    bench.connect()
    bench.sent()
    with pytest.raises(MalformedAnswer, match=fault):
        bench.answer(answer)


def test_an_answer_to_nothing_is_named() -> None:
    bench = Bench(QUIET)
    bench.connect()
    with pytest.raises(MalformedAnswer, match="nothing was asked"):
        bench.answer(write_answer("C_AUTH"))


def test_a_leaving_terminal_sends_nothing_new_and_still_takes_answers() -> None:
    bench = Bench(BUSY)
    bench.authenticate()
    requests = bench.sent_after(100)
    bench.terminal.leaving = True
    assert bench.terminal.has_unanswered()
    for request in requests:
        bench.answer(accept(request))
    assert not bench.terminal.has_unanswered()
    assert bench.sent_after(100) == []


def test_the_time_stamp_does_not_depend_on_the_machine_s_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        bench = Bench(QUIET)
        bench.connect()
        (auth,) = bench.sent()
        assert isinstance(auth, messages_pb2.AuthRequest)
        assert auth.field_6 == "20210328031608"
    finally:
        monkeypatch.undo()
        time.tzset()
