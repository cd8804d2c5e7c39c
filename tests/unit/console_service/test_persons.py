import asyncio
import json
from typing import Any

import pytest

from console_service.person_wishes import Identities
from shared.domain.audit import AuditOutcome
from shared.domain.operators import Role
from shared.domain.sites import Site
from shared.runtime.unavailable import Unavailable
from tests.unit.console_service.parts import ADMIN_TOKEN, NOW_MS, Parts, check_problem

IDCARD, PHONE = "11010519491231002X", "13812341234"


async def made(*site_ids: str) -> Parts:
    """A console with these sites."""
    parts = Parts()
    for site_id in site_ids or ("s1", "s2", "s3"):
        await parts.sites.add(Site(site_id=site_id, name="Tower", created_at_ms=NOW_MS))
    return parts


async def put(parts: Parts, person_id: str = "1", token: str = ADMIN_TOKEN, **members: Any) -> Any:
    answer = await parts.ask("PUT", f"/persons/{person_id}", json_body={"name": "张三"} | members, token=token)
    assert answer.status in (200, 201), answer.body
    return answer.json()


# ── putting ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_is_made_shown_and_audited() -> None:
    parts = await made()
    answer = await parts.ask(
        "PUT",
        "/persons/4508004291609636864",
        json_body={
            "name": " 张三 ",
            "siteIds": ["s2", "s1", "s2"],
            "idcardNo": IDCARD.lower(),
            "phone": "138-1234 1234",
        },
    )
    assert answer.status == 201
    person = answer.json()
    assert person == {
        "personId": "4508004291609636864",
        "name": "张三",
        "siteIds": ["s1", "s2"],
        "idcardNo": "110*************2X",
        "phone": "138****1234",
        "face": None,
        "createdAt": "2026-11-24T07:00:00.000Z",
        "changedAt": "2026-11-24T07:00:00.000Z",
    }
    assert (await parts.ask("GET", "/persons/4508004291609636864")).json() == person
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target) == ("admin", "person.put", "4508004291609636864")
    assert entry.outcome is AuditOutcome.DONE
    assert entry.what == {"members": ["idcardNo", "name", "phone", "siteIds"]}
    assert entry.before is None
    assert entry.after == {"siteIds": ["s1", "s2"], "changed": ["name", "siteIds", "idcardNo", "phone"]}


async def test_what_is_left_out_stays_as_it_is_and_null_removes() -> None:
    parts = await made()
    await put(parts, siteIds=["s1"], idcardNo=IDCARD, phone=PHONE)
    parts.clock.advance(1000)
    answer = await parts.ask("PUT", "/persons/1", json_body={"name": "李四"})
    assert answer.status == 200
    person = answer.json()
    assert (person["name"], person["siteIds"], person["phone"]) == ("李四", ["s1"], "138****1234")
    assert person["changedAt"] > person["createdAt"]
    person = await put(parts, idcardNo=None, siteIds=[])
    assert (person["siteIds"], person["idcardNo"], person["phone"]) == ([], None, "138****1234")


async def test_design_8_identity_data_is_sealed_for_its_person_and_stands_in_no_answer_or_audit() -> None:
    parts = await made()
    answer = await parts.ask("PUT", "/persons/1", json_body={"name": "张三", "idcardNo": IDCARD, "phone": PHONE})
    stored = (await parts.persons.find(["1"]))["1"]
    assert stored.idcard_no is not None
    assert stored.phone is not None
    shown = [(await parts.ask("GET", target)).body for target in ("/persons", "/persons/1")]
    everywhere = [answer.body, *shown, stored.idcard_no, stored.phone, repr(parts.audit.entries).encode()]
    for value in (IDCARD, PHONE):
        assert not any(value.encode() in text for text in everywhere)
    assert "张三" not in repr(parts.audit.entries)


@pytest.mark.parametrize(
    ("members", "location"),
    [
        ({"name": ""}, "body.name"),
        ({"name": "x" * 65}, "body.name"),
        ({"name": "a\tb"}, "body.name"),
        ({"name": "\ud800"}, "body.name"),
        ({"name": None}, "body.name"),
        ({"siteIds": None}, "body.siteIds"),
        ({"siteIds": [""]}, "body.siteIds.0"),
        ({"siteIds": ["s1"] * 101}, "body.siteIds"),
        ({"idcardNo": "4405-2418"}, "body.idcardNo"),
        ({"idcardNo": "12345"}, "body.idcardNo"),
        ({"phone": "1234"}, "body.phone"),
        ({"phone": 13812341234}, "body.phone"),
        ({"sites": []}, "body.sites"),
    ],
)
async def test_a_person_that_cannot_be_is_a_422_problem_that_repeats_nothing(
    members: dict[str, object], location: str
) -> None:
    parts = await made()
    answer = await parts.ask("PUT", "/persons/1", json_body={"name": "张三"} | members)
    check_problem(answer, 422)
    assert [error["location"] for error in answer.json()["errors"]] == [location]
    assert not any(value.encode() in answer.body for value in ("440524188001010015", "12345", "13812341234"))
    assert await parts.persons.find(["1"]) == {}
    assert parts.audit.entries == {}


