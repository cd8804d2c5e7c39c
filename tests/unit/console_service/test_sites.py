import re

import pytest

from shared.domain.audit import AuditOutcome
from shared.domain.sites import Site
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem


async def test_a_site_is_made_listed_and_audited() -> None:
    parts = Parts()
    answer = await parts.ask("POST", "/sites", json_body={"name": " 东门 Tower "})
    assert answer.status == 201
    made = answer.json()
    assert re.fullmatch(r"s[0-9a-f]{16}", made["siteId"])
    assert made == {"siteId": made["siteId"], "name": "东门 Tower"}
    assert (await parts.ask("GET", "/sites")).json() == {"items": [made], "next": None}
    assert (await parts.sites.find([made["siteId"]]))[made["siteId"]].created_at_ms == NOW_MS
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target) == ("admin", "site.create", made["siteId"])
    assert (entry.what, entry.outcome) == ({"name": "东门 Tower"}, AuditOutcome.DONE)


async def test_sites_of_one_name_are_two_sites() -> None:
    parts = Parts()
    ids = {(await parts.ask("POST", "/sites", json_body={"name": "Tower"})).json()["siteId"] for _ in range(2)}
    assert len(ids) == 2


async def test_sites_are_paged_in_order_of_their_id() -> None:
    parts = Parts()
    for number in (4, 2, 0, 3, 1):
        await parts.sites.add(Site(site_id=f"s{number}", name="Tower", created_at_ms=NOW_MS))
    first = (await parts.ask("GET", "/sites?limit=3")).json()
    second = (await parts.ask("GET", f"/sites?limit=3&cursor={first['next']}")).json()
    assert [site["siteId"] for site in first["items"] + second["items"]] == ["s0", "s1", "s2", "s3", "s4"]
    assert second["next"] is None


@pytest.mark.parametrize("wish", [{}, {"name": ""}, {"name": " "}, {"name": "x" * 201}, {"name": "a\tb"}, {"other": 1}])
async def test_a_site_that_cannot_be_is_a_422_problem(wish: object) -> None:
    parts = Parts()
    check_problem(await parts.ask("POST", "/sites", json_body=wish), 422)
    assert (await parts.ask("GET", "/sites")).json()["items"] == []
    assert parts.audit.entries == {}


async def test_a_store_that_is_away_is_a_503_problem_and_the_entry_stays_intended() -> None:
    parts = Parts()
    parts.sites.available = False
    check_problem(await parts.ask("GET", "/sites"), 503)
    check_problem(await parts.ask("POST", "/sites", json_body={"name": "Tower"}), 503)
    assert parts.audit.only().outcome is AuditOutcome.INTENDED


async def test_without_the_audit_no_site_is_made() -> None:
    parts = Parts()
    parts.audit.begins = False
    check_problem(await parts.ask("POST", "/sites", json_body={"name": "Tower"}), 503)
    assert (await parts.ask("GET", "/sites")).json()["items"] == []
