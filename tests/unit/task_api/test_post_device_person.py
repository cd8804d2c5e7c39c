"""T_POST_DEVICE_PERSON: pages in any order, and again, make one report, which corrects what is believed (T11)."""

import json

import msgspec
import pytest

from shared.domain.devices import SiteSpan
from shared.domain.persons import PersonVersions
from shared.domain.rosters import Held, Planned, Roster, begun
from shared.domain.tasks import TaskState
from shared.protocol.apicodes import Apicode
from shared.stores.interfaces import NewTask
from task_api.interfaces import post_device_person
from tests.support.session_values import NOW_MS, make_device
from tests.support.task_api import SECRET, SN, TOKEN, VERSION, TaskApi, error_code, make_body, md5, read_answer
from tests.support.task_values import TASK_ID, make_task

POST = "T_POST_DEVICE_PERSON"
BELIEVED = {"P1": Held(name=1, face=2), "P2": Held(name=1, face=0)}


def row(person_id: object, name: object = "张三", **members: object) -> dict[str, object]:
    return {"personId": person_id, "name": name, **members}


class Report(TaskApi):
    """A device at s1, where P1 (with a face) and P2 belong, and its task to report."""

    async def prepare(self, *exclude_fields: str) -> None:
        self.metrics.close()
        await self.begin()
        await self.devices.register([make_device(SN, site_history=(SiteSpan(0, "s1", None),))])
        await self.put_person("P1", face=True)
        await self.put_person("P2", name="李四")
        task = make_task(TASK_ID, apicode=Apicode.T_POST_DEVICE_PERSON, exclude_fields=exclude_fields)
        planned = Planned(task_id=TASK_ID, apicode=task.apicode, at_ms=NOW_MS, by_planner=False)
        await self.set_roster(begun(Roster(believed=BELIEVED), planned))
        await self.tasks.add_many([NewTask(task=task)])

    async def set_roster(self, roster: Roster) -> None:
        assert await self.rosters.replace((await self.rosters.find([SN]))[SN], roster)

    async def roster(self) -> Roster:
        return (await self.rosters.find([SN]))[SN].roster

    async def ask(self, param: object) -> str:
        """ "" or the error code."""
        answer = await self.endpoint.answer(make_body(POST, param, task_id=TASK_ID))
        return error_code(read_answer(answer, task_id=TASK_ID))

    async def page(self, number: object, total: object, *rows: dict[str, object]) -> str:
        return await self.ask({"data": list(rows), "currentPage": number, "totalPage": total})


@pytest.fixture
async def report() -> Report:
    made = Report()
    await made.prepare()
    return made


async def test_t11_a_report_corrects_what_is_believed(report: Report) -> None:
    answer = await report.endpoint.answer(
        make_body(
            POST,
            {"data": [row("P1", hasImg=0), row("P9", hasImg=1)], "currentPage": 1, "totalPage": 1},
            task_id=TASK_ID,
        )
    )
    assert "response" not in read_answer(answer, task_id=TASK_ID)
    roster = await report.roster()
    assert roster.believed == {"P1": Held(name=1, face=0), "P9": Held(name=0, face=-1, foreign=True)}
    assert (roster.report_is_whole, roster.reported_at_ms) == (True, NOW_MS)


async def test_t11_a_task_that_ended_before_the_report_is_not_taken_into_account_after_it(report: Report) -> None:
    sent = make_task("6541951958563696641", apicode=Apicode.T_SEND_PERSON, named_persons=1)
    await report.tasks.add_many([NewTask(task=sent, person_ids=("P2",))])
    planned = Planned(
        task_id=sent.task_id,
        apicode=sent.apicode,
        at_ms=NOW_MS,
        by_planner=True,
        persons={"P2": PersonVersions(1, 0, 1)},
    )
    await report.set_roster(begun(msgspec.structs.replace(await report.roster(), believed={}), planned))
    await report.end(sent.task_id)
    assert await report.page(1, 1, row("P1")) == ""
    roster = await report.roster()
    assert [one.task_id for one in roster.open] == [TASK_ID]
    # Both were open at once: nobody knows which the device carried out last.
    assert roster.believed["P2"] == Held(sure=False, reported=False)
    assert roster.awaits


async def test_t11_pages_come_in_any_order_and_again(report: Report) -> None:
    for number, person in ((3, row("P3")), (1, row("P1")), (1, row("P1")), (3, row("P3"))):
        assert await report.page(number, 3, person) == ""
        assert (await report.roster()).believed == BELIEVED
        assert not (await report.roster()).report_is_whole
    assert await report.page(2, 3, row("P2", "李四")) == ""
    assert sorted((await report.roster()).believed) == ["P1", "P2", "P3"]
    assert await report.page(2, 3, row("P2", "李四")) == ""
    assert (await report.roster()).report_is_whole


async def test_t11_a_device_that_begins_anew_with_fewer_pages_is_believed(report: Report) -> None:
    await report.page(1, 3, row("P7"))
    await report.page(2, 2, row("P2", "李四"))
    assert not (await report.roster()).report_is_whole
    await report.page(1, 2, row("P1"))
    assert sorted((await report.roster()).believed) == ["P1", "P2"]


async def test_t11_a_page_that_is_there_already_costs_no_second_correction(report: Report) -> None:
    await report.page(1, 1, row("P1"))
    before = (await report.rosters.find([SN]))[SN].rev
    await report.page(1, 1, row("P1"))
    assert (await report.rosters.find([SN]))[SN].rev == before
    await report.page(1, 1, row("P1", "王五"))
    assert (await report.roster()).believed["P1"].name == 0


