import pytest

from shared.domain.audit import AuditOutcome
from shared.domain.devices import Device, Direction, SiteSpan
from shared.domain.sites import Site
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem


def make_device(sn: str, **members: object) -> Device:
    return Device(sn=sn, vendor_id="v1", registered_at_ms=NOW_MS - 1, **members)  # type: ignore[arg-type]  # test data


async def test_a_device_shows_the_members_of_the_contract() -> None:
    parts = Parts()
    history = (
        SiteSpan(NOW_MS - 1000, "site-1", Direction.OUT),
        SiteSpan(NOW_MS, "site-2", Direction.IN),
        SiteSpan(NOW_MS + 1, "site-3", Direction.BOTH),
    )
    await parts.devices.register([make_device("SN1", name="Gate", site_history=history, time_window_seconds=900)])
    assert (await parts.ask("GET", "/devices/SN1")).json() == {
        "sn": "SN1",
        "vendorId": "v1",
        "siteId": "site-2",
        "direction": "in",
        "name": "Gate",
        "disabled": False,
        "online": False,
        "lastSeenAt": None,
        "address": None,
        "deviceVersion": None,
        "deviceIp": None,
        "clockSkewSeconds": None,
        "timeWindowSeconds": 900,
        "registeredAt": "2026-11-24T06:59:59.999Z",
    }


async def test_an_unknown_device_is_a_404_problem() -> None:
    check_problem(await Parts().ask("GET", "/devices/SN1"), 404)


async def test_a_serial_number_may_hold_any_character() -> None:
    parts = Parts()
    await parts.devices.register([make_device("a/b 门")])
    # An ASGI server hands over the path decoded
    assert (await parts.ask("GET", "/devices/a/b 门")).json()["sn"] == "a/b 门"


async def test_devices_are_paged_in_order_of_sn() -> None:
    parts = Parts()
    await parts.devices.register([make_device(f"SN{number:02}") for number in range(5)])
    first = (await parts.ask("GET", "/devices?limit=3")).json()
    second = (await parts.ask("GET", f"/devices?limit=3&cursor={first['next']}")).json()
    assert [device["sn"] for device in first["items"] + second["items"]] == [f"SN{number:02}" for number in range(5)]
    assert second["next"] is None


async def test_a_page_that_ends_the_list_exactly_has_no_next() -> None:
    parts = Parts()
    await parts.devices.register([make_device(f"SN{number}") for number in range(3)])
    assert (await parts.ask("GET", "/devices?limit=3")).json()["next"] is None


async def test_a_limit_out_of_range_is_a_422_problem() -> None:
    for limit in ("0", "201", "-1", "ten"):
        check_problem(await Parts().ask("GET", f"/devices?limit={limit}"), 422)


async def test_a_cursor_of_another_list_is_a_400_problem() -> None:
    parts = Parts()
    parts.session.vendor_ids = ["v1", "v2"]
    cursor = (await parts.ask("GET", "/vendors?limit=1")).json()["next"]
    check_problem(await parts.ask("GET", f"/devices?cursor={cursor}"), 400)


async def test_a_store_that_is_away_is_a_503_problem() -> None:
    parts = Parts()
    parts.devices.available = False
    answer = await parts.ask("GET", "/devices")
    check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def make_parts(**members: object) -> Parts:
    """A console that knows the device SN1 and the site s1."""
    parts = Parts()
    parts.devices.put(make_device("SN1", **members))
    await parts.sites.add(Site(site_id="s1", name="Tower", created_at_ms=NOW_MS))
    return parts


async def test_a_change_is_handed_to_session_answered_with_the_device_and_audited() -> None:
    parts = await make_parts(time_window_seconds=900)
    change = {"siteId": "s1", "direction": "in", "name": "Gate", "disabled": True, "timeWindowSeconds": 60}
    answer = await parts.ask("PATCH", "/devices/SN1", json_body=change)
    assert answer.status == 200
    device = answer.json()
    assert {member: device[member] for member in change} == change
    assert device == (await parts.ask("GET", "/devices/SN1")).json()
    assert parts.session.calls == [("change", "SN1", change)]
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target) == ("admin", "device.change", "SN1")
    assert (entry.what, entry.outcome) == (change, AuditOutcome.DONE)


