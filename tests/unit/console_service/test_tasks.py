import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import console_service.task_making
from shared.domain.audit import AuditOutcome
from shared.domain.control import PushCommand, TasksChanged
from shared.domain.devices import Device, SiteSpan
from shared.domain.firmware import Firmware
from shared.domain.operators import Role
from shared.domain.persons import NewPerson, PersonVersions
from shared.domain.rosters import Planned
from shared.domain.sites import Site
from shared.domain.tasks import DEVICE, Failure, HistoryEntry, Outcome, TaskState
from tests.support.asgi import Answer
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem

NOW = "2026-11-24T07:00:00.000Z"


def make_device(sn: str, *sites: str) -> Device:
    history = tuple(SiteSpan(number, site, None) for number, site in enumerate(sites))
    return Device(sn=sn, vendor_id="v1", registered_at_ms=0, site_history=history)


async def make_parts() -> Parts:
    """SN1 and SN2 stand at s1; SN3 stood there and is at s2."""
    parts = Parts()
    await parts.devices.register([make_device("SN2", "s1"), make_device("SN1", "s1"), make_device("SN3", "s1", "s2")])
    for site_id in ("s1", "s2", "s3"):
        await parts.sites.add(Site(site_id=site_id, name="West Lake Tower", created_at_ms=0))
    assert await parts.control.read(1) is None
    return parts


async def create(parts: Parts, **wish: object) -> list[dict[str, Any]]:
    answer = await parts.ask("POST", "/tasks", json_body={"apicode": "T_CLEAR_DEVICE_PERSON", **wish})
    assert answer.status == 201, answer.body
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def report(parts: Parts, taskid: str, state: TaskState, outcome: Outcome | None = None) -> None:
    entry = HistoryEntry(at_ms=NOW_MS + 1000, state=state, actor=DEVICE, reason="reported")
    assert await parts.tasks.change([taskid], entry, outcome=outcome) == 1


async def test_a_task_shows_the_members_of_the_contract() -> None:
    parts = await make_parts()
    (task,) = await create(
        parts, sn="SN1", apicode="T_SEND_PERSON", personIds=["P1", "P2", "P1"], expiresAt="2026-11-24T07:00:05Z"
    )
    taskid = task["taskid"]
    # Milliseconds since the epoch above 22 bits (T5)
    assert int(taskid) >> 22 == NOW_MS
    expected = {
        "taskid": taskid,
        "sn": "SN1",
        "apicode": "T_SEND_PERSON",
        "state": "pending",
        "history": [{"at": NOW, "state": "pending", "actor": "admin", "reason": None}],
        "push": False,
        "excludeFields": [],
        "namedPersons": 2,
        "firmwareId": None,
        "personCount": None,
        "faceCount": None,
        "failedPersons": [],
        "failedFaces": [],
        "createdAt": NOW,
        "expiresAt": "2026-11-24T07:00:05.000Z",
    }
    assert task == expected
    assert (await parts.ask("GET", f"/tasks/{taskid}")).json() == expected
    assert await parts.tasks.person_ids(taskid) == ("P1", "P2")

    outcome = Outcome(person_count=1, face_count=0, failed_persons=(Failure("P2", "7"),), failed_faces=())
    await report(parts, taskid, TaskState.FAILED, outcome)
    assert (await parts.ask("GET", f"/tasks/{taskid}")).json() == {
        **expected,
        "state": "failed",
        "history": [
            *task["history"],
            {"at": "2026-11-24T07:00:01.000Z", "state": "failed", "actor": "device", "reason": "reported"},
        ],
        "personCount": 1,
        "faceCount": 0,
        "failedPersons": [{"personId": "P2", "code": "7"}],
    }


async def test_a_site_means_every_device_that_stands_there_now() -> None:
    parts = await make_parts()
    assert [task["sn"] for task in await create(parts, siteId="s1")] == ["SN1", "SN2"]
    assert [task["sn"] for task in await create(parts, siteId="s2")] == ["SN3"]
    assert await create(parts, siteId="s3") == []


