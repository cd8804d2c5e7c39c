import hashlib
import re

import pytest

from shared.domain.audit import AuditOutcome
from shared.domain.operators import Role
from shared.domain.sites import Site
from tests.support.asgi import Answer
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem

NOW = "2026-11-24T07:00:00.000Z"


async def make_parts() -> Parts:
    parts = Parts()
    for site_id in ("s1", "s2"):
        await parts.sites.add(Site(site_id=site_id, name="Tower", created_at_ms=NOW_MS))
    return parts


async def create(parts: Parts, **members: object) -> Answer:
    return await parts.ask("POST", "/tokens", json_body={"role": "viewer", **members})


async def test_a_token_is_made_shown_once_and_opens_what_its_role_and_sites_allow() -> None:
    parts = await make_parts()
    answer = await create(
        parts, role="operator", siteIds=["s2", "s1"], name=" 工地 ", expiresAt="2026-11-24T15:00:00.001+08:00"
    )
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert re.fullmatch(r"op_[A-Za-z0-9_-]{43}", made["token"])
    assert re.fullmatch(r"t[0-9a-f]{16}", made["tokenId"])
    listed = {member: value for member, value in made.items() if member != "token"}
    assert listed == {
        "tokenId": made["tokenId"],
        "role": "operator",
        "siteIds": ["s1", "s2"],
        "name": "工地",
        "createdAt": NOW,
        "expiresAt": "2026-11-24T07:00:00.001Z",
        "revokedAt": None,
    }
    assert (await parts.ask("GET", "/tokens")).json() == {"items": [listed], "next": None}
    assert (await parts.ask("GET", "/sites", token=made["token"])).status == 200
    check_problem(await parts.ask("POST", "/sites", token=made["token"], json_body={"name": "x"}), 403)
    parts.clock.value_ms += 1
    check_problem(await parts.ask("GET", "/sites", token=made["token"]), 401)


async def test_what_is_stored_is_the_digest_and_not_the_token() -> None:
    parts = await make_parts()
    text = (await create(parts)).json()["token"]
    (stored,) = await parts.tokens.page(None, 9)
    assert stored.digest == hashlib.sha256(text.encode()).hexdigest()
    assert text not in repr(stored)


async def test_every_token_is_another() -> None:
    parts = await make_parts()
    made = [(await create(parts)).json() for _ in range(20)]
    assert len({one["token"] for one in made}) == len({one["tokenId"] for one in made}) == 20


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"role": "root"},
        {"role": 3},
        {"role": "viewer", "siteIds": []},
        {"role": "viewer", "siteIds": [""]},
        {"role": "viewer", "siteIds": "s1"},
        {"role": "viewer", "siteIds": ["s1"] * 101},
        {"role": "viewer", "name": "a\tb"},
        {"role": "viewer", "name": " "},
        {"role": "viewer", "name": "x" * 201},
        {"role": "viewer", "expiresAt": "tomorrow"},
        {"role": "viewer", "token": "op_mine"},
    ],
)
async def test_a_token_that_cannot_be_is_a_422_problem_and_not_tried(wish: object) -> None:
    parts = await make_parts()
    check_problem(await parts.ask("POST", "/tokens", json_body=wish), 422)
    assert list(await parts.tokens.page(None, 9)) == []
    assert parts.audit.entries == {}


@pytest.mark.parametrize(
    ("wish", "detail"),
    [
        ({"role": "admin", "siteIds": ["s1"]}, "an admin is not bound"),
        ({"siteIds": ["s1", "s3"]}, "no such site"),
        ({"expiresAt": NOW_MS}, "passed"),
    ],
)
async def test_a_token_that_makes_no_sense_is_a_422_problem_that_is_audited_as_refused(
    wish: dict[str, object], detail: str
) -> None:
    parts = await make_parts()
    assert detail in check_problem(await create(parts, **wish), 422)
    assert list(await parts.tokens.page(None, 9)) == []
    assert parts.audit.only().outcome is AuditOutcome.REFUSED


async def test_making_a_token_is_audited_without_its_text() -> None:
    parts = await make_parts()
    made = (await create(parts, siteIds=["s1"], name="x")).json()
    entry = parts.audit.only()
    what = {"role": "viewer", "siteIds": ["s1"], "name": "x", "expiresAt": None}
    assert (entry.who, entry.action, entry.target) == ("admin", "token.create", made["tokenId"])
    assert (entry.what, entry.before, entry.after, entry.outcome) == (what, None, what, AuditOutcome.DONE)
    assert made["token"] not in repr(entry)
    assert hashlib.sha256(made["token"].encode()).hexdigest() not in repr(entry)


async def test_a_revoked_token_stays_listed_and_the_first_time_stays() -> None:
    parts = await make_parts()
    token_id = (await create(parts)).json()["tokenId"]
    for seconds in (0, 60):
        parts.clock.value_ms = NOW_MS + seconds * 1000
        answer = await parts.ask("DELETE", f"/tokens/{token_id}")
        assert (answer.status, answer.body) == (204, b"")
    (listed,) = (await parts.ask("GET", "/tokens")).json()["items"]
    assert listed["revokedAt"] == NOW
    _, first, second = parts.audit.entries.values()
    assert (first.action, first.target) == ("token.revoke", token_id)
    assert (first.before, first.after) == ({"revokedAt": None}, {"revokedAt": NOW})
    assert (second.before, second.after) == ({"revokedAt": NOW}, {"revokedAt": NOW})


async def test_revoking_what_is_not_there_is_a_404_problem() -> None:
    parts = await make_parts()
    check_problem(await parts.ask("DELETE", "/tokens/t9"), 404)
    assert parts.audit.only().outcome is AuditOutcome.REFUSED


async def test_tokens_are_paged_in_order_of_their_id() -> None:
    parts = await make_parts()
    for _ in range(5):
        await parts.make_token(Role.VIEWER)
    first = (await parts.ask("GET", "/tokens?limit=3")).json()
    second = (await parts.ask("GET", f"/tokens?limit=3&cursor={first['next']}")).json()
    assert [one["tokenId"] for one in first["items"] + second["items"]] == ["t0", "t1", "t2", "t3", "t4"]
    assert second["next"] is None


async def test_a_store_that_is_away_is_a_503_problem_and_the_entry_stays_intended() -> None:
    parts = await make_parts()
    parts.tokens.available = False
    check_problem(await parts.ask("GET", "/tokens"), 503)
    check_problem(await create(parts), 503)
    assert parts.audit.only().outcome is AuditOutcome.INTENDED


async def test_what_cannot_be_audited_is_not_done() -> None:
    parts = await make_parts()
    parts.audit.begins = False
    check_problem(await create(parts), 503)
    assert list(await parts.tokens.page(None, 9)) == []
