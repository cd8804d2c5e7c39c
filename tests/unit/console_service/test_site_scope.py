"""A token that is bound to sites sees and changes what is there, and nothing else: every route is tried."""

import re
from collections.abc import AsyncIterator

import pytest

from shared.domain.attendance import AttendanceEvent, rfc3339
from shared.domain.audit import AuditEntry
from shared.domain.devices import Device, SiteSpan
from shared.domain.operators import OperatorToken, Role
from shared.domain.sites import Site
from shared.stores.interfaces import AttendanceRecord, NewTask, StoredPicture
from shared.stores.person_interfaces import PersonQuery
from tests.support.task_values import make_task
from tests.unit.console_service.parts import ADMIN_TOKEN, NOW_MS, Parts, check_problem
from tests.unit.console_service.route_roles import ROLES
from tests.unit.console_service.test_operators import OPERATIONS

IDCARD_NO, PHONE = "11010519491231002X", "13812341234"

SHOWING = [path for method, path in OPERATIONS if method == "GET" and path not in ("/live", "/firmware")]
"""What /live shows is told by its own tests; packages of firmware belong to no site."""


async def fill(parts: Parts, site_id: str, marker: str, task_id: str) -> dict[str, str]:
    """Puts one of everything at the site, which says so by its marker; gives the ids, by the names that paths have."""
    sn, event_id = f"{marker}-sn", f"{marker}-event"
    await parts.sites.add(Site(site_id=site_id, name=f"{marker} site", created_at_ms=NOW_MS))
    parts.devices.put(
        Device(
            sn=sn,
            vendor_id=f"{marker}-vendor",
            name=f"{marker} gate",
            registered_at_ms=0,
            site_history=(SiteSpan(0, site_id, None),),
        )
    )
    event = AttendanceEvent(
        event_id=event_id,
        sn=sn,
        vendor_id=f"{marker}-vendor",
        person_id=f"{marker}-person",
        type=1,
        record_time=NOW_MS,
        sent_at=rfc3339(NOW_MS),
        received_at=rfc3339(NOW_MS),
        site_id=site_id,
    )
    parts.memory.records[event_id] = AttendanceRecord(event=event, has_image=True)
    parts.memory.pictures[event_id] = StoredPicture(
        event_id=event_id, sn=sn, content_type="image/jpeg", data=f"a {marker} face".encode(), received_at_ms=NOW_MS
    )
    await parts.tasks.add_many([NewTask(task=make_task(task_id, sn))])
    parts.session.vendor_ids = [f"{marker}-vendor"]
    await parts.audit.begin(
        AuditEntry(audit_id=f"{marker}-1", at_ms=0, who=f"{marker} who", action="x.y", target=None, what={})
    )
    await parts.tokens.add(
        OperatorToken(
            token_id=f"{marker}-token", digest=marker, role=Role.ADMIN, name=f"{marker} token", created_at_ms=0
        )
    )
    person_id, face = f"{marker}-person", f"a {marker} face".encode()
    person = {"name": f"{marker} worker", "siteIds": [site_id], "idcardNo": IDCARD_NO, "phone": PHONE}
    assert (await parts.ask("PUT", f"/persons/{person_id}", json_body=person)).status == 201
    await parts.faces.put(person_id, face, "digest")
    await parts.persons.set_face(person_id, "digest", len(face), NOW_MS)
    package = await parts.firmware.add(f"{marker}-version", chunks(), NOW_MS)
    campaign = await parts.ask("POST", "/campaigns", json_body={"firmwareId": package.firmware_id, "sns": [sn]})
    return {
        "sn": sn,
        "eventId": event_id,
        "taskid": task_id,
        "vendorId": f"{marker}-vendor",
        "tokenId": f"{marker}-token",
        "personId": person_id,
        "campaignId": campaign.json()["campaignId"],
    }


async def chunks() -> AsyncIterator[bytes]:
    yield b"a package"


def target_of(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path)