async def test_a_task_is_listed_for_its_device_and_pushed_only_where_asked_for() -> None:
    parts = await make_parts()
    (quiet,) = await create(parts, sn="SN1")
    assert await parts.control.read(1) == [TasksChanged("SN1")]
    (pushed,) = await create(
        parts, sn="SN1", apicode="T_POST_DEVICE_PERSON", push=True, excludeFields=["img", "name", "img"]
    )
    assert pushed["excludeFields"] == ["img", "name"]
    command = PushCommand("SN1", pushed["taskid"], "T_POST_DEVICE_PERSON", '{"excludeFields":"img,name"}')
    assert await parts.control.read(1) == [TasksChanged("SN1"), command]
    assert await parts.pending.oldest(["SN1"], 50) == [[quiet["taskid"], pushed["taskid"]]]


async def test_design_3_a_task_is_made_though_redis_is_away() -> None:
    parts = await make_parts()
    parts.pending.available = False
    (task,) = await create(parts, sn="SN1", push=True)
    assert (await parts.ask("GET", f"/tasks/{task['taskid']}")).json() == task
    assert parts.metrics.tasks_unlisted == 1


@pytest.mark.parametrize(
    "wish",
    [
        {"apicode": "T_CLEAR_DEVICE_PERSON"},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "siteId": "s1"},
        {"apicode": "T_GET_TASKS", "sn": "SN1"},
        {"apicode": "T_UPDATE_TASKS_STATUS", "sn": "SN1"},
        {"apicode": "C_HEARTBEAT", "sn": "SN1"},
        {"apicode": "T_NONE", "sn": "SN1"},
        {"sn": "SN1"},
        {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1"},
        {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1", "personIds": []},
        {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1", "personIds": [""]},
        {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1", "personIds": ["P" * 65]},
        {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1", "personIds": ["P"] * 10_001},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "personIds": ["P1"]},
        {"apicode": "T_UPDATE_DEVICE_VERSION", "sn": "SN1"},
        {"apicode": "T_UPDATE_DEVICE_VERSION", "sn": "SN1", "firmwareId": "f1"},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "firmwareId": "f1"},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "excludeFields": ["img"]},
        {"apicode": "T_POST_DEVICE_PERSON", "sn": "SN1", "excludeFields": ["img,name"]},
        {"apicode": "T_POST_DEVICE_PERSON", "sn": "SN1", "excludeFields": ["img", "personId"]},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": "2026-11-24T07:00:00Z"},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": NOW_MS - 1},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": -1},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": 10**30},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": 1e30},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "expiresAt": "tomorrow"},
        {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "unknown": 1},
    ],
)
async def test_a_wish_that_is_not_coherent_is_a_422_problem_and_makes_nothing(wish: dict[str, object]) -> None:
    parts = await make_parts()
    check_problem(await parts.ask("POST", "/tasks", json_body=wish), 422)
    assert (await parts.ask("GET", "/tasks")).json() == {"items": [], "next": None}


async def test_the_problem_of_an_unknown_firmware_says_so() -> None:
    parts = await make_parts()
    wish = {"apicode": "T_UPDATE_DEVICE_VERSION", "sn": "SN1", "firmwareId": "f1"}
    assert "firmware" in check_problem(await parts.ask("POST", "/tasks", json_body=wish), 422)


async def test_an_unknown_device_or_site_is_a_404_problem_and_refused_in_the_audit() -> None:
    for unknown in ({"sn": "SN9"}, {"siteId": "s9"}):
        parts = await make_parts()
        wish = {"apicode": "T_CLEAR_DEVICE_PERSON", **unknown}
        check_problem(await parts.ask("POST", "/tasks", json_body=wish), 404)
        assert parts.audit.only().outcome is AuditOutcome.REFUSED


async def put_persons(parts: Parts, *person_ids: str, site_id: str = "s1") -> None:
    new = [NewPerson(person_id=person_id, name="张三", site_ids=(site_id,)) for person_id in person_ids]
    await parts.persons.put_many(new, NOW_MS)


async def entered(parts: Parts, sn: str) -> list[Planned]:
    """The tasks in the device's roster."""
    return list((await parts.rosters.find([sn]))[sn].roster.open)