@pytest.mark.parametrize("total", [0, 1])
async def test_t11_a_device_that_holds_nobody_says_so(report: Report, total: int) -> None:
    assert await report.page(1, total) == ""
    assert (await report.roster()).believed == {}


async def test_t11_a_name_is_compared_with_the_persons_now(report: Report) -> None:
    await report.put_person("P1", name="张三丰")
    await report.page(1, 1, row("P1", "张三丰"), row("P2", "张三"))
    believed = (await report.roster()).believed
    assert (believed["P1"].name, believed["P2"].name) == (3, 0)


async def test_t11_what_is_left_out_or_excluded_is_not_compared(report: Report) -> None:
    await report.page(1, 1, {"personId": "P1"}, row("P2", None, hasImg=""))
    assert (await report.roster()).believed == BELIEVED


@pytest.mark.parametrize("fields", [("name",), ("hasImg",), ("name", "hasImg", "img")])
async def test_t11_exclude_fields_are_not_compared_though_they_are_sent(fields: tuple[str, ...]) -> None:
    report = Report()
    await report.prepare(*fields)
    await report.page(1, 1, row("P1", "王五", hasImg=0), row("P2", "李四", hasImg=0))
    expected = Held(name=1 if "name" in fields else 0, face=2 if "hasImg" in fields else 0)
    assert (await report.roster()).believed == {**BELIEVED, "P1": expected}


async def test_s4_a_page_with_pictures_is_signed_without_them_and_nothing_of_them_is_kept(report: Report) -> None:
    signed = '{"data":[{"personId":"P1","name":"张三","phone":"139"}],"currentPage":1,"totalPage":1}'
    sent = signed.replace('"name":"张三",', '"name":"张三","img":"/9j/4AAQ",')
    sign = md5(VERSION, SN, TOKEN, TASK_ID, POST, signed, SECRET)
    answer = await report.endpoint.answer(make_body(POST, sent, task_id=TASK_ID, sign=sign))
    assert error_code(read_answer(answer, task_id=TASK_ID)) == ""
    (page,) = await report.rosters.pages(TASK_ID)
    assert json.loads(msgspec.json.encode(page)) == {"number": 1, "total": 1, "persons": {"P1": [1, None]}}


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "param",
    [
        {"data": [], "totalPage": 1},
        {"data": [], "currentPage": 1},
        {"currentPage": 1, "totalPage": 1},
        {"data": [], "currentPage": 0, "totalPage": 1},
        {"data": [], "currentPage": 2, "totalPage": 1},
        {"data": [row("P1")], "currentPage": 1, "totalPage": 0},
        {"data": [], "currentPage": 1, "totalPage": -1},
        {"data": [], "currentPage": 1, "totalPage": 10_001},
        {"data": [{"name": "张三"}], "currentPage": 1, "totalPage": 1},
        {"data": [row("P" * 65)], "currentPage": 1, "totalPage": 1},
        {"data": [row("P1", hasImg=2)], "currentPage": 1, "totalPage": 1},
        {"data": ["P1"], "currentPage": 1, "totalPage": 1},
    ],
)
async def test_t11_a_page_that_is_none_is_400_02_and_changes_nothing(report: Report, param: object) -> None:
    before = await report.roster()
    assert await report.ask(param) == "400_02"
    assert await report.roster() == before
    assert await report.rosters.pages(TASK_ID) == []


async def test_j2_numbers_come_as_texts_and_ids_as_numbers(report: Report) -> None:
    assert await report.page("1", "1", row(42, hasImg="1")) == ""
    assert list((await report.roster()).believed) == ["42"]


async def test_t12_a_report_for_an_ended_task_is_400_02(report: Report) -> None:
    await report.end(TASK_ID, TaskState.EXPIRED)
    assert await report.page(1, 1, row("P1")) == "400_02"


async def test_a_page_that_comes_after_the_planner_has_closed_the_report_changes_nothing_and_stays_nowhere(
    report: Report,
) -> None:
    await report.set_roster(Roster(believed=BELIEVED))
    assert await report.page(1, 1) == ""
    assert (await report.roster()) == Roster(believed=BELIEVED)
    assert await report.rosters.pages(TASK_ID) == []


async def test_design_7_a_report_of_more_persons_than_a_terminal_can_hold_is_refused(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_device_person, "MAX_PERSONS", 2)
    assert await report.page(1, 2, row("P1"), row("P2")) == ""
    assert await report.page(2, 2, row("P3")) == "400_02"
    assert (await report.roster()).believed == BELIEVED


# ── what follows from the end of tasks ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("apicode", ["T_SEND_PERSON", "T_UPDATE_DEVICE_VERSION"])
async def test_the_end_of_a_task_marks_its_device_where_it_was_about_the_roster(report: Report, apicode: str) -> None:
    await report.add(make_task("77", apicode=Apicode(apicode)))
    body = make_body("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": "77", "status": 1}]})
    marked = [SN] if apicode == "T_SEND_PERSON" else []
    for _ in range(2):
        assert error_code(read_answer(await report.endpoint.answer(body))) == ""
        assert list(await report.rosters.due(NOW_MS, 9)) == marked


async def test_a_device_whose_mark_could_not_be_set_is_told_to_report_again(report: Report) -> None:
    await report.add(make_task("77"))
    body = make_body("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": "77", "status": 1}]})
    report.rosters.available = False
    assert error_code(read_answer(await report.endpoint.answer(body))) == "500_01"
    report.rosters.available = True
    assert error_code(read_answer(await report.endpoint.answer(body))) == ""
    assert list(await report.rosters.due(NOW_MS, 9)) == [SN]