@pytest.mark.parametrize("path", SHOWING)
async def test_a_bound_viewer_is_shown_nothing_of_another_site(path: str) -> None:
    parts = Parts()
    target = target_of(path, await fill(parts, "foreign-site", "foreign", "7"))
    shown = await parts.ask("GET", target)
    assert shown.status == 200
    assert b"foreign" in shown.body, "the test itself would see nothing"
    bound = await parts.ask("GET", target, token=await parts.make_token(Role.VIEWER, "own-site"))
    assert bound.status in (200, 403, 404)
    if bound.status == 200 and bound.headers["content-type"] == "application/json":
        assert (bound.json()["items"], bound.json()["next"]) == ([], None)
    assert b"foreign" not in bound.body


@pytest.mark.parametrize(
    "query",
    [
        "/attendance?siteId=foreign-site",
        "/attendance?sn=foreign-sn",
        "/attendance?personId=foreign-person",
        "/attendance?receivedAfter=0",
        "/attendance/export?siteId=foreign-site",
        "/attendance/export?receivedAfter=0",
        "/persons?siteId=foreign-site",
        "/tasks?siteId=foreign-site",
        "/tasks?sn=foreign-sn",
        "/tasks?state=pending",
    ],
)
async def test_no_filter_shows_a_bound_viewer_anything_of_another_site(query: str) -> None:
    parts = Parts()
    await fill(parts, "foreign-site", "foreign", "7")
    assert b"foreign-" in (await parts.ask("GET", query)).body
    bound = await parts.ask("GET", query, token=await parts.make_token(Role.VIEWER, "own-site"))
    assert (bound.status, b"foreign" in bound.body) in ((200, False), (404, False))


@pytest.mark.parametrize(
    "path",
    [
        "/sites",
        "/devices",
        "/devices/own-sn",
        "/attendance",
        "/attendance/own-event",
        "/attendance/own-event/image",
        "/attendance/export",
        "/attendance?siteId=own-site",
        "/attendance?sn=own-sn",
        "/persons",
        "/persons?siteId=own-site",
        "/persons/own-person",
        "/persons/own-person/face",
        "/tasks",
        "/tasks/8",
        "/tasks?siteId=own-site",
        "/campaigns",
    ],
)
async def test_a_bound_viewer_is_shown_what_is_at_its_own_sites_beside_others(path: str) -> None:
    parts = Parts()
    await fill(parts, "foreign-site", "foreign", "7")
    await fill(parts, "own-site", "own", "8")
    token = await parts.make_token(Role.VIEWER, "own-site", "another-site")
    answer = await parts.ask("GET", path, token=token)
    assert answer.status == 200
    assert b"own" in answer.body
    assert b"foreign" not in answer.body


BEYOND_THE_SITE: list[tuple[str, str, dict[str, object] | None, int]] = [
    ("POST", "/sites", {"name": "Tower"}, 403),
    ("PATCH", "/devices/{sn}", {"name": "mine"}, 404),
    ("PATCH", "/devices/{sn}", {"siteId": "own-site"}, 404),
    ("PATCH", "/devices/own-sn", {"siteId": "foreign-site"}, 422),
    ("PATCH", "/devices/own-sn", {"siteId": None}, 403),
    ("POST", "/devices/{sn}/reconcile", None, 404),
    ("POST", "/tasks", {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "foreign-sn"}, 404),
    ("POST", "/tasks", {"apicode": "T_CLEAR_DEVICE_PERSON", "siteId": "foreign-site"}, 404),
    ("POST", "/tasks", {"apicode": "T_SEND_PERSON", "sn": "own-sn", "personIds": ["foreign-person"]}, 422),
    ("POST", "/tasks/{taskid}/cancel", None, 404),
    ("PUT", "/persons/{personId}", {"name": "mine", "siteIds": ["own-site"]}, 404),
    ("PUT", "/persons/own-person", {"name": "mine", "siteIds": ["foreign-site"]}, 422),
    ("PUT", "/persons/new-person", {"name": "mine", "siteIds": ["foreign-site"]}, 422),
    ("PUT", "/persons/new-person", {"name": "mine"}, 422),
    ("DELETE", "/persons/{personId}", None, 404),
    ("PUT", "/persons/{personId}/face", None, 404),
    ("DELETE", "/persons/{personId}/face", None, 404),
    ("POST", "/campaigns", {"firmwareId": "…", "sns": ["own-sn", "foreign-sn"]}, 422),
    ("POST", "/campaigns", {"firmwareId": "…", "siteIds": ["own-site", "foreign-site"]}, 422),
    ("POST", "/campaigns/{campaignId}/pause", None, 404),
    ("POST", "/campaigns/{campaignId}/resume", None, 404),
    ("POST", "/campaigns/{campaignId}/cancel", None, 404),
    ("POST", "/campaigns/{campaignId}/rollback", None, 404),
]


