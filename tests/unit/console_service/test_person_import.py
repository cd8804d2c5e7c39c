import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from console_service import person_import
from console_service.person_changes import PersonChanges
from console_service.person_import import BATCH, MAX_IMPORT_BYTES, MAX_LINE_BYTES, PersonImport
from console_service.person_wishes import Identities
from shared.domain.audit import AuditOutcome
from shared.domain.operators import Operator, Role
from shared.domain.persons import NewPerson, Person
from shared.domain.sites import Site
from shared.runtime.unavailable import Unavailable
from tests.support.asgi import Answer
from tests.unit.console_service.parts import ADMIN_TOKEN, NOW_MS, SEALING_KEYS, Parts, check_problem

IDCARD, PHONE = "11010519491231002X", "13812341234"
CSV, NDJSON = "text/csv", "application/x-ndjson"


async def made() -> Parts:
    parts = Parts()
    for site_id in ("s1", "s2"):
        await parts.sites.add(Site(site_id=site_id, name="Tower", created_at_ms=NOW_MS))
    return parts


async def sent(
    parts: Parts,
    body: str | bytes,
    kind: str = CSV,
    *,
    chunks: int = 1,
    cut_off: bool = False,
    token: str = ADMIN_TOKEN,
) -> Answer:
    return await parts.ask(
        "POST",
        "/persons/import",
        body=body.encode() if isinstance(body, str) else body,
        headers={"content-type": kind},
        chunks=chunks,
        cut_off=cut_off,
        token=token,
    )


async def imported(parts: Parts, body: str | bytes, kind: str = CSV, **options: Any) -> Any:
    answer = await sent(parts, body, kind, **options)
    assert answer.status == 200, answer.body
    return answer.json()


def result(imported: int, created: int, changed: int, *errors: tuple[int, str]) -> dict[str, object]:
    return {
        "imported": imported,
        "created": created,
        "changed": changed,
        "failed": len(errors),
        "errors": [{"line": line, "message": message} for line, message in errors],
    }


async def stored(parts: Parts, *person_ids: str) -> dict[str, Person]:
    return await parts.persons.find(person_ids)


# ── what is taken over ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_csv_is_taken_over() -> None:
    parts = await made()
    text = (
        "\ufeffpersonId,name,siteIds,idcardNo,phone\r\n"
        f'1, 张三 ,s2; s1;,{IDCARD.lower()},"138 1234 1234"\r\n'
        '2,"Li, ""Four""",,,\r\n'
        "\r\n"
        "3,王五,s1,,"
    )
    assert await imported(parts, text) == result(3, 3, 0)
    persons = await stored(parts, "1", "2", "3")
    assert [(person.name, person.site_ids) for person in persons.values()] == [
        ("张三", ("s1", "s2")),
        ('Li, "Four"', ()),
        ("王五", ("s1",)),
    ]
    found = await parts.ask("POST", "/persons/search", json_body={"phone": PHONE})
    assert [person["personId"] for person in found.json()["items"]] == ["1"]


async def test_ndjson_is_taken_over() -> None:
    parts = await made()
    wishes: Sequence[Mapping[str, object]] = [
        {"personId": "1", "name": "张三", "siteIds": ["s1"], "idcardNo": IDCARD, "phone": PHONE},
        {"personId": "2", "name": "李四"},
    ]
    text = "\n\n".join(json.dumps(wish) for wish in wishes)
    assert await imported(parts, text, f"{NDJSON}; charset=utf-8") == result(2, 2, 0)
    assert (await stored(parts, "1"))["1"].site_ids == ("s1",)
    # null removes, and what is left out stays
    assert await imported(parts, '{"personId":"1","name":"张三","phone":null}\n', NDJSON) == result(1, 0, 1)
    person = (await stored(parts, "1"))["1"]
    assert (person.phone, person.site_ids) == (None, ("s1",))
    assert person.idcard_no is not None


async def test_columns_may_come_in_any_order_and_only_two_are_needed() -> None:
    parts = await made()
    assert await imported(parts, "name, personId\n张三,1") == result(1, 1, 0)
    assert await imported(parts, "personId,name\n") == result(0, 0, 0)