@pytest.mark.parametrize("person_id", ["x" * 65, "a%09b"])
async def test_an_id_that_cannot_be_is_a_422_problem(person_id: str) -> None:
    parts = await made()
    for method in ("GET", "PUT", "DELETE"):
        body = {"name": "张三"} if method == "PUT" else None
        target = f"/persons/{person_id}".replace("%09", "\t")
        check_problem(await parts.ask(method, target, json_body=body), 422)


async def test_a_site_that_is_not_there_is_a_422_problem_and_nothing_is_changed() -> None:
    parts = await made()
    await put(parts, siteIds=["s1"])
    answer = await parts.ask("PUT", "/persons/1", json_body={"name": "李四", "siteIds": ["s1", "none"]})
    assert check_problem(answer, 422) == "there is no such site"
    assert (await parts.persons.find(["1"]))["1"].name == "张三"
    assert [entry.outcome for entry in parts.audit.entries.values()] == [AuditOutcome.DONE, AuditOutcome.REFUSED]


async def test_of_two_who_change_one_person_at_once_neither_undoes_the_others_change() -> None:
    parts = await made()
    await put(parts)
    await asyncio.gather(put(parts, siteIds=["s1"]), put(parts, phone=PHONE), put(parts, idcardNo=IDCARD))
    person = (await parts.ask("GET", "/persons/1")).json()
    assert (person["siteIds"], person["phone"], person["idcardNo"]) == (["s1"], "138****1234", "110*************2X")


# ── the roster marks ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_sites_are_marked_before_the_change_with_a_delay_and_after_it() -> None:
    parts = await made()
    await put(parts, siteIds=["s1", "s2"])
    assert parts.roster_marks.marks == [(["s1", "s2"], 60_000), (["s1", "s2"], 0)]
    parts.roster_marks.marks.clear()
    await put(parts, siteIds=["s2", "s3"])
    assert parts.roster_marks.marks == [(["s1", "s2", "s3"], 60_000), (["s1", "s3"], 0)]
    parts.roster_marks.marks.clear()
    await put(parts, name="李四")
    assert parts.roster_marks.marks == [(["s2", "s3"], 60_000), (["s2", "s3"], 0)]


async def test_where_nothing_that_a_terminal_holds_changed_nobody_is_planned_for_at_once() -> None:
    parts = await made()
    await put(parts, siteIds=["s1"])
    parts.roster_marks.marks.clear()
    await put(parts, siteIds=["s1"], phone=PHONE)
    assert parts.roster_marks.marks == [(["s1"], 60_000)]


async def test_without_the_mark_before_it_no_change_is_made() -> None:
    parts = await made()
    parts.roster_marks.available = False
    check_problem(await parts.ask("PUT", "/persons/1", json_body={"name": "张三", "siteIds": ["s1"]}), 503)
    assert await parts.persons.find(["1"]) == {}


async def test_without_the_mark_after_it_the_change_is_made_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    parts = await made()
    marks = parts.roster_marks.mark_sites

    async def once(site_ids: Any, after_ms: int = 0) -> None:
        parts.roster_marks.available = after_ms > 0
        await marks(site_ids, after_ms)

    parts.roster_marks.mark_sites = once  # type: ignore[method-assign]
    await put(parts, siteIds=["s1"])
    assert parts.roster_marks.marks == [(["s1"], 60_000)]
    assert "1 sites are planned for within a minute only" in caplog.text


# ── lists and searches ────────────────────────────────────────────────────────────────────────────────────────────


async def test_persons_are_paged_in_order_of_their_id_and_by_site() -> None:
    parts = await made()
    for number in (5, 3, 1, 4, 2):
        await put(parts, str(number), siteIds=[f"s{1 + number % 2}"])
    first = (await parts.ask("GET", "/persons?limit=3")).json()
    second = (await parts.ask("GET", f"/persons?limit=3&cursor={first['next']}")).json()
    assert [person["personId"] for person in first["items"] + second["items"]] == ["1", "2", "3", "4", "5"]
    assert second["next"] is None
    at_site = (await parts.ask("GET", "/persons?siteId=s2&limit=2")).json()
    assert [person["personId"] for person in at_site["items"]] == ["1", "3"]
    rest = (await parts.ask("GET", f"/persons?siteId=s2&limit=2&cursor={at_site['next']}")).json()
    assert [person["personId"] for person in rest["items"]] == ["5"]
    check_problem(await parts.ask("GET", f"/persons?siteId=s1&cursor={at_site['next']}"), 400)