async def test_t8_persons_left_out_are_those_of_the_terminals_site_fixed_when_the_task_is_made() -> None:
    parts = await make_parts()
    await put_persons(parts, "P1", "P2")
    await put_persons(parts, "P3", site_id="s2")
    (task,) = await create(parts, sn="SN1", apicode="T_SEND_PERSON")
    await put_persons(parts, "P4")
    assert task["namedPersons"] == 2
    assert sorted(await parts.tasks.person_ids(task["taskid"]) or ()) == ["P1", "P2"]
    (elsewhere,) = await create(parts, sn="SN3", apicode="T_UPDATE_DEVICE_PERSON")
    assert await parts.tasks.person_ids(elsewhere["taskid"]) == ("P3",)


async def test_t8_a_terminal_at_no_site_is_sent_nobody_unless_they_are_named() -> None:
    parts = await make_parts()
    await parts.devices.register([make_device("SN9")])
    (task,) = await create(parts, sn="SN9", apicode="T_SEND_PERSON")
    assert task["namedPersons"] == 0
    assert await parts.tasks.person_ids(task["taskid"]) == ()


async def test_a_task_about_the_roster_is_entered_there_with_the_versions_of_its_persons() -> None:
    parts = await make_parts()
    await put_persons(parts, "P1")
    await parts.persons.set_face("P1", "a" * 64, 9, NOW_MS)
    (sent,) = await create(parts, sn="SN1", apicode="T_SEND_PERSON", personIds=["P1", "P9"])
    (deleted,) = await create(parts, sn="SN1", apicode="T_DEL_DEVICE_PERSON", personIds=["P1"])
    (reported,) = await create(parts, sn="SN1", apicode="T_POST_DEVICE_PERSON")
    first, second, third = await entered(parts, "SN1")
    assert (first.task_id, first.apicode, first.at_ms, first.by_planner) == (
        sent["taskid"],
        "T_SEND_PERSON",
        NOW_MS,
        False,
    )
    assert first.persons == {"P1": PersonVersions(1, 2, 2), "P9": PersonVersions(0, 0, 0)}
    disturbed = [sorted(task.disturbed) for task in (first, second, third)]
    assert disturbed == [["P1"], ["P1", "P9"], ["P1", "P9"]]
    assert (second.task_id, third.task_id) == (deleted["taskid"], reported["taskid"])


async def test_every_device_of_a_site_has_its_task_entered() -> None:
    parts = await make_parts()
    tasks = await create(parts, siteId="s1")
    assert [task.task_id for sn in ("SN1", "SN2") for task in await entered(parts, sn)] == [
        task["taskid"] for task in tasks
    ]


async def test_a_sites_tasks_are_told_and_pushed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_service.task_making, "TOLD_AT_ONCE", 1)
    parts = await make_parts()
    first, second = [task["taskid"] for task in await create(parts, siteId="s1", push=True)]
    clear = "T_CLEAR_DEVICE_PERSON"
    assert await parts.control.read(1) == [
        TasksChanged("SN1"),
        PushCommand("SN1", first, clear),
        TasksChanged("SN2"),
        PushCommand("SN2", second, clear),
    ]


async def test_a_task_names_ten_thousand_persons_at_most() -> None:
    parts = await make_parts()
    wish = {"apicode": "T_DEL_DEVICE_PERSON", "sn": "SN1", "personIds": [f"{number:064}" for number in range(10_001)]}
    check_problem(await parts.ask("POST", "/tasks", json_body=wish), 422)
    wish["personIds"] = wish["personIds"][1:]
    assert (await parts.ask("POST", "/tasks", json_body=wish)).json()["items"][0]["namedPersons"] == 10_000
    check_problem(await parts.ask("POST", "/tasks", json_body={**wish, "unknown": "x" * 1_048_576}), 413)


async def test_a_task_that_cannot_be_entered_is_not_made() -> None:
    parts = await make_parts()
    parts.rosters.available = False
    answer = await parts.ask("POST", "/tasks", json_body={"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1"})
    check_problem(answer, 503)
    assert await listed(parts) == []


async def package(parts: Parts) -> Firmware:
    async def data() -> AsyncIterator[bytes]:
        yield b"firmware"

    return await parts.firmware.add("v15", data(), NOW_MS)