async def test_an_empty_cell_leaves_what_there_is() -> None:
    parts = await made()
    await imported(parts, f"personId,name,siteIds,phone\n1,张三,s1,{PHONE}")
    assert await imported(parts, "personId,name,siteIds,phone\n1,李四,,") == result(1, 0, 1)
    person = (await stored(parts, "1"))["1"]
    assert person.site_ids == ("s1",)
    assert person.phone is not None


async def test_an_import_that_is_repeated_changes_nothing() -> None:
    parts = await made()
    text = f"personId,name,siteIds,idcardNo,phone\n1,张三,s1,{IDCARD},{PHONE}\n2,李四,,,\n"
    assert await imported(parts, text) == result(2, 2, 0)
    assert await imported(parts, text) == result(2, 0, 0)
    assert await imported(parts, text.replace(PHONE, "13812341235")) == result(2, 0, 1)


async def test_of_several_lines_of_one_person_the_last_counts_member_by_member() -> None:
    parts = await made()
    text = f"personId,name,phone,siteIds\n1,张三,{PHONE},\n2,李四,,\n1,王五,,s1\n"
    assert await imported(parts, text) == result(3, 2, 1)
    person = (await stored(parts, "1"))["1"]
    assert (person.name, person.site_ids) == ("王五", ("s1",))
    assert person.phone is not None


@pytest.mark.parametrize("chunks", [1, 2, 7, 1000])
async def test_the_body_may_be_cut_anywhere_on_its_way(chunks: int) -> None:
    parts = await made()
    lines = [f"{number},张三,s1" for number in range(2 * BATCH + 3)]
    text = "\r\n".join(["personId,name,siteIds", *lines])
    assert await imported(parts, text, chunks=chunks) == result(2 * BATCH + 3, 2 * BATCH + 3, 0)
    assert len(await parts.persons.at_site("s1")) == 2 * BATCH + 3


# ── what is not ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bad_line_in_the_middle_changes_nothing_and_keeps_no_other_from_being_taken_over() -> None:
    parts = await made()
    await imported(parts, "personId,name,siteIds\n3,before,s1")
    text = "personId,name,siteIds\n1,张三,s1\n2,,s1\n3,李四,s1;none\n4,王五,s2\n"
    assert await imported(parts, text) == result(2, 2, 0, (3, "name: Field required"), (4, "there is no such site"))
    assert {person_id: person.name for person_id, person in (await stored(parts, "1", "2", "3", "4")).items()} == {
        "1": "张三",
        "3": "before",
        "4": "王五",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1", "1 fields for 3 columns"),
        (b"1,a,s1,secret", "4 fields for 3 columns"),
        (b'1,"secret,s1', "the line is no CSV; a quoted field must end in its line"),
        (b'1,"sec"ret,s1', "the line is no CSV; a quoted field must end in its line"),
        (b"1,secret\xff,s1", "the line is not UTF-8"),
        (b"1," + b"secret" * 11_000 + b",s1", f"the line is longer than {MAX_LINE_BYTES} bytes"),
        (b"1,secret\x00,s1", "name: String should match pattern '^[^\\x00-\\x1f\\x7f]+$'"),
        (
            b"a/b,secret,s1",
            r"personId: String should match pattern '^[^\x00-\x1f\x7f/\ufffd]*[^\x00-\x20\x7f/\ufffd.]"
            r"[^\x00-\x1f\x7f/\ufffd]*$'",
        ),
        (b",secret,s1", "personId: Field required"),
        (b"1,secret,secret", "there is no such site"),
    ],
)
async def test_a_line_of_a_csv_that_cannot_be_is_named_and_nothing_of_it_repeated(line: bytes, message: str) -> None:
    parts = await made()
    answer = await imported(parts, b"personId,name,siteIds\n0,a,s1\n" + line + b"\n2,b,s1\n", chunks=9)
    assert answer == result(2, 2, 0, (3, message))
    assert len(await parts.persons.at_site("s1")) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("secret", "Invalid JSON: expected value at line 1 column 1"),
        ('{"personId":"1","name":"secret"', "Invalid JSON: EOF while parsing an object at line 1 column 31"),
        ("[]", "Input should be an object"),
        ('{"personId":"1","name":7}', "name: Input should be a valid string"),
        ('{"personId":"1","name":"a","secret":"secret"}', "a member that is not known"),
        ('{"personId":"1","name":"a","siteIds":"s1"}', "siteIds: Input should be a valid array"),
        (
            '{"personId":"1","name":"a","idcardNo":"4405-2418"}',
            "idcardNo: Value error, an identity number is 6 to 32 letters and digits",
        ),
        (
            '{"name":"a","phone":"secret"}',
            "phone: Value error, a phone number is 5 to 20 digits, with a plus before them or without; "
            "personId: Field required",
        ),
    ],
)
async def test_a_line_of_ndjson_that_cannot_be_is_named_and_nothing_of_it_repeated(line: str, message: str) -> None:
    parts = await made()
    text = '{"personId":"0","name":"a"}\n' + line + '\n{"personId":"2","name":"b"}'
    answer = await imported(parts, text, NDJSON)
    assert answer == result(2, 2, 0, (2, message))
    assert "secret" not in json.dumps(answer)
    assert "4405-2418" not in json.dumps(answer)


