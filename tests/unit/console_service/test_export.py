import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

import pytest
from starlette.types import Message

from console_service.routes import export
from shared.domain.audit import AuditOutcome
from shared.domain.devices import Direction
from shared.domain.operators import OperatorToken, Role, token_digest
from shared.stores.interfaces import AttendanceQuery, AttendanceRecord
from tests.support.asgi import Answer
from tests.support.attendance import make_event
from tests.support.waiting import eventually
from tests.unit.console_service.parts import ADMIN_TOKEN, Parts, check_problem

BOUND_TOKEN = "op_" + "b" * 43


def add(parts: Parts, count: int, **members: object) -> list[str]:
    """Attendances; their ids, newest first."""
    events = [make_event(record_time=1_763_999_990_000 + number, **members) for number in range(count)]
    for event in events:
        parts.memory.records[event.event_id] = AttendanceRecord(event=event, has_image=False)
    return [event.event_id for event in reversed(events)]


def rows_of(answer: Answer) -> list[dict[str, str]]:
    assert answer.status == 200, answer.body
    return list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))


async def test_every_attendance_is_a_line_in_the_order_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 7)
    parts = Parts()
    for count in (0, 1, 6, 7, 8, 35):
        parts.memory.records.clear()
        ids = add(parts, count)
        assert [row["eventId"] for row in rows_of(await parts.ask("GET", "/attendance/export"))] == ids
    assert {query.limit for query in parts.attendances.queries} == {7}
    assert {query.after for query in parts.attendances.queries} == {None}


async def test_it_is_a_file_with_a_name_and_a_byte_order_mark_unless_that_is_not_wanted() -> None:
    parts = Parts()
    answer = await parts.ask("GET", "/attendance/export")
    assert answer.body.startswith(b"\xef\xbb\xbfeventId,")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="attendance-20261124T150000.csv"'
    assert answer.headers["cache-control"] == "no-store"
    answer = await parts.ask("GET", "/attendance/export?bom=false")
    assert answer.body.startswith(b"eventId,")


async def test_the_filters_are_those_of_the_list() -> None:
    parts = Parts()
    add(parts, 3, sn="SN1")
    (wanted,) = add(parts, 1, sn="SN2", person_id="P2", site_id="s1", direction=Direction.IN)
    query = "sn=SN2&personId=P2&siteId=s1&from=1&to=2026-11-24T15:00:00%2B08:00&receivedAfter=5"
    assert [row["eventId"] for row in rows_of(await parts.ask("GET", f"/attendance/export?{query}"))] == [wanted]
    (asked,) = parts.attendances.queries
    assert asked == AttendanceQuery(
        sn="SN2",
        person_id="P2",
        site_id="s1",
        from_ms=1,
        to_ms=1_795_503_600_000,
        received_after_ms=5,
        limit=export.PAGE_ROWS,
    )
    check_problem(await parts.ask("GET", "/attendance/export?from=yesterday"), 422)


async def bound(parts: Parts) -> None:
    await parts.tokens.add(
        OperatorToken(
            token_id="t1",
            digest=token_digest(BOUND_TOKEN),
            role=Role.VIEWER,
            site_ids=frozenset({"s1"}),
            created_at_ms=1,
        )
    )


async def test_a_bound_operator_exports_its_sites_alone() -> None:
    parts = Parts()
    await bound(parts)
    add(parts, 2, site_id="s2")
    add(parts, 2)
    ids = add(parts, 2, site_id="s1")
    answer = await parts.ask("GET", "/attendance/export", token=BOUND_TOKEN)
    assert [row["eventId"] for row in rows_of(answer)] == ids
    check_problem(await parts.ask("GET", "/attendance/export?siteId=s2", token=BOUND_TOKEN), 404)
    assert parts.audit.only().who == "token:t1"


