"""Imports of persons: lines of a body of any length, one batch at a time. A line is taken over whole or not at all;
what a message says of it holds nothing that stood in it."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable

import msgspec
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from console_service.person_changes import PersonChanges, Put, Refusal
from console_service.person_wishes import PersonLine, PersonWish
from shared.domain.operators import Operator
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable

MAX_IMPORT_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 65_536
MAX_ERRORS = 1000
"""Those that are listed; all are counted."""

BATCH = 200
"""Persons who are stored in one call: well within its deadline on a slow server, too."""

UPLOAD_SECONDS = 600.0
"""How long the body may take to arrive, what is stored meanwhile not counted."""

COLUMNS = {"personId", "name", "siteIds", "idcardNo", "phone"}

Parser = Callable[[str], PersonLine]


class BadLine(Exception):
    """A line that is not taken over; the text says why."""


class Imported(msgspec.Struct, kw_only=True):
    """What became of an import."""

    imported: int = 0
    created: int = 0
    changed: int = 0
    failed: int = 0
    errors: list[tuple[int, str]] = msgspec.field(default_factory=list)
    fault: Problem | None = None
    """Why it ended before its end; what is counted is done all the same."""

    def fail(self, number: int, message: str) -> None:
        """Counts a line that was not taken over."""
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((number, message))


class PersonImport:
    """One import."""

    def __init__(self, changes: PersonChanges, operator: Operator) -> None:
        self._changes = changes
        self._operator = operator
        self._batch: dict[str, tuple[int, PersonWish]] = {}
        self._planned_sites: set[str] = set()
        self._result = Imported()

    async def run(self, body: AsyncIterator[bytes], *, is_csv: bool) -> Imported:
        """Reads the body to its end, or as far as it comes. Raises Problem before anything was taken over."""
        lines = _lines(_in_time(body))
        try:
            try:
                parse = await _csv_parser(lines) if is_csv else _parse_json
                async for number, line in lines:
                    await self._take(number, line, parse)
            finally:
                await self._flush()
        except ClientDisconnect:
            self._result.fault = self._broken_off(400, "the body was cut off")
        except TimeoutError:
            self._result.fault = self._broken_off(408, "the body took too long")
        except HTTPException as error:  # of the guard around the application, which counts the bytes
            self._result.fault = self._broken_off(error.status_code, str(error.detail))
        except Unavailable:
            self._result.fault = self._broken_off(503, "a server that this needs is not reachable")
        await self._changes.plan(self._planned_sites)
        return self._result

    async def _take(self, number: int, line: bytes | None, parse: Parser) -> None:
        try:
            wish = _parsed(line, parse)
        except BadLine as error:
            self._result.fail(number, str(error))
            return
        if wish is None:
            return
        # Of two lines of one person the later counts, member by member: it must find what the earlier one did.
        if wish.person_id in self._batch or len(self._batch) == BATCH:
            await self._flush()
        self._batch[wish.person_id] = number, wish

    async def _flush(self) -> None:
        batch, self._batch = self._batch, {}
        if not batch:
            return
        outcome = await self._changes.put_many(
            self._operator, {person_id: wish for person_id, (_, wish) in batch.items()}
        )
        for person_id, (number, _) in batch.items():
            self._count(number, outcome[person_id])

    def _count(self, number: int, outcome: Put | Refusal) -> None:
        if isinstance(outcome, Refusal):
            self._result.fail(number, outcome.detail)
            return
        self._result.imported += 1
        self._result.created += outcome.before is None
        self._result.changed += outcome.before is not None and bool(outcome.changed)
        self._planned_sites |= outcome.planned_sites

    def _broken_off(self, status: int, why: str) -> Problem:
        done = self._result
        detail = (
            f"{why}: {done.imported} lines are taken over, {done.failed} were refused, the rest is not known; "
            "the whole import can be repeated"
        )
        return Problem(status, detail, {"Retry-After": "2"} if status == 503 else None)


async def _in_time(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body's chunks. Raises TimeoutError once they took too long to come."""
    loop = asyncio.get_running_loop()
    left = UPLOAD_SECONDS
    while True:
        began = loop.time()
        async with asyncio.timeout(left):
            chunk = await anext(body, None)
        if chunk is None:
            return
        left -= loop.time() - began
        yield chunk


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Lines with their numbers, from 1; None in place of one that is too long to be held."""
    number, held, is_too_long = 1, b"", False
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield number, None if is_too_long or len(line) > MAX_LINE_BYTES else line
            number, is_too_long = number + 1, False
        if len(held) > MAX_LINE_BYTES:
            held, is_too_long = b"", True
    if held or is_too_long:
        yield number, None if is_too_long else held


def _parsed(line: bytes | None, parse: Parser) -> PersonLine | None:
    """What stands in the line; None where nothing does. Raises BadLine."""
    text = _text(line).strip()
    if not text:
        return None
    try:
        return parse(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise BadLine("; ".join(_fault(fault["type"], fault["loc"], fault["msg"]) for fault in faults)) from None


def _text(line: bytes | None) -> str:
    if line is None:
        raise BadLine(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadLine("the line is not UTF-8") from None


def _fault(kind: str, location: tuple[int | str, ...], message: str) -> str:
    if kind == "extra_forbidden":
        return "a member that is not known"  # its name is the caller's, and may be anything
    return f"{'.'.join(str(part) for part in location)}: {message}" if location else message


def _parse_json(text: str) -> PersonLine:
    return PersonLine.model_validate_json(text)


async def _csv_parser(lines: AsyncIterator[tuple[int, bytes | None]]) -> Parser:
    """Reads the header. Raises Problem where it is none."""
    try:
        first = await anext(lines, None)  # a tuple is more than CPython 3.11 can give
        columns = [column.strip() for column in _fields(_text(b"" if first is None else first[1]))]
    except BadLine:
        columns = []
    if (
        not COLUMNS.issuperset(columns)
        or not {"personId", "name"}.issubset(columns)
        or len(set(columns)) < len(columns)
    ):
        raise Problem(422, f"the first line must name the columns: personId, name and any of {_OTHERS}, each once")

    def parse(text: str) -> PersonLine:
        fields = _fields(text)
        if len(fields) != len(columns):
            raise BadLine(f"{len(fields)} fields for {len(columns)} columns")
        # A cell that is empty says nothing: what there is stays.
        members: dict[str, object] = {
            column: field for column, field in zip(columns, fields, strict=True) if field.strip()
        }
        if "siteIds" in members:
            members["siteIds"] = [part.strip() for part in str(members["siteIds"]).split(";") if part.strip()]
        return PersonLine.model_validate(members)

    return parse


_OTHERS = ", ".join(sorted(COLUMNS - {"personId", "name"}))


def _fields(text: str) -> list[str]:
    try:
        (fields,) = csv.reader([text.strip()], strict=True)
    except (csv.Error, ValueError):
        raise BadLine("the line is no CSV; a quoted field must end in its line") from None
    return fields