async def test_t10_a_task_for_firmware_names_its_package_and_is_entered_in_no_roster() -> None:
    parts = await make_parts()
    firmware = await package(parts)
    (task,) = await create(
        parts, sn="SN1", apicode="T_UPDATE_DEVICE_VERSION", firmwareId=firmware.firmware_id, push=True
    )
    assert task["firmwareId"] == firmware.firmware_id
    assert (await parts.tasks.find([task["taskid"]]))[task["taskid"]].firmware == firmware.reference
    _, command = await parts.control.read(1) or ()
    assert isinstance(command, PushCommand)
    assert json.loads(command.param or "")["version"] == "v15"
    assert await entered(parts, "SN1") == []


# ── roles and sites ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_bound_to_sites_makes_tasks_for_their_terminals_and_persons_alone() -> None:
    parts = await make_parts()
    await put_persons(parts, "P1")
    await put_persons(parts, "P2", site_id="s2")
    token = await parts.make_token(Role.OPERATOR, "s1")

    async def make(**wish: object) -> Answer:
        body = {"apicode": "T_SEND_PERSON", **wish}
        return await parts.ask("POST", "/tasks", json_body=body, token=token)

    assert (await make(sn="SN1")).status == (await make(siteId="s1", personIds=["P1"])).status == 201
    check_problem(await make(sn="SN3"), 404)
    check_problem(await make(siteId="s2"), 404)
    for person in ("P2", "P9"):
        check_problem(await make(sn="SN1", personIds=["P1", person]), 422)


async def test_a_token_bound_to_sites_sees_and_cancels_the_tasks_of_their_terminals_alone() -> None:
    parts = await make_parts()
    tasks = {task["sn"]: task["taskid"] for sn in ("SN1", "SN3") for task in await create(parts, sn=sn)}
    token = await parts.make_token(Role.OPERATOR, "s1")
    for query, seen in (
        ("", ["SN1"]),
        ("?siteId=s2", []),
        ("?siteId=s1", ["SN1"]),
        ("?sn=SN3", []),
        ("?sn=SN1", ["SN1"]),
    ):
        answer = await parts.ask("GET", f"/tasks{query}", token=token)
        assert [task["sn"] for task in answer.json()["items"]] == seen, query
    assert (await parts.ask("GET", f"/tasks/{tasks['SN1']}", token=token)).status == 200
    check_problem(await parts.ask("GET", f"/tasks/{tasks['SN3']}", token=token), 404)
    check_problem(await parts.ask("POST", f"/tasks/{tasks['SN3']}/cancel", token=token), 404)
    answer = await parts.ask("POST", f"/tasks/{tasks['SN1']}/cancel", token=token)
    assert answer.json()["history"][-1]["actor"] != "admin"
    assert (await parts.ask("GET", f"/tasks/{tasks['SN3']}")).json()["state"] == "pending"


async def test_expires_at_is_taken_in_both_forms() -> None:
    parts = await make_parts()
    (first,) = await create(parts, sn="SN1", expiresAt=NOW_MS + 1)
    (second,) = await create(parts, sn="SN1", expiresAt="2026-11-24T15:00:00.001+08:00")
    assert first["expiresAt"] == second["expiresAt"] == "2026-11-24T07:00:00.001Z"


async def test_making_tasks_is_in_the_audit() -> None:
    parts = await make_parts()
    await create(parts, siteId="s1", apicode="T_DEL_DEVICE_PERSON", personIds=["P1", "P2"], push=True)
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target) == ("admin", "task.create", "s1")
    assert entry.what == {"apicode": "T_DEL_DEVICE_PERSON", "personIds": 2, "push": True, "expiresAt": None}
    assert entry.outcome is AuditOutcome.DONE


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def listed(parts: Parts, query: str = "") -> list[str]:
    answer = await parts.ask("GET", f"/tasks?{query}")
    assert answer.status == 200, answer.body
    return [task["taskid"] for task in answer.json()["items"]]


