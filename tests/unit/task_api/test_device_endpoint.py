"""The way of a request: E2's order, what is signed (S5), whose fault it is, and the bounds."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from shared.domain.sessions import TOKEN_LIFE_MS, Session
from shared.domain.tasks import Task, TaskState
from shared.protocol.apicodes import HTTPS_APICODES, Apicode
from shared.protocol.signatures import SignForm
from shared.stores.interfaces import NewSession
from task_api.settings import TaskApiSettings
from tests.support.session_values import NOW_MS, make_session
from tests.support.task_api import GRACE_MS, SECRET, SN, TOKEN, TaskApi, error_code, make_body, md5, read_answer
from tests.support.task_values import TASK_ID, make_task

GET = "T_GET_TASKS"
ASKED = {"taskids": [TASK_ID]}
WITHOUT_TASK = frozenset((Apicode.T_GET_TASKS, Apicode.T_UPDATE_TASKS_STATUS))


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi()
    yield made
    made.metrics.close()


async def ask(api: TaskApi, body: bytes) -> Any:
    """The answer, unverified."""
    return json.loads(await api.endpoint.answer(body))


# ── E2: each fault, with every fault that E2 names later present as well ──────────────────────────────────────────

WRONG_SIGN = "0" * 32
FAULTS: list[tuple[str, bytes, str, bool]] = [
    ("the body is no JSON", b"{", "400_02", False),
    ("apicode empty", make_body("", "[", sn="", token="unknown", sign=WRONG_SIGN), "400_01", False),
    ("apicode unknown", make_body("T_NOTHING", "[", sn="", token="unknown", sign=WRONG_SIGN), "400_01", False),
    ("apicode of TCP", make_body("C_HEARTBEAT", "[", sn="", token="unknown", sign=WRONG_SIGN), "400_01", False),
    ("sn empty", make_body(GET, "[", sn="", token="unknown", sign=WRONG_SIGN), "400_02", False),
    ("sn too long", make_body(GET, "[", sn="1" * 65, token="unknown", sign=WRONG_SIGN), "400_02", False),
    ("no such token", make_body(GET, "[", token="unknown", sign=WRONG_SIGN), "401_01", False),
    ("no token", make_body(GET, "[", token="", sign=WRONG_SIGN), "401_01", False),
    ("token of another sn", make_body(GET, "[", sn="1388187", sign=WRONG_SIGN), "400_04", False),
    ("param is no JSON", make_body(GET, "[", sign=WRONG_SIGN), "400_02", True),
    ("param is no object", make_body(GET, "[]", sign=WRONG_SIGN), "400_02", True),
    ("sign wrong", make_body(GET, {}, sign=WRONG_SIGN), "400_04", True),
    ("no sign", make_body(GET, {}, sign=""), "400_04", True),
    ("param without its field", make_body(GET, {}), "400_02", True),
    ("no param", make_body(GET), "400_02", True),
]


@pytest.mark.parametrize(("body", "code", "signed"), [fault[1:] for fault in FAULTS], ids=[one[0] for one in FAULTS])
async def test_e2_of_several_faults_the_first_is_answered_and_s5_says_whether_signed(
    api: TaskApi, body: bytes, code: str, *, signed: bool
) -> None:
    await api.begin()
    answer = await api.endpoint.answer(body)
    assert error_code(json.loads(answer)) == code
    assert ("sign" in json.loads(answer)) == signed
    if signed:
        read_answer(answer)
    assert api.metrics.answers[code] == 1


@pytest.mark.parametrize("end", ["credential", "device"])
async def test_e1_an_ended_session_is_401_02_before_param_and_sign_are_looked_at_and_signed(
    api: TaskApi, end: str
) -> None:
    await api.begin()
    await (api.ended_store.end_credential("a1") if end == "credential" else api.ended_store.end_device(SN, NOW_MS))
    await api.ended.read_once()
    answer = read_answer(await api.endpoint.answer(make_body(GET, "[", sign=WRONG_SIGN)))
    assert error_code(answer) == "401_02"
    assert error_code(await ask(api, make_body(GET, "[", sn="1388187", sign=WRONG_SIGN))) == "400_04"


async def open_session(api: TaskApi, sn: str, token: str) -> None:
    """Of a further device of the same vendor."""
    session = make_session(token, sn, sealed_secret=api.sealer.seal(SECRET, "a1"))
    await api.session_store.open_many([NewSession(session=session, sign=token, replay_window_ms=1)])


async def test_t1_a_session_that_was_refused_stays_401_02_after_redis_lost_its_token_until_it_must_have_expired(
    api: TaskApi,
) -> None:
    await api.begin()
    await open_session(api, "1388187", "e" * 32)
    await api.ended_store.end_credential("a1")
    await api.ended.read_once()
    assert error_code(await ask(api, make_body(GET, ASKED))) == "401_02"
    api.session_store._sessions.clear()
    api.ended_store.flush()
    api.control.lose()
    await api.ended.read_once()
    assert error_code(read_answer(await api.endpoint.answer(make_body(GET, ASKED)))) == "401_02"
    assert error_code(await ask(api, make_body(GET, ASKED, sn="1388187"))) == "400_04"
    assert error_code(await ask(api, make_body(GET, ASKED, sn="1388187", token="e" * 32))) == "401_01"
    api.clock.advance(TOKEN_LIFE_MS / 1000)
    await api.ended.read_once()
    assert error_code(await ask(api, make_body(GET, ASKED))) == "401_01"


async def test_design_7_remembered_refusals_are_bounded(api: TaskApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_api.sessions.REFUSED_KEPT", 1)
    await api.begin()
    await open_session(api, "1388187", "e" * 32)
    bodies = [make_body(GET, ASKED), make_body(GET, ASKED, sn="1388187", token="e" * 32)]
    await api.ended_store.end_credential("a1")
    await api.ended.read_once()
    for body in bodies:
        assert error_code(await ask(api, body)) == "401_02"
    api.session_store._sessions.clear()
    assert [error_code(await ask(api, body)) for body in bodies] == ["401_01", "401_02"]


async def test_e1_a_token_that_expired_is_401_01(api: TaskApi) -> None:
    await api.begin()
    api.clock.advance(TOKEN_LIFE_MS / 1000)
    assert error_code(await ask(api, make_body(GET, ASKED))) == "401_01"


async def test_m6_no_answer_repeats_a_secret_a_token_or_the_right_sign(api: TaskApi) -> None:
    await api.begin()
    right = json.loads(make_body(GET, ASKED))["sign"]
    for body in (make_body(GET, ASKED, sign=WRONG_SIGN), make_body(GET, ASKED, token="f" * 32), make_body(GET, {})):
        answer = (await api.endpoint.answer(body)).decode()
        assert not any(text in answer for text in (SECRET, TOKEN, "f" * 32, right))


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_t1_an_accepted_request_prolongs_the_token_and_a_refused_one_does_not(api: TaskApi) -> None:
    await api.begin()
    api.clock.advance(TOKEN_LIFE_MS / 1000 - 60)
    await api.ended.read_once()
    assert error_code(await ask(api, make_body(GET, ASKED))) == ""
    api.clock.advance(TOKEN_LIFE_MS / 1000 - 60)
    await api.ended.read_once()
    assert error_code(await ask(api, make_body(GET, ASKED, sign=WRONG_SIGN))) == "400_04"
    api.clock.advance(61)
    await api.ended.read_once()
    assert error_code(await ask(api, make_body(GET, ASKED))) == "401_01"


async def test_s3_a_pinned_vendor_is_held_to_its_form(api: TaskApi) -> None:
    await api.begin(sign_form=SignForm.COMPACT)
    loose = "{ taskids: [] }"
    as_sent = md5("v1.0.0", SN, TOKEN, GET, loose, SECRET)
    compact = md5("v1.0.0", SN, TOKEN, GET, '{"taskids":[]}', SECRET)
    assert error_code(await ask(api, make_body(GET, loose, sign=as_sent))) == "400_04"
    assert error_code(await ask(api, make_body(GET, loose, sign=compact))) == ""


async def test_s3_the_form_that_matched_is_tried_first_from_then_on(api: TaskApi) -> None:
    await api.begin()
    known = await api.sessions.find(TOKEN)
    assert known is not None
    assert api.sessions.facts(known).remembered is None
    sorted_sign = md5("v1.0.0", SN, TOKEN, GET, '{"a":1,"taskids":[]}', SECRET)
    assert error_code(await ask(api, make_body(GET, {"taskids": [], "a": 1}, sign=sorted_sign))) == ""
    assert api.sessions.facts(known).remembered is SignForm.SORTED


async def test_j2_an_sn_that_comes_as_a_number_is_the_same_sn(api: TaskApi) -> None:
    await api.begin()
    assert read_answer(await api.endpoint.answer(make_body(GET, ASKED, sn=1388186)))["success"]


async def test_m5_a_request_without_version_is_answered_with_the_standards(api: TaskApi) -> None:
    await api.begin()
    answer = read_answer(await api.endpoint.answer(make_body(GET, ASKED, version="")))
    assert (answer["success"], answer["version"]) == (True, "v1.0.0")


# ── our faults ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_3_redis_away_is_500_01_and_never_401_01(api: TaskApi) -> None:
    await api.begin()
    api.session_store.available = False
    answer = await ask(api, make_body(GET, ASKED))
    assert error_code(answer) == "500_01"
    assert "sign" not in answer  # the secret is not known without the session
    api.session_store.available = True
    assert error_code(await ask(api, make_body(GET, ASKED))) == ""


async def test_design_3_past_the_grace_nobody_is_judged_and_the_answer_is_signed(api: TaskApi) -> None:
    await api.begin()
    api.clock.advance(GRACE_MS / 1000 + 1)
    assert error_code(read_answer(await api.endpoint.answer(make_body(GET, ASKED)))) == "500_01"


async def test_e1_mongodb_away_is_500_01_signed_and_the_same_request_passes_later(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task())
    api.tasks.available = False
    assert error_code(read_answer(await api.endpoint.answer(make_body(GET, ASKED)))) == "500_01"
    api.tasks.available = True
    answer = read_answer(await api.endpoint.answer(make_body(GET, ASKED)))
    assert answer["response"]["tasks"] == [{"taskid": TASK_ID, "apicode": "T_SEND_PERSON"}]


async def test_t7_a_report_that_was_stored_and_then_got_500_01_passes_when_it_is_sent_again(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task())
    body = make_body("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": TASK_ID, "status": 1}]})
    api.pending.available = False
    assert error_code(read_answer(await api.endpoint.answer(body))) == "500_01"
    assert (await api.task(TASK_ID)).state == "done"
    api.pending.available = True
    assert read_answer(await api.endpoint.answer(body))["success"]
    assert (len((await api.task(TASK_ID)).history), list(await api.listed())) == (2, [])


async def test_design_12_a_hang_is_answered_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    api = TaskApi(TaskApiSettings(request_deadline_seconds=0.05))
    await api.begin()

    async def hang(_ids: Sequence[str]) -> dict[str, Task]:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(api.tasks, "find", hang)
    assert error_code(read_answer(await api.endpoint.answer(make_body(GET, ASKED)))) == "500_01"
    api.metrics.close()


async def test_t1_a_token_that_cannot_be_prolonged_takes_nothing_back(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.begin()
    renew = api.session_store.renew

    async def unreachable(sessions: Sequence[tuple[str, str]]) -> None:
        api.session_store.available = False
        await renew(sessions)

    monkeypatch.setattr(api.session_store, "renew", unreachable)
    assert read_answer(await api.endpoint.answer(make_body(GET, ASKED)))["success"]


async def test_design_8_a_secret_that_does_not_open_is_our_fault(api: TaskApi) -> None:
    await api.begin()
    (session,) = await api.session_store.find([TOKEN])
    assert isinstance(session, Session)
    other = TaskApi()
    other.session_store = api.session_store
    other.sessions._store = api.session_store
    other.sessions._sealer = type(api.sealer)({"k2": b"1" * 32})
    answer = await ask(other, make_body(GET, ASKED))
    assert (error_code(answer), "sign" in answer) == ("500_01", False)
    other.metrics.close()


async def test_e5_a_bug_of_ours_is_500_01_signed_and_logged(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await api.begin()

    async def broken(_ids: Sequence[str]) -> dict[str, Task]:
        raise KeyError("a bug")

    monkeypatch.setattr(api.tasks, "find", broken)
    assert error_code(read_answer(await api.endpoint.answer(make_body(GET, ASKED)))) == "500_01"
    assert [record.getMessage() for record in caplog.records] == ["T_GET_TASKS failed"]


@pytest.mark.parametrize("token", ["f" * 33, "F" * 32, "f" * 1_000_000, "g" * 32, "*"])
async def test_design_7_what_is_no_token_is_not_looked_for(api: TaskApi, token: str) -> None:
    api.session_store.available = False
    assert error_code(await ask(api, make_body(GET, ASKED, token=token))) == "401_01"


@pytest.mark.parametrize("task_id", ["1" * 21, "1" * 20_000_000, "-1", "1.5", "١", "", "x\u0000"])
async def test_t6_what_can_be_no_id_is_an_unknown_id_and_not_looked_for(
    api: TaskApi, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.begin()
    await api.add(make_task())
    looked_for: list[str] = []
    find = api.tasks.find

    async def watched(ids: Sequence[str]) -> dict[str, Task]:
        looked_for.extend(ids)
        return await find(ids)

    monkeypatch.setattr(api.tasks, "find", watched)
    answer = read_answer(await api.endpoint.answer(make_body(GET, {"taskids": [task_id, TASK_ID]})))
    assert [one["taskid"] for one in answer["response"]["tasks"]] == [TASK_ID]
    status = {"taskid": [task_id, TASK_ID], "status": 1}
    assert read_answer(await api.endpoint.answer(make_body("T_UPDATE_TASKS_STATUS", {"task": [status]})))["success"]
    only = {"taskid": [task_id], "status": 1}
    refused = await api.endpoint.answer(make_body("T_UPDATE_TASKS_STATUS", {"task": [only]}))
    assert error_code(read_answer(refused)) == "400_02"
    named = make_body("T_DEL_DEVICE_PERSON", task_id=task_id)
    assert error_code(read_answer(await api.endpoint.answer(named), task_id=task_id)) == "400_02"
    assert set(looked_for) == {TASK_ID}


async def test_t5_a_task_whose_time_is_over_is_not_given_though_nobody_has_ended_it_yet(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task(expires_at_ms=NOW_MS))
    assert read_answer(await api.endpoint.answer(make_body(GET, ASKED)))["response"] == {"tasks": []}
    assert (await api.task(TASK_ID)).state is TaskState.PENDING


# ── T12 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", ["unknown", "foreign", "ended", "overdue", "other apicode", "missing"])
@pytest.mark.parametrize("apicode", sorted(HTTPS_APICODES - WITHOUT_TASK))
async def test_t12_a_call_that_names_a_wrong_task_is_400_02_before_its_param_is_read(
    api: TaskApi, apicode: Apicode, wrong: str
) -> None:
    await api.begin()
    if wrong != "unknown":
        sn = "1388187" if wrong == "foreign" else SN
        others = {Apicode.T_DEL_DEVICE_PERSON: Apicode.T_CLEAR_DEVICE_PERSON}
        other = others.get(apicode, Apicode.T_DEL_DEVICE_PERSON)
        await api.add(
            make_task(
                sn=sn,
                apicode=other if wrong == "other apicode" else apicode,
                expires_at_ms=NOW_MS if wrong == "overdue" else NOW_MS + 1,
            )
        )
    if wrong == "ended":
        await api.end(TASK_ID)
    task_id = None if wrong == "missing" else TASK_ID
    answer = read_answer(await api.endpoint.answer(make_body(apicode, task_id=task_id)), task_id=task_id or "")
    assert error_code(answer) == "400_02"
    assert "taskid" in answer["error"]["errmsg"]


@pytest.mark.parametrize("apicode", sorted(WITHOUT_TASK))
async def test_design_7_more_ids_than_one_request_may_name_are_400_02(api: TaskApi, apicode: Apicode) -> None:
    await api.begin()
    ids = [str(number) for number in range(1001)]
    param = {"taskids": ids} if apicode == GET else {"task": [{"taskid": ids, "status": 1}]}
    assert error_code(read_answer(await api.endpoint.answer(make_body(apicode, param)))) == "400_02"


# ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────


def make_request(messages: list[Message]) -> Request:
    """A request whose body comes so; after the last message nothing comes any more."""

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def part(body: bytes, *, last: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": not last}


async def test_design_7_bodies_beyond_the_bound_on_all_of_them_are_500_01_and_others_go_on() -> None:
    api = TaskApi(TaskApiSettings(max_held_bytes=1000))
    await api.begin()
    slow = asyncio.ensure_future(api.endpoint.serve(make_request([part(b" " * 600)])))
    await asyncio.sleep(0)
    refused = await api.endpoint.serve(make_request([part(b" " * 401), part(b"", last=True)]))
    assert error_code(json.loads(bytes(refused.body))) == "500_01"
    assert refused.headers["connection"] == "close"
    passed = await api.endpoint.serve(make_request([part(make_body(GET, {"taskids": []}), last=True)]))
    assert read_answer(bytes(passed.body))["success"]
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    allowed = await api.endpoint.serve(make_request([part(b" " * 1000, last=True)]))
    assert error_code(json.loads(bytes(allowed.body))) == "400_02"
    api.metrics.close()


async def test_a_body_that_does_not_come_in_time_is_500_01() -> None:
    api = TaskApi(TaskApiSettings(receive_deadline_seconds=0.05))
    answer = await api.endpoint.serve(make_request([part(b"{")]))
    assert (answer.status_code, error_code(json.loads(bytes(answer.body)))) == (200, "500_01")
    api.metrics.close()


async def test_a_terminal_that_hangs_up_in_its_body_leaves_nothing_behind(api: TaskApi) -> None:
    answer = await api.endpoint.serve(make_request([part(b"{"), {"type": "http.disconnect"}]))
    assert bytes(answer.body) == b""
    assert api.endpoint._held_bytes == 0
    assert sum(api.metrics.answers.values()) == 0


async def test_refusals_are_counted_by_the_vendor_of_the_session(api: TaskApi) -> None:
    await api.begin()
    assert error_code(await ask(api, make_body(GET, {}, sign=WRONG_SIGN))) == "400_04"
    assert error_code(await ask(api, make_body(GET, {}))) == "400_02"
    assert error_code(await ask(api, make_body(GET, ASKED, token="e" * 32))) == "401_01"
    assert error_code(await ask(api, b"{")) == "400_02"
    assert read_answer(await api.endpoint.answer(make_body(GET, ASKED)))["success"]
    shown = {
        (sample.labels["vendor"], sample.labels["outcome"]): sample.value
        for family in api.metrics.process.registry.collect()
        for sample in family.samples
        if sample.name == "task_api_refusals_total" and sample.value
    }
    assert shown == {("v1", "400_04"): 1, ("v1", "400_02"): 1, ("unknown", "401_01"): 1, ("unknown", "400_02"): 1}
