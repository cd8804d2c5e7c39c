import pytest

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.domain.devices import Device, Direction, SiteSpan
from shared.domain.operators import Role
from shared.domain.sites import Site
from tests.unit.console_service.parts import NOW_MS, SECRET, Parts, check_problem


async def make_parts(*actions: str) -> Parts:
    """A console with an entry of each action, one millisecond after the other."""
    parts = Parts()
    for number, action in enumerate(actions):
        entry = AuditEntry(
            audit_id=f"a{number}", at_ms=NOW_MS + number, who=f"token:t{number % 2}", action=action, target="x", what={}
        )
        await parts.audit.begin(entry)
    return parts


async def listed(parts: Parts, query: str) -> list[str]:
    answer = await parts.ask("GET", f"/audit?{query}")
    assert answer.status == 200, answer.body
    return [entry["auditId"] for entry in answer.json()["items"]]


async def test_an_entry_shows_who_when_what_before_and_after() -> None:
    parts = Parts()
    history = (SiteSpan(0, "s1", Direction.OUT),)
    parts.devices.put(Device(sn="SN1", vendor_id="v1", registered_at_ms=0, name="Gate", site_history=history))
    await parts.sites.add(Site(site_id="s2", name="Tower", created_at_ms=NOW_MS))
    token = await parts.make_token(Role.OPERATOR)
    change = {"siteId": "s2", "name": None, "disabled": False}
    assert (await parts.ask("PATCH", "/devices/SN1", token=token, json_body=change)).status == 200
    (entry,) = (await parts.ask("GET", "/audit")).json()["items"]
    assert entry == {
        "auditId": parts.audit.only().audit_id,
        "at": "2026-11-24T07:00:00.000Z",
        "who": "token:t0",
        "action": "device.change",
        "target": "SN1",
        "what": change,
        "before": {"siteId": "s1", "name": "Gate", "disabled": False},
        "after": change,
        "outcome": "done",
    }


async def test_a_refused_change_has_neither_before_nor_after() -> None:
    parts = Parts()
    check_problem(await parts.ask("PATCH", "/devices/SN9", json_body={"name": "x"}), 404)
    (entry,) = (await parts.ask("GET", "/audit")).json()["items"]
    assert (entry["outcome"], entry["before"], entry["after"]) == ("refused", None, None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "target", "what"),
    [
        ("PATCH", "/devices/TYPED", {"name": "TYPED"}, 404, None, {"members": ["name"]}),
        ("POST", "/vendors/TYPED/credentials", None, 404, None, {"members": []}),
        ("POST", "/tokens", {"role": "viewer", "siteIds": ["TYPED"]}, 422, "", {}),
        ("POST", "/tasks/TYPED/cancel", None, 404, None, {"members": []}),
    ],
)
async def test_design_rule_8_what_does_not_exist_leaves_no_trace_of_what_was_typed(
    method: str, path: str, body: object, status: int, target: str | None, what: object
) -> None:
    parts = Parts()
    check_problem(await parts.ask(method, path, json_body=body), status)
    entry = parts.audit.only()
    assert (entry.outcome, entry.who) == (AuditOutcome.REFUSED, "admin")
    assert "TYPED" not in repr(entry)
    if target is None:
        assert (entry.target, entry.what) == (None, what)


@pytest.mark.parametrize(
    "path", ["/tokens/op_kq0Ty3oKpQ4Ck1mB3c8gW5vYJd2r9sXfH7uLzE6aNnI", "/persons/9", "/persons/9/face"]
)
async def test_design_rule_8_not_even_the_intent_to_delete_by_a_token_s_text_or_of_nobody_is_kept(path: str) -> None:
    parts = Parts()
    check_problem(await parts.ask("DELETE", path), 404)
    assert parts.audit.entries == {}


async def test_sites_and_vendors_say_what_stands_there_since() -> None:
    parts = Parts()
    await parts.ask("POST", "/sites", json_body={"name": "Tower"})
    await parts.ask("POST", "/vendors", json_body={"name": "Gate Works", "signForm": "sorted"})
    await parts.ask("POST", "/vendors/v1/credentials")
    await parts.ask("DELETE", "/vendors/v1/credentials/a1")
    assert [(entry.action, entry.before, entry.after) for entry in parts.audit.entries.values()] == [
        ("site.create", None, {"name": "Tower"}),
        ("vendor.create", None, {"name": "Gate Works", "signForm": "sorted", "timeWindowSeconds": None}),
        ("credential.create", None, {"revoked": False}),
        ("credential.revoke", None, {"revoked": True}),
    ]
    assert SECRET not in repr(parts.audit.entries)


async def test_entries_are_newest_first_and_narrowed_by_every_filter() -> None:
    parts = await make_parts("vendor.create", "vendor.rename", "site.create", "vendors.count")
    await parts.audit.finish("a1", AuditOutcome.DONE, "y/z", None, None)
    assert await listed(parts, "") == ["a3", "a2", "a1", "a0"]
    assert await listed(parts, "action=vendor.") == ["a1", "a0"]
    assert await listed(parts, "action=vendor") == ["a3", "a1", "a0"]
    assert await listed(parts, "who=token:t0") == ["a2", "a0"]
    assert await listed(parts, "target=y/z") == ["a1"]
    assert await listed(parts, f"from={NOW_MS + 1}&to={NOW_MS + 3}") == ["a2", "a1"]
    assert await listed(parts, "from=2026-11-24T15:00:00.003%2B08:00") == ["a3"]
    assert await listed(parts, "who=token:t0&action=vendor.&limit=1") == ["a0"]


async def test_entries_of_one_moment_are_paged_without_gap_or_repetition() -> None:
    parts = Parts()
    for number in range(25):
        entry = AuditEntry(audit_id=f"{number:02}", at_ms=NOW_MS, who="w", action="a.b", target=None, what={})
        await parts.audit.begin(entry)
    seen: list[str] = []
    target = "/audit?limit=4&who=w"
    while target:
        page = (await parts.ask("GET", target)).json()
        seen += [entry["auditId"] for entry in page["items"]]
        target = page["next"] and f"/audit?limit=4&who=w&cursor={page['next']}"
    assert seen == [f"{number:02}" for number in reversed(range(25))]


async def test_a_cursor_with_other_filters_is_a_400_problem() -> None:
    parts = await make_parts("a.b", "a.b")
    cursor = (await parts.ask("GET", "/audit?limit=1")).json()["next"]
    assert await listed(parts, f"limit=1&cursor={cursor}") == ["a0"]
    for query in ("who=w&", "action=a&", "target=x&", "from=1&", "to=1&"):
        check_problem(await parts.ask("GET", f"/audit?{query}cursor={cursor}"), 400)


@pytest.mark.parametrize("query", ["action=%E9%97%A8", "action=a%20b", "who=", "limit=0", "from=x", "action="])
async def test_a_filter_that_cannot_be_is_a_422_problem(query: str) -> None:
    check_problem(await Parts().ask("GET", f"/audit?{query}"), 422)