async def test_tasks_are_listed_newest_first_by_device_site_state_and_apicode() -> None:
    parts = await make_parts()
    first, second = [task["taskid"] for task in await create(parts, siteId="s1")]
    (third,) = [task["taskid"] for task in await create(parts, sn="SN3", apicode="T_POST_DEVICE_PERSON")]
    await report(parts, first, TaskState.DONE)
    assert await listed(parts) == [third, second, first]
    assert await listed(parts, "sn=SN2") == [second]
    assert await listed(parts, "siteId=s1") == [second, first]
    assert await listed(parts, "siteId=s1&sn=SN1") == [first]
    assert await listed(parts, "siteId=s2&sn=SN1") == []
    assert await listed(parts, "siteId=s3") == []
    assert await listed(parts, "state=done") == [first]
    assert await listed(parts, "apicode=T_POST_DEVICE_PERSON") == [third]
    for wrong in ("state=open", "apicode=T_GET_TASKS"):
        check_problem(await parts.ask("GET", f"/tasks?{wrong}"), 422)


async def test_tasks_are_paged_and_a_cursor_fits_only_its_filters() -> None:
    parts = await make_parts()
    made = [task["taskid"] for _ in range(5) for task in await create(parts, sn="SN1")]
    first = (await parts.ask("GET", "/tasks?sn=SN1&limit=3")).json()
    second = (await parts.ask("GET", f"/tasks?sn=SN1&limit=3&cursor={first['next']}")).json()
    assert [task["taskid"] for task in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None
    check_problem(await parts.ask("GET", f"/tasks?sn=SN2&limit=3&cursor={first['next']}"), 400)


async def test_an_unknown_task_is_a_404_problem() -> None:
    parts = await make_parts()
    check_problem(await parts.ask("GET", "/tasks/6541951958563696640"), 404)
    check_problem(await parts.ask("POST", "/tasks/6541951958563696640/cancel"), 404)


# ── cancelling ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_task_is_listed_for_its_device_no_more() -> None:
    parts = await make_parts()
    (task,) = await create(parts, sn="SN1")
    answer = await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")
    assert answer.status == 200
    assert [change["state"] for change in answer.json()["history"]] == ["pending", "cancelled"]
    assert answer.json()["history"][1]["actor"] == "admin"
    assert await parts.pending.oldest(["SN1"], 50) == [[]]


@pytest.mark.parametrize("apicode", ["T_POST_DEVICE_PERSON", "T_UPDATE_DEVICE_VERSION"])
async def test_a_cancelled_task_has_its_device_planned_where_it_was_about_the_roster(apicode: str) -> None:
    parts = await make_parts()
    wish = {} if apicode == "T_POST_DEVICE_PERSON" else {"firmwareId": (await package(parts)).firmware_id}
    (task,) = await create(parts, sn="SN1", apicode=apicode, **wish)
    assert (await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")).status == 200
    assert parts.roster_marks.device_marks == ([(["SN1"], 0)] if apicode == "T_POST_DEVICE_PERSON" else [])


async def test_a_task_is_cancelled_though_its_device_cannot_be_marked() -> None:
    parts = await make_parts()
    (task,) = await create(parts, sn="SN1")
    parts.roster_marks.available = False
    assert (await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")).json()["state"] == "cancelled"


async def test_cancelling_again_changes_nothing_and_is_no_error() -> None:
    parts = await make_parts()
    (task,) = await create(parts, sn="SN1")
    first = await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")
    second = await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")
    assert (first.status, first.json()) == (second.status, second.json())


@pytest.mark.parametrize("state", [TaskState.DONE, TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.EXPIRED])
async def test_a_task_that_ended_otherwise_cannot_be_cancelled(state: TaskState) -> None:
    parts = await make_parts()
    (task,) = await create(parts, sn="SN1")
    await report(parts, task["taskid"], state)
    assert state in check_problem(await parts.ask("POST", f"/tasks/{task['taskid']}/cancel"), 409)
    assert (await parts.ask("GET", f"/tasks/{task['taskid']}")).json()["state"] == state
    assert list(parts.audit.entries.values())[-1].outcome is AuditOutcome.REFUSED


async def test_a_delivered_task_is_cancelled_though_redis_is_away() -> None:
    parts = await make_parts()
    (task,) = await create(parts, sn="SN1")
    await report(parts, task["taskid"], TaskState.DELIVERED)
    parts.pending.available = False
    answer = await parts.ask("POST", f"/tasks/{task['taskid']}/cancel")
    assert (answer.status, answer.json()["state"]) == (200, "cancelled")