async def test_a_change_shows_at_once_though_sessions_clock_runs_ahead_of_the_consoles() -> None:
    parts = await make_parts(site_history=(SiteSpan(0, "s0", None),))
    parts.clock.advance(-5)
    assert (await parts.ask("PATCH", "/devices/SN1", json_body={"siteId": "s1"})).json()["siteId"] == "s1"


async def test_what_is_left_out_is_not_handed_on_and_null_is() -> None:
    parts = await make_parts(name="Gate", time_window_seconds=900)
    answer = await parts.ask("PATCH", "/devices/SN1", json_body={"name": None, "siteId": None})
    assert (answer.json()["name"], answer.json()["timeWindowSeconds"]) == (None, 900)
    await parts.ask("PATCH", "/devices/SN1", json_body={})
    assert parts.session.calls == [("change", "SN1", {"name": None, "siteId": None}), ("change", "SN1", {})]


async def test_a_serial_number_of_any_character_is_changed() -> None:
    parts = await make_parts()
    parts.devices.put(make_device("a/b 门"))
    assert (await parts.ask("PATCH", "/devices/a/b 门", json_body={"name": "x"})).json()["name"] == "x"


async def test_an_unknown_device_or_site_is_a_problem_that_is_audited_as_refused() -> None:
    parts = await make_parts()
    check_problem(await parts.ask("PATCH", "/devices/SN2", json_body={"name": "x"}), 404)
    assert parts.audit.only().outcome is AuditOutcome.REFUSED
    parts = await make_parts()
    assert "site" in check_problem(await parts.ask("PATCH", "/devices/SN1", json_body={"siteId": "s2"}), 422)
    assert parts.audit.only().outcome is AuditOutcome.REFUSED
    assert parts.session.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"disabled": None},
        {"direction": "up"},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "line\nbreak"},
        {"timeWindowSeconds": 0},
        {"timeWindowSeconds": 86_401},
        {"siteId": 1},
        {"sn": "SN2"},
        [],
    ],
)
async def test_a_change_that_cannot_be_is_a_422_problem_and_not_tried(change: object) -> None:
    parts = await make_parts()
    check_problem(await parts.ask("PATCH", "/devices/SN1", json_body=change), 422)
    assert parts.session.calls == []
    assert parts.audit.entries == {}


async def test_a_change_that_session_does_not_answer_is_503_and_stays_intended() -> None:
    parts = await make_parts()
    parts.session.available = False
    check_problem(await parts.ask("PATCH", "/devices/SN1", json_body={"disabled": True}), 503)
    assert parts.audit.only().outcome is AuditOutcome.INTENDED


def test_the_description_of_a_change_tells_left_out_from_null() -> None:
    members = Parts().app.openapi()["components"]["schemas"]["DeviceChange"]["properties"]
    assert sorted(members) == ["direction", "disabled", "name", "siteId", "timeWindowSeconds"]
    assert not any("default" in member for member in members.values())


# ── rosters ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wish", "is_of_roster"),
    [({"siteId": None}, True), ({"disabled": True}, True), ({"disabled": False}, True), ({"name": "gate"}, False)],
)
async def test_a_device_that_is_moved_or_disabled_is_planned_before_and_after(
    wish: dict[str, object], *, is_of_roster: bool
) -> None:
    parts = Parts()
    parts.devices.put(make_device("SN1"))
    assert (await parts.ask("PATCH", "/devices/SN1", json_body=wish)).status == 200
    assert parts.roster_marks.device_marks == ([(["SN1"], 60_000), (["SN1"], 0)] if is_of_roster else [])


async def test_a_device_is_not_moved_where_it_cannot_be_marked_before() -> None:
    parts = Parts()
    parts.devices.put(make_device("SN1"))
    parts.roster_marks.available = False
    check_problem(await parts.ask("PATCH", "/devices/SN1", json_body={"siteId": None}), 503)
    assert parts.session.calls == []
