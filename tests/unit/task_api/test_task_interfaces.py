"""T_DEL_DEVICE_PERSON, T_CLEAR_DEVICE_PERSON and T_UPDATE_DEVICE_VERSION (T9, T10). Their bytes stand in
tests/vectors/task_interfaces.json."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.domain.firmware import FirmwareReference
from shared.domain.links import FileKind
from shared.domain.tasks import TaskState
from shared.protocol.apicodes import HTTPS_APICODES, Apicode
from shared.runtime.web_tracing import TracedRequests
from task_api.interfaces.table import HANDLERS
from tests.bench.show_interfaces import show_all
from tests.support.asgi import call
from tests.support.session_values import NOW_MS
from tests.support.spans import KeptSpans
from tests.support.task_api import TaskApi, error_code, make_body, read_answer
from tests.support.task_values import TASK_ID, make_task

DELETE, CLEAR = Apicode.T_DEL_DEVICE_PERSON, Apicode.T_CLEAR_DEVICE_PERSON
VERSION = Apicode.T_UPDATE_DEVICE_VERSION
PACKAGE = FirmwareReference(firmware_id="f1", version="v14.9", size=123_456, sha256="ab" * 32)


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi()
    yield made
    made.metrics.close()


async def ask(api: TaskApi, apicode: Apicode, param: object = None) -> Any:
    """The answer, its signature verified: of three interfaces the response is not signed (S5)."""
    body = make_body(apicode, param, task_id=TASK_ID)
    response_signed = apicode not in (DELETE, CLEAR, VERSION)
    return read_answer(await api.endpoint.answer(body), task_id=TASK_ID, response_signed=response_signed)


# ── T_DEL_DEVICE_PERSON ───────────────────────────────────────────────────────────────────────────────────────────


async def test_t9_all_ids_come_at_once_in_order_whether_or_not_we_still_know_them(api: TaskApi) -> None:
    await api.begin()
    named = [f"{number * 7919 % 10_000:04}" for number in range(10_000)]
    await api.add_naming(TASK_ID, DELETE, *named)
    for param in (None, {}, {"currentPage": 1}):
        assert (await ask(api, DELETE, param))["response"] == {"personIds": named}


async def test_s5_the_ids_are_compact_and_not_escaped(api: TaskApi) -> None:
    await api.begin()
    await api.add_naming(TASK_ID, DELETE, "人员1", "2")
    body = (await api.endpoint.answer(make_body(DELETE, task_id=TASK_ID))).decode()
    assert '"response":{"personIds":["人员1","2"]},' in body


# ── T_CLEAR_DEVICE_PERSON ─────────────────────────────────────────────────────────────────────────────────────────


async def test_t9_clearing_has_no_response_and_s2_never_signs_param(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task(apicode=CLEAR))
    unsigned_param = read_answer(
        await api.endpoint.answer(make_body(CLEAR, task_id=TASK_ID).replace(b'"sign"', b'"param":{"a":1},"sign"')),
        task_id=TASK_ID,
    )
    for answer in (await ask(api, CLEAR), unsigned_param):
        assert (answer["success"], "response" in answer) == (True, False)
    assert error_code(await ask(api, CLEAR, {"a": 1})) == "400_04"


# ── T_UPDATE_DEVICE_VERSION ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("param", [None, {}, {"version": "v14.9"}, {"version": ""}, {"size": 1}, "{version:'v14.9',}"])
async def test_t10_the_package_comes_again_with_a_link_of_now(api: TaskApi, param: object) -> None:
    await api.begin()
    await api.add(make_task(apicode=VERSION, firmware=PACKAGE))
    api.clock.advance(50)
    await api.ended.read_once()
    assert (await ask(api, VERSION, param))["response"] == {
        "version": "v14.9",
        "size": 123_456,
        "downloadUrl": api.links.url(FileKind.FIRMWARE, "f1", NOW_MS + 50_000),
        "sha256": "ab" * 32,
    }


async def test_t10_it_is_what_t_get_tasks_gave(api: TaskApi) -> None:
    await api.begin()
    await api.add(make_task(apicode=VERSION, firmware=PACKAGE))
    body = await api.endpoint.answer(make_body("T_GET_TASKS", {"taskids": [TASK_ID]}))
    (given,) = read_answer(body)["response"]["tasks"]
    text = (await api.endpoint.answer(make_body(VERSION, task_id=TASK_ID))).decode()
    assert f'"response":{given["param"]},' in text


@pytest.mark.parametrize("version", ["v14.8", "V14.9", "v14.9 ", 14.9])
async def test_t10_another_version_is_400_02(api: TaskApi, version: object) -> None:
    await api.begin()
    await api.add(make_task(apicode=VERSION, firmware=PACKAGE))
    answer = await ask(api, VERSION, {"version": version})
    assert error_code(answer) == "400_02"
    assert "version is not the task's" in answer["error"]["errmsg"]


async def test_t10_a_version_that_comes_as_a_number_is_the_text_it_was_written_as(api: TaskApi) -> None:
    await api.begin()
    package = FirmwareReference(firmware_id="f1", version="2.10", size=1, sha256="ab" * 32)
    await api.add(make_task(apicode=VERSION, firmware=package))
    assert (await ask(api, VERSION, "{version: 2.10}"))["success"]
    assert error_code(await ask(api, VERSION, "{version: 2.1}")) == "400_02"


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_t4_every_interface_of_the_standard_has_its_function_and_each_its_own() -> None:
    assert HANDLERS.keys() == HTTPS_APICODES
    assert len(set(HANDLERS.values())) == len(HTTPS_APICODES) == 8


async def test_every_interface_is_shown_with_right_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    await show_all()
    shown = capsys.readouterr().out
    assert shown.count("  right\n") == 16
    assert all(apicode in shown for apicode in HTTPS_APICODES)


@pytest.mark.parametrize("apicode", sorted(HTTPS_APICODES - {Apicode.T_GET_TASKS, Apicode.T_UPDATE_TASKS_STATUS}))
async def test_a_call_about_a_task_links_to_the_trace_of_whoever_made_it(api: TaskApi, apicode: Apicode) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await api.begin()
    await api.add(make_task(apicode=apicode, traceparent=f"00-{trace}-00f067aa0ba902b7-01"))
    kept = KeptSpans()
    app = TracedRequests(api.app, kept.tracing, trusts_callers=False)
    await call(app, "POST", "/api/device", body=make_body(apicode, task_id=TASK_ID))
    links = kept.one(f"device {apicode}").links
    assert [f"{link.context.trace_id:032x}" for link in links] == [trace]


@pytest.mark.parametrize("apicode", [Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON, DELETE, CLEAR, VERSION])
@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.DELIVERED])
async def test_t5_asking_for_its_content_changes_no_state(api: TaskApi, apicode: Apicode, state: TaskState) -> None:
    await api.begin()
    await api.add(make_task(apicode=apicode, named_persons=0))
    if state is TaskState.DELIVERED:
        await api.end(TASK_ID, state)
    paged = apicode in (Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON)
    for _ in range(2):
        assert (await ask(api, apicode, {"currentPage": 1} if paged else None))["success"]
    assert (await api.task(TASK_ID)).state is state