async def test_a_lone_surrogate_is_a_bad_line_and_no_fault_of_ours() -> None:
    parts = await made()
    answer = await imported(parts, '{"personId":"1","name":"\\ud800"}', NDJSON)
    assert (answer["imported"], answer["failed"], answer["errors"][0]["line"]) == (0, 1, 1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "\n",
        "1,secret,s1",
        "personId",
        "personId,name,secret",
        "personId,name,name",
        "personId;name",
        '"personId,name',
    ],
)
async def test_without_a_header_nothing_is_taken_over(header: str) -> None:
    parts = await made()
    answer = await sent(parts, f"{header}\n1,张三\n")
    detail = check_problem(answer, 422)
    assert detail == (
        "the first line must name the columns: personId, name and any of idcardNo, phone, siteIds, each once"
    )
    assert await stored(parts, "1") == {}
    assert parts.audit.only().outcome is AuditOutcome.REFUSED


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/form-data"])
async def test_what_is_neither_csv_nor_ndjson_is_a_415_problem(kind: str) -> None:
    parts = await made()
    check_problem(await sent(parts, "personId,name\n1,张三", kind), 415)
    assert parts.audit.entries == {}


async def test_a_compressed_import_is_a_415_problem_and_not_unpacked() -> None:
    parts = await made()
    headers = {"content-type": "text/csv", "content-encoding": "gzip"}
    body = gzip.compress("personId,name\n1,张三".encode())
    check_problem(await parts.ask("POST", "/persons/import", body=body, headers=headers), 415)
    assert parts.audit.entries == {}


async def test_a_thousand_errors_are_listed_and_all_are_counted() -> None:
    parts = await made()
    answer = await imported(parts, "personId,name\n" + "1\n" * 1003 + "2,张三")
    assert (answer["imported"], answer["failed"], len(answer["errors"])) == (1, 1003, 1000)
    assert answer["errors"][-1]["line"] == 1001


async def test_a_line_too_long_to_be_held_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await made()
    monkeypatch.setattr(person_import, "MAX_LINE_BYTES", 100)
    body = b"personId,name\n1," + b"x" * 5000 + b"\n2," + b"\xe5\xbc\xa0" * 20 + b"\n3," + b"y" * 101
    assert await imported(parts, body, chunks=50) == result(
        1, 1, 0, (2, "the line is longer than 100 bytes"), (4, "the line is longer than 100 bytes")
    )


# ── sites and marks ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_batch_is_marked_before_it_is_stored_and_all_sites_once_at_the_end() -> None:
    parts = await made()
    await imported(parts, "personId,name,siteIds\n0,before,s2")
    parts.roster_marks.marks.clear()
    lines = "".join(f"{number},张三,s1\n" for number in range(BATCH + 1))
    await imported(parts, f"personId,name,siteIds\n{lines}")
    assert parts.roster_marks.marks == [(["s1", "s2"], 60_000), (["s1"], 60_000), (["s1", "s2"], 0)]


