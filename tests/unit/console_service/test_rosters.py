"""How a device differs from its site is shown, and made good where an operator asks for it."""

from typing import Any

import msgspec
import pytest

from shared.domain.audit import AuditOutcome
from shared.domain.devices import SiteSpan
from shared.domain.operators import Role
from shared.domain.persons import NewPerson, PersonVersions
from shared.domain.rosters import NOBODY, Failed, Held, Planned, Roster
from shared.domain.tasks import DEVICE, HistoryEntry, TaskState
from shared.protocol.apicodes import Apicode
from shared.stores.interfaces import NewTask
from tests.support.session_values import make_device
from tests.support.task_values import make_task
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem

SN = "84/E0"
"""An sn may hold a slash."""
OPEN = Planned(task_id="77", apicode=Apicode.T_POST_DEVICE_PERSON, at_ms=NOW_MS, by_planner=False)


async def make_parts(roster: Roster | None = None, *, disabled: bool = False) -> Parts:
    """A device at s1, where P1 (with a face), P2 and P3 belong."""
    parts = Parts()
    device = make_device(SN, site_history=(SiteSpan(0, "s1", None),), disabled=disabled)
    await parts.devices.register([device])
    new = [NewPerson(person_id=one, name="张三", site_ids=("s1",)) for one in ("P1", "P2", "P3")]
    await parts.persons.put_many(new, NOW_MS)
    await parts.persons.set_face("P1", "a" * 64, 9, NOW_MS)
    if roster is not None:
        assert await parts.rosters.replace((await parts.rosters.find([SN]))[SN], roster)
    return parts


async def shown(parts: Parts) -> Any:
    answer = await parts.ask("GET", f"/devices/{SN}/roster")
    assert answer.status == 200, answer.body
    return answer.json()


async def reconcile(parts: Parts) -> list[dict[str, Any]]:
    answer = await parts.ask("POST", f"/devices/{SN}/reconcile")
    assert answer.status == 200, answer.body
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_task_that_has_ended_counts_before_the_planner_has_looked() -> None:
    sent = make_task("78", sn=SN, apicode=Apicode.T_SEND_PERSON, named_persons=1)
    versions = PersonVersions(1, 0, 1)
    planned = Planned(task_id="78", apicode=sent.apicode, at_ms=NOW_MS, by_planner=True, persons={"P2": versions})
    parts = await make_parts(Roster(open=(planned,)))
    await parts.tasks.add_many([NewTask(task=sent, person_ids=("P2",))])
    before = await shown(parts)
    assert (before["missing"], before["openTasks"]) == (["P1", "P2", "P3"], ["78"])
    await parts.tasks.change(["78"], HistoryEntry(at_ms=NOW_MS, state=TaskState.DONE, actor=DEVICE))
    after = await shown(parts)
    assert (after["missing"], after["openTasks"]) == (["P1", "P3"], [])


async def test_a_report_that_is_asked_for_after_a_task_has_ended_is_not_disturbed_by_it() -> None:
    planned = [
        Planned(task_id=one, apicode=Apicode.T_SEND_PERSON, at_ms=NOW_MS, by_planner=True, persons={f"P{one}": NOBODY})
        for one in ("1", "2")
    ]
    parts = await make_parts(Roster(open=tuple(planned)))
    sent = [make_task(one, sn=SN, apicode=Apicode.T_SEND_PERSON, named_persons=1) for one in ("1", "2")]
    await parts.tasks.add_many([NewTask(task=task, person_ids=()) for task in sent])
    await parts.tasks.change(["1"], HistoryEntry(at_ms=NOW_MS, state=TaskState.DONE, actor=DEVICE))
    answer = await parts.ask("POST", "/tasks", json_body={"apicode": "T_POST_DEVICE_PERSON", "sn": SN})
    assert answer.status == 201, answer.body
    *_, report = (await parts.rosters.find([SN]))[SN].roster.open
    assert report.disturbed == {"P2"}


async def test_a_device_of_which_nothing_is_known_lacks_everybody() -> None:
    assert await shown(await make_parts()) == {
        "sn": SN,
        "reportedAt": None,
        "complete": False,
        "missing": ["P1", "P2", "P3"],
        "extra": [],
        "different": [],
        "failed": [],
        "openTasks": [],
    }