async def test_an_export_is_in_the_audit_with_its_filters_and_rows() -> None:
    parts = Parts()
    add(parts, 3, sn="SN1")
    await parts.ask("GET", "/attendance/export?sn=SN1&from=7")
    entry = parts.audit.only()
    assert (entry.who, entry.action, entry.outcome) == ("admin", "attendance.export", AuditOutcome.DONE)
    assert (entry.what, entry.after) == ({"sn": "SN1", "from": 7}, {"rows": 3})


async def test_without_the_audit_nothing_is_exported() -> None:
    parts = Parts()
    add(parts, 3)
    parts.audit.begins = False
    check_problem(await parts.ask("GET", "/attendance/export"), 503)
    assert parts.attendances.queries == []


async def test_a_fault_before_the_first_line_is_503() -> None:
    parts = Parts()
    parts.memory.available = False
    check_problem(await parts.ask("GET", "/attendance/export"), 503)
    assert parts.metrics.exports_cut == 0


def before_second_page(monkeypatch: pytest.MonkeyPatch, parts: Parts, happens: Callable[[], Awaitable[None]]) -> None:
    """Pages of two; something happens when one has been read."""
    monkeypatch.setattr(export, "PAGE_ROWS", 2)
    pages = parts.attendances.pages

    async def interrupted(query: AttendanceQuery) -> AsyncGenerator[Sequence[AttendanceRecord]]:
        async with aclosing(pages(query)) as all_pages:
            yield await anext(all_pages)
            await happens()
            async for page in all_pages:
                yield page

    monkeypatch.setattr(parts.attendances, "pages", interrupted)


async def test_a_fault_in_the_middle_breaks_off_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    add(parts, 5)

    async def go_away() -> None:
        parts.memory.available = False

    before_second_page(monkeypatch, parts, go_away)
    with pytest.raises(export.CutOff):
        await parts.ask("GET", "/attendance/export")
    assert (parts.metrics.exports_cut, parts.metrics.export_rows) == (1, 2)
    assert parts.audit.only().outcome is AuditOutcome.INTENDED


async def test_a_token_that_is_revoked_meanwhile_breaks_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHECK_SECONDS", 0)
    parts = Parts()
    await bound(parts)
    add(parts, 5, site_id="s1")

    async def revoke() -> None:
        parts.clock.advance(10)
        await parts.tokens.revoke("t1", 2)

    before_second_page(monkeypatch, parts, revoke)
    with pytest.raises(export.CutOff, match="not in force"):
        await parts.ask("GET", "/attendance/export", token=BOUND_TOKEN)


async def test_exports_past_the_setting_are_503_and_each_that_ends_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    add(parts, 5)
    answers: list[Answer] = []

    async def ask_another() -> None:
        if len(parts.attendances.queries) < 5:  # the setting's default is 4
            answers.append(await parts.ask("GET", "/attendance/export"))

    before_second_page(monkeypatch, parts, ask_another)
    assert (await parts.ask("GET", "/attendance/export")).status == 200
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 503]
    monkeypatch.undo()
    assert (await parts.ask("GET", "/attendance/export")).status == 200


async def test_no_more_is_read_than_the_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 2)
    parts = Parts()
    add(parts, 100)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 4:  # the head and three pages
            await asyncio.Event().wait()

    headers = [(b"authorization", f"Bearer {ADMIN_TOKEN}".encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/attendance/export",
        "query_string": b"",
        "headers": headers,
    }
    asked = asyncio.ensure_future(parts.app(scope, receive, send))
    await eventually(lambda: len(sent) == 4)
    await asyncio.sleep(0.05)
    assert parts.metrics.export_rows == 3 * 2 - 2, "what is not sent yet is not counted, and nothing else was read"
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_an_attendance_s_id_is_not_taken_for_the_export() -> None:
    parts = Parts()
    check_problem(await parts.ask("GET", "/attendance/exports"), 404)
    check_problem(await parts.ask("GET", "/attendance/export", token=None), 401)