def test_every_route_by_which_operators_change_something_is_tried() -> None:
    changing = {operation for operation, role in ROLES.items() if role is Role.OPERATOR}
    tried = {(method, path) for method, path, _, _ in BEYOND_THE_SITE} | {("POST", "/persons/import")}
    assert changing - tried == set()


async def test_a_bound_operator_imports_nobody_of_another_site() -> None:
    parts = Parts()
    await fill(parts, "foreign-site", "foreign", "7")
    await fill(parts, "own-site", "own", "8")
    before = await state_of(parts)
    lines = ("personId,name,siteIds", "foreign-person,mine,own-site", "own-person,mine,foreign-site", "new,mine,")
    token = await parts.make_token(Role.OPERATOR, "own-site")
    headers = {"Content-Type": "text/csv"}
    answer = await parts.ask("POST", "/persons/import", token=token, headers=headers, body="\n".join(lines).encode())
    result = answer.json()
    assert (answer.status, result["imported"], result["failed"]) == (200, 0, 3)
    assert [error["line"] for error in result["errors"]] == [2, 3, 4]
    assert await state_of(parts) == before


@pytest.mark.parametrize(("method", "target", "body", "status"), BEYOND_THE_SITE)
async def test_a_bound_operator_changes_nothing_of_another_site(
    method: str, target: str, body: dict[str, object] | None, status: int
) -> None:
    parts = Parts()
    ids = await fill(parts, "foreign-site", "foreign", "7")
    await fill(parts, "own-site", "own", "8")
    if body is not None and "firmwareId" in body:
        body = {**body, "firmwareId": (await parts.firmware.page(None, 1))[0].firmware_id}
    before = await state_of(parts)
    token = await parts.make_token(Role.OPERATOR, "own-site")
    check_problem(await parts.ask(method, target_of(target, ids), token=token, json_body=body), status)
    assert await state_of(parts) == before


async def state_of(parts: Parts) -> list[object]:
    """All that operators may change."""
    return [
        list(parts.session.calls),
        await parts.sites.page(None, 9),
        await parts.devices.page(None, 9),
        await parts.tasks.find(["7", "8"]),
        await parts.tasks.open_ids(None, 9),
        await parts.persons.page(PersonQuery()),
        [await parts.faces.find(f"{marker}-person") for marker in ("own", "foreign")],
        await parts.campaigns.page(None, 9),
    ]


async def test_a_bound_operator_changes_what_is_at_its_own_sites() -> None:
    parts = Parts()
    await fill(parts, "own-site", "own", "8")
    await parts.sites.add(Site(site_id="second-site", name="second", created_at_ms=NOW_MS))
    token = await parts.make_token(Role.OPERATOR, "own-site", "second-site")
    moved = await parts.ask("PATCH", "/devices/own-sn", token=token, json_body={"siteId": "second-site", "name": "x"})
    assert (moved.status, moved.json()["siteId"], moved.json()["name"]) == (200, "second-site", "x")
    assert (await parts.ask("POST", "/tasks/8/cancel", token=token)).json()["state"] == "cancelled"


async def test_a_person_is_found_by_number_at_the_operators_sites_alone() -> None:
    parts = Parts()
    await fill(parts, "foreign-site", "foreign", "7")
    await fill(parts, "own-site", "own", "8")
    token = await parts.make_token(Role.VIEWER, "own-site")
    for wish in ({"idcardNo": IDCARD_NO}, {"phone": PHONE}):
        for asked, expected in ((token, ["own-person"]), (ADMIN_TOKEN, ["foreign-person", "own-person"])):
            answer = await parts.ask("POST", "/persons/search", token=asked, json_body=wish)
            assert [person["personId"] for person in answer.json()["items"]] == expected