async def test_t11_a_roster_shows_the_members_of_the_contract() -> None:
    failure = Failed(attempts=2, at_ms=NOW_MS, what="face", code="404_1", versions=PersonVersions(1, 2, 2))
    roster = Roster(
        believed={"P1": Held(name=0, face=0), "P2": Held(name=1, face=0), "P9": Held(foreign=True)},
        failures={"P1": failure},
        open=(OPEN,),
        report_id="77",
        reported_at_ms=NOW_MS + 1,
        report_is_whole=True,
    )
    assert await shown(await make_parts(roster)) == {
        "sn": SN,
        "reportedAt": "2026-11-24T07:00:00.001Z",
        "complete": True,
        "missing": ["P3"],
        "extra": ["P9"],
        "different": [{"personId": "P1", "fields": ["name", "hasImg"]}],
        "failed": [
            {"personId": "P1", "what": "face", "code": "404_1", "at": "2026-11-24T07:00:00.000Z", "attempts": 2}
        ],
        "openTasks": ["77"],
    }


async def test_a_reconcile_deletes_the_foreign_too_and_tries_again_what_failed() -> None:
    failure = Failed(attempts=9, at_ms=NOW_MS)
    roster = Roster(believed={"P9": Held(foreign=True)}, failures={"P9": failure}, back_off=failure)
    parts = await make_parts(roster)
    (task,) = await reconcile(parts)
    assert (task["apicode"], task["push"], task["history"][0]["actor"]) == ("T_DEL_DEVICE_PERSON", True, "admin")
    assert await parts.tasks.person_ids(task["taskid"]) == ("P9",)
    assert (await shown(parts))["openTasks"] == [task["taskid"]]
    assert (await shown(parts))["failed"] == []
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == ("device.reconcile", SN, AuditOutcome.DONE)
    assert [one["taskid"] for one in await reconcile(parts)] == [task["taskid"]]  # again


async def test_a_reconcile_sends_what_a_report_showed_to_be_missing() -> None:
    parts = await make_parts()
    (task,) = await reconcile(parts)
    assert task["apicode"] == "T_SEND_PERSON"
    assert await parts.tasks.person_ids(task["taskid"]) == ("P1", "P2", "P3")


@pytest.mark.parametrize(
    ("roster", "disabled"),
    [
        (Roster(open=(OPEN,)), False),
        (Roster(), True),
        (
            Roster(
                believed={
                    "P1": Held(name=1, face=2),
                    "P2": Held(name=1, face=0),
                    "P3": Held(name=1, face=0),
                }
            ),
            False,
        ),
    ],
)
async def test_nothing_is_made_where_there_is_nothing_to_do_or_it_cannot_be_done_now(
    roster: Roster, *, disabled: bool
) -> None:
    assert await reconcile(await make_parts(roster, disabled=disabled)) == []


async def test_what_is_asked_for_while_a_task_is_open_is_not_forgotten() -> None:
    parts = await make_parts(Roster(believed={"P9": Held(foreign=True)}, open=(OPEN,)))
    await reconcile(parts)
    kept = (await parts.rosters.find([SN]))[SN]
    assert kept.roster.believed == {"P9": Held()}
    assert await parts.rosters.replace(kept, msgspec.structs.replace(kept.roster, open=()))
    assert [task.apicode for task in await parts.planner.plan([SN], "planner")] == ["T_DEL_DEVICE_PERSON"]


async def test_rosters_of_other_sites_and_unknown_devices_are_404_problems() -> None:
    parts = await make_parts()
    token = await parts.make_token(Role.OPERATOR, "s2")
    for method, path in (("GET", "roster"), ("POST", "reconcile")):
        check_problem(await parts.ask(method, f"/devices/SN9/{path}"), 404)
        check_problem(await parts.ask(method, f"/devices/{SN}/{path}", token=token), 404)
        parts.audit.entries.clear()
    own = await parts.make_token(Role.OPERATOR, "s1")
    assert (await parts.ask("GET", f"/devices/{SN}/roster", token=own)).status == 200


async def test_a_reconcile_is_503_while_rosters_are_out_of_reach() -> None:
    parts = await make_parts()
    parts.rosters.available = False
    check_problem(await parts.ask("POST", f"/devices/{SN}/reconcile"), 503)