async def test_an_operator_bound_to_sites_imports_onto_them_alone() -> None:
    parts = await made()
    await imported(parts, "personId,name,siteIds\n1,张三,s1\n2,李四,s1;s2")
    token = await parts.make_token(Role.OPERATOR, "s2")
    text = "personId,name,siteIds\n1,mine,s2\n2,王五,s2\n3,new,s1\n4,new,\n5,new,s2"
    assert await imported(parts, text, token=token) == result(
        2,
        1,
        1,
        (2, "no such person"),
        (4, "there is no such site"),
        (5, "siteIds must name a site of yours"),
    )
    persons = await stored(parts, "1", "2", "5")
    assert [(person.name, person.site_ids) for person in persons.values()] == [
        ("张三", ("s1",)),
        ("王五", ("s1", "s2")),
        ("new", ("s2",)),
    ]


# ── ends before the end ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_import_is_one_entry_of_the_audit_with_its_counts() -> None:
    parts = await made()
    await imported(parts, f"personId,name,phone\n1,张三,{PHONE}\n2,,\n")
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.target, entry.outcome) == ("admin", "person.import", None, AuditOutcome.DONE)
    assert entry.after == {"imported": 1, "created": 1, "changed": 0, "failed": 1, "whole": True}
    assert PHONE not in repr(entry)


async def test_what_was_read_of_a_body_that_breaks_off_is_taken_over_and_the_rest_of_its_line_is_not() -> None:
    parts = await made()
    text = "personId,name,siteIds\n1,张三,s1\n2,李四,s1\n3,王"
    detail = check_problem(await sent(parts, text, cut_off=True, chunks=4), 400)
    assert "2 lines are taken over" in detail
    assert list(await stored(parts, "1", "2", "3")) == ["1", "2"]
    assert parts.roster_marks.marks[-1] == (["s1"], 0)
    entry = parts.audit.only()
    assert entry.outcome is AuditOutcome.DONE
    assert entry.after == {"imported": 2, "created": 2, "changed": 0, "failed": 0, "whole": False}


async def test_a_fault_in_the_middle_is_a_503_problem_that_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = await made()
    put_many = parts.persons.put_many

    async def put_few(persons: Sequence[NewPerson], now_ms: int) -> Mapping[str, Person | None]:
        if persons[0].person_id != "0":
            raise Unavailable("MongoDB: AutoReconnect")
        return await put_many(persons, now_ms)

    monkeypatch.setattr(parts.persons, "put_many", put_few)
    text = "personId,name,siteIds\n" + "".join(f"{number},张三,s1\n" for number in range(BATCH + 5))
    answer = await sent(parts, text)
    assert f"{BATCH} lines are taken over, 0 were refused" in check_problem(answer, 503)
    assert answer.headers["retry-after"] == "2"
    assert parts.roster_marks.marks[-1] == (["s1"], 0)
    assert parts.audit.only().after == {"imported": BATCH, "created": BATCH, "changed": 0, "failed": 0, "whole": False}
    monkeypatch.undo()
    assert await imported(parts, text) == result(BATCH + 5, 5, 0)


async def test_a_body_that_takes_too_long_is_a_408_problem_and_what_was_read_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = await made()
    monkeypatch.setattr(person_import, "UPLOAD_SECONDS", 0.1)
    changes = PersonChanges(parts.persons, parts.sites, parts.roster_marks, Identities(SEALING_KEYS), parts.clock)

    async def slow_body() -> AsyncIterator[bytes]:
        yield "personId,name\n1,张三\n2,李".encode()
        await asyncio.sleep(60)

    done = await PersonImport(changes, Operator(who="x", role=Role.OPERATOR)).run(slow_body(), is_csv=True)
    assert done.imported == 1
    assert done.fault is not None
    assert (done.fault.status, "took too long: 1 lines" in done.fault.detail) == (408, True)


async def test_a_body_that_grows_beyond_64_megabytes_is_a_413_problem_and_what_was_read_is_done() -> None:
    parts = await made()
    body = b"personId,name\n1,a\n" + (b" " * 60_000 + b"\n") * (MAX_IMPORT_BYTES // 60_000 + 1)
    assert "1 lines are taken over" in check_problem(await sent(parts, body, chunks=64), 413)
    assert list(await stored(parts, "1")) == ["1"]