async def test_a_person_is_found_by_the_whole_number_however_it_is_written() -> None:
    parts = await made()
    await put(parts, "2", idcardNo=IDCARD)
    await put(parts, "1", phone=PHONE)
    await put(parts, "3", phone=PHONE)

    async def found(**wish: str | None) -> list[str]:
        answer = await parts.ask("POST", "/persons/search", json_body=wish)
        assert answer.status == 200
        assert list(answer.json()) == ["items"]
        return [person["personId"] for person in answer.json()["items"]]

    assert await found(idcardNo=f" {IDCARD.lower()} ") == ["2"]
    assert await found(phone="138 1234 1234") == ["1", "3"]
    assert await found(phone="13812341235") == []
    assert await found(idcardNo="H12345678") == []
    await put(parts, "1", phone=None)
    assert await found(phone=PHONE) == ["3"]
    assert {entry.action for entry in parts.audit.entries.values()} == {"person.put"}


@pytest.mark.parametrize("wish", [{}, {"idcardNo": IDCARD, "phone": PHONE}, {"phone": None}, {"name": "张三"}])
async def test_a_search_names_exactly_one_number(wish: object) -> None:
    parts = await made()
    check_problem(await parts.ask("POST", "/persons/search", json_body=wish), 422)


async def test_design_8_no_number_stands_in_an_address() -> None:
    parameters = json.dumps(
        [
            operation.get("parameters", [])
            for operations in Parts().app.openapi()["paths"].values()
            for operation in operations.values()
        ]
    )
    assert "personId" in parameters
    assert "idcardNo" not in parameters
    assert "phone" not in parameters


async def test_who_is_not_there_is_a_404_problem() -> None:
    parts = await made()
    for method, target in (("GET", ""), ("DELETE", ""), ("GET", "/face"), ("PUT", "/face"), ("DELETE", "/face")):
        assert check_problem(await parts.ask(method, f"/persons/1{target}"), 404) == "no such person"


async def test_identity_data_that_does_not_open_is_our_fault_and_says_so() -> None:
    parts = await made()
    await put(parts, phone=PHONE)
    foreign = Identities({"k9": b"9" * 32})
    with pytest.raises(Unavailable, match="are all SEALING_KEYS there"):
        foreign.masked((await parts.persons.find(["1"]))["1"])


# ── operators bound to sites ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_operator_bound_to_sites_neither_sees_nor_touches_a_persons_other_sites() -> None:
    parts = await made()
    await put(parts, siteIds=["s1", "s2"], phone=PHONE)
    token = await parts.make_token(Role.OPERATOR, "s2", "s3")
    assert (await parts.ask("GET", "/persons/1", token=token)).json()["siteIds"] == ["s2"]
    person = await put(parts, token=token, siteIds=["s3"])
    assert person["siteIds"] == ["s3"]
    assert (await parts.ask("GET", "/persons/1")).json()["siteIds"] == ["s1", "s3"]
    assert await put(parts, token=token, siteIds=[]) == person | {"siteIds": [], "changedAt": person["changedAt"]}
    assert (await parts.ask("GET", "/persons/1")).json()["siteIds"] == ["s1"]
    check_problem(await parts.ask("GET", "/persons/1", token=token), 404)


async def test_an_operator_bound_to_sites_puts_new_persons_on_them_alone() -> None:
    parts = await made()
    token = await parts.make_token(Role.OPERATOR, "s1")
    members: list[dict[str, object]] = [{}, {"siteIds": []}, {"siteIds": ["s2"]}, {"siteIds": ["s1", "s2"]}]
    for wish in ({"name": "张三"} | each for each in members):
        check_problem(await parts.ask("PUT", "/persons/1", json_body=wish, token=token), 422)
    assert await parts.persons.find(["1"]) == {}
    await put(parts, token=token, siteIds=["s1"])


async def test_a_bound_operator_does_not_delete_who_is_elsewhere_too() -> None:
    parts = await made()
    await put(parts, siteIds=["s1", "s2"])
    token = await parts.make_token(Role.OPERATOR, "s1")
    check_problem(await parts.ask("DELETE", "/persons/1", token=token), 403)
    assert "1" in await parts.persons.find(["1"])
    await put(parts, siteIds=["s1"])
    assert (await parts.ask("DELETE", "/persons/1", token=token)).status == 204


async def test_a_search_shows_a_bound_operator_its_own_persons_alone() -> None:
    parts = await made()
    await put(parts, "1", siteIds=["s1"], phone=PHONE)
    await put(parts, "2", siteIds=["s2"], phone=PHONE)
    token = await parts.make_token(Role.VIEWER, "s2")
    answer = await parts.ask("POST", "/persons/search", json_body={"phone": PHONE}, token=token)
    assert [person["personId"] for person in answer.json()["items"]] == ["2"]


async def test_a_store_that_is_away_is_a_503_problem() -> None:
    parts = await made()
    parts.persons.available = False
    check_problem(await parts.ask("GET", "/persons"), 503)
    check_problem(await parts.ask("PUT", "/persons/1", json_body={"name": "张三"}), 503)
    check_problem(await parts.ask("POST", "/persons/search", json_body={"phone": PHONE}), 503)
    assert parts.audit.only().outcome is AuditOutcome.INTENDED