async def test_a_person_at_two_sites_is_kept_by_the_one_that_the_operator_does_not_see() -> None:
    parts = Parts()
    await fill(parts, "foreign-site", "foreign", "7")
    await fill(parts, "own-site", "own", "8")
    both = {"name": "shared worker", "siteIds": ["foreign-site", "own-site"]}
    assert (await parts.ask("PUT", "/persons/p", json_body=both)).status == 201
    token = await parts.make_token(Role.OPERATOR, "own-site")
    shown = (await parts.ask("GET", "/persons/p", token=token)).json()
    assert shown["siteIds"] == ["own-site"]
    check_problem(await parts.ask("DELETE", "/persons/p", token=token), 403)
    taken_off = await parts.ask("PUT", "/persons/p", token=token, json_body={"name": "shared worker", "siteIds": []})
    assert taken_off.json()["siteIds"] == []
    assert (await parts.persons.find(["p"]))["p"].site_ids == ("foreign-site",)


async def test_what_is_at_no_site_is_seen_by_the_unbound_alone() -> None:
    parts = Parts()
    await fill(parts, "own-site", "own", "8")
    parts.devices.put(Device(sn="nowhere", vendor_id="v1", registered_at_ms=0))
    record = parts.memory.records["own-event"]
    unplaced = AttendanceEvent(
        **{name: getattr(record.event, name) for name in record.event.__struct_fields__}
        | {"event_id": "unplaced", "site_id": None}
    )
    parts.memory.records["unplaced"] = AttendanceRecord(event=unplaced, has_image=False)
    bound = await parts.make_token(Role.VIEWER, "own-site")
    unbound = await parts.make_token(Role.VIEWER)
    for token, devices, attendances in (
        (bound, ["own-sn"], ["own-event"]),
        (unbound, ["nowhere", "own-sn"], ["unplaced", "own-event"]),
    ):
        page = (await parts.ask("GET", "/devices", token=token)).json()
        assert [device["sn"] for device in page["items"]] == devices
        page = (await parts.ask("GET", "/attendance", token=token)).json()
        assert [attendance["eventId"] for attendance in page["items"]] == attendances
    check_problem(await parts.ask("GET", "/devices/nowhere", token=bound), 404)
    check_problem(await parts.ask("GET", "/attendance/unplaced", token=bound), 404)


async def test_a_device_that_moved_away_is_out_of_sight_and_one_that_came_is_in() -> None:
    parts = Parts()
    spans = {"left": ("own-site", "foreign-site"), "came": ("foreign-site", "own-site"), "put off": ("own-site", None)}
    for sn, sites in spans.items():
        history = tuple(SiteSpan(number, site_id, None) for number, site_id in enumerate(sites))
        parts.devices.put(Device(sn=sn, vendor_id="v1", registered_at_ms=0, site_history=history))
    token = await parts.make_token(Role.VIEWER, "own-site")
    page = (await parts.ask("GET", "/devices", token=token)).json()
    assert [device["sn"] for device in page["items"]] == ["came"]
    for sn, status in (("left", 404), ("came", 200), ("put off", 404)):
        assert (await parts.ask("GET", f"/devices/{sn}", token=token)).status == status


async def test_a_bound_viewers_lists_are_paged_to_their_end() -> None:
    parts = Parts()
    for number in range(7):
        await fill(parts, f"site-{number}", f"m{number}", str(number))
    token = await parts.make_token(Role.VIEWER, *(f"site-{number}" for number in range(1, 6)))
    for path, member, expected in (
        ("/sites", "siteId", [f"site-{number}" for number in range(1, 6)]),
        ("/devices", "sn", [f"m{number}-sn" for number in range(1, 6)]),
        ("/attendance", "eventId", [f"m{number}-event" for number in range(5, 0, -1)]),
    ):
        seen: list[str] = []
        target = f"{path}?limit=2"
        while target:
            page = (await parts.ask("GET", target, token=token)).json()
            assert len(page["items"]) <= 2
            seen += [item[member] for item in page["items"]]
            target = page["next"] and f"{path}?limit=2&cursor={page['next']}"
        assert seen == expected


async def test_a_cursor_of_another_scope_is_a_400_problem() -> None:
    parts = Parts()
    for number in range(3):
        await fill(parts, f"site-{number}", f"m{number}", str(number))
    cursor = (await parts.ask("GET", "/attendance?limit=1")).json()["next"]
    token = await parts.make_token(Role.VIEWER, "site-0", "site-1")
    check_problem(await parts.ask("GET", f"/attendance?limit=1&cursor={cursor}", token=token), 400)
