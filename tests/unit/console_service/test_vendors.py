import json

import pytest

from shared.domain.audit import AuditOutcome
from tests.support.asgi import Answer
from tests.unit.console_service.parts import ADMIN_TOKEN, SECRET, Parts, check_problem


async def create(parts: Parts, **members: object) -> Answer:
    return await parts.ask("POST", "/vendors", json_body={"name": "Gate Works", **members})


async def test_a_vendor_is_created_by_session_and_its_secret_is_not_cached() -> None:
    parts = Parts()
    answer = await create(parts, signForm="sorted", timeWindowSeconds=3600)
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "vendorId": "v9",
        "name": "Gate Works",
        "accessId": "a2",
        "accessKey": "k" * 32,
        "accessSecret": SECRET,
    }
    assert parts.session.calls == [("create", "Gate Works", "sorted", 3600)]


@pytest.mark.parametrize(
    ("members", "location"),
    [
        ({"name": ""}, "body.name"),
        ({"name": "   "}, "body.name"),
        ({"name": "x" * 201}, "body.name"),
        ({"name": None}, "body.name"),
        ({"name": "a\x00b"}, "body.name"),
        ({"signForm": "pretty"}, "body.signForm"),
        ({"timeWindowSeconds": 0}, "body.timeWindowSeconds"),
        ({"timeWindowSeconds": 86_401}, "body.timeWindowSeconds"),
        ({"accessSecret": "mine"}, "body.accessSecret"),
        ({"synthetic": "yes"}, "body.synthetic"),
        ({"synthetic": None}, "body.synthetic"),
    ],
)
async def test_a_wish_that_is_not_valid_is_a_422_problem_and_reaches_nobody(
    members: dict[str, object], location: str
) -> None:
    parts = Parts()
    answer = await create(parts, **members)
    check_problem(answer, 422)
    assert [error["location"] for error in answer.json()["errors"]] == [location]
    assert parts.session.calls == []
    assert parts.audit.entries == {}


async def test_a_body_that_is_no_json_is_a_422_problem() -> None:
    answer = await Parts().ask("POST", "/vendors", headers={"Content-Type": "application/json"})
    check_problem(answer, 422)


async def test_vendors_are_paged_by_a_cursor_that_names_no_offset() -> None:
    parts = Parts()
    parts.session.vendor_ids = [f"v{number}" for number in range(5)]
    seen: list[str] = []
    target = "/vendors?limit=2"
    for _ in range(3):
        page = (await parts.ask("GET", target)).json()
        seen += [vendor["vendorId"] for vendor in page["items"]]
        target = f"/vendors?limit=2&cursor={page['next']}"
    assert page["next"] is None
    assert seen == ["v0", "v1", "v2", "v3", "v4"]


async def test_a_listed_vendor_shows_its_credentials_without_key_or_secret() -> None:
    (vendor,) = (await Parts().ask("GET", "/vendors")).json()["items"]
    assert vendor == {
        "vendorId": "v1",
        "name": "Gate Works",
        "signForm": None,
        "timeWindowSeconds": None,
        "createdAt": "2026-11-24T07:00:00.000Z",
        "credentials": [{"accessId": "a1", "createdAt": "2026-11-24T07:00:00.000Z", "revokedAt": None}],
    }


async def test_a_synthetic_vendor_is_created_as_one_and_the_audit_says_so() -> None:
    parts = Parts()
    assert (await create(parts, synthetic=True)).status == 201
    assert parts.session.calls == [("create", "Gate Works", None, None, True)]
    assert parts.audit.only().what["synthetic"] is True


async def test_only_a_synthetic_vendor_is_listed_with_the_member_that_says_so() -> None:
    parts = Parts()
    parts.session.synthetic_ids = {"v2"}
    parts.session.vendor_ids = ["v1", "v2"]
    first, second = (await parts.ask("GET", "/vendors")).json()["items"]
    assert "synthetic" not in first
    assert second["synthetic"] is True


async def test_a_further_credential_is_answered_as_the_first() -> None:
    answer = await Parts().ask("POST", "/vendors/v1/credentials")
    assert answer.status == 201
    assert set(answer.json()) == {"vendorId", "name", "accessId", "accessKey", "accessSecret"}


async def test_a_credential_for_an_unknown_vendor_is_a_404_problem() -> None:
    parts = Parts()
    check_problem(await parts.ask("POST", "/vendors/v7/credentials"), 404)
    assert parts.audit.only().outcome is AuditOutcome.REFUSED


async def test_a_credential_is_revoked() -> None:
    parts = Parts()
    answer = await parts.ask("DELETE", "/vendors/v1/credentials/a1")
    assert (answer.status, answer.body) == (204, b"")
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == ("credential.revoke", "v1/a1", AuditOutcome.DONE)


async def test_revoking_what_is_not_there_is_a_404_problem() -> None:
    check_problem(await Parts().ask("DELETE", "/vendors/v1/credentials/a7"), 404)


async def test_session_away_is_a_503_problem_with_retry_after_and_the_change_stays_intended() -> None:
    parts = Parts()
    parts.session.available = False
    answer = await create(parts)
    check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert parts.audit.only().outcome is AuditOutcome.INTENDED
    check_problem(await parts.ask("GET", "/vendors"), 503)


async def test_a_creation_is_audited_with_who_when_and_what_and_no_secret() -> None:
    parts = Parts()
    await create(parts, signForm="compact")
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target) == ("admin", "vendor.create", "v9/a2")
    assert entry.what == {"name": "Gate Works", "signForm": "compact", "timeWindowSeconds": None}
    assert entry.at_ms == parts.clock.now_ms()
    assert entry.outcome is AuditOutcome.DONE
    for secret in (SECRET, "k" * 32, ADMIN_TOKEN):
        assert secret not in repr(entry)


async def test_what_cannot_be_audited_is_not_done() -> None:
    parts = Parts()
    parts.audit.begins = False
    check_problem(await create(parts), 503)
    assert parts.session.calls == []


async def test_a_done_change_is_answered_though_its_outcome_cannot_be_audited() -> None:
    parts = Parts()
    parts.audit.finishes = False
    answer = await create(parts)
    assert answer.status == 201
    assert answer.json()["accessSecret"] == SECRET
    assert parts.metrics.audit_unfinished == 1


async def test_an_unforeseen_fault_is_a_500_problem_and_the_change_stays_intended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts()

    async def fail(*_arguments: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(parts.session, "create_vendor", fail)
    answer = await create(parts)
    check_problem(answer, 500)
    assert SECRET not in json.dumps(answer.json())
    assert parts.audit.only().outcome is AuditOutcome.INTENDED


async def test_a_body_over_the_limit_is_a_413_problem() -> None:
    check_problem(await create(Parts(), name="x" * 70_000), 413)
