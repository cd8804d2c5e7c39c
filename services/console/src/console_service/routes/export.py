"""GET /attendance/export: a list of attendances as one CSV file, read page by page while it is sent."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from console_service.attendance_csv import (
    BYTE_ORDER_MARK,
    COLUMNS,
    attendance_lines,
    header_line,
    shanghai_time,
)
from console_service.audit import Auditor
from console_service.metrics import ConsoleMetrics
from console_service.operators import SITE_CHECKED, IsInForce, Viewing
from console_service.routes.attendance import AskedFor
from console_service.streaming import Slots, Streamed
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceQuery, AttendanceRecord, AttendanceStore

log = logging.getLogger(__name__)

PAGE_ROWS = 500
"""Read and sent at a time: some 100 KB."""
CHECK_SECONDS = 5.0
"""How often it is asked whether the token is in force still."""

EXAMPLE = (
    ",".join(COLUMNS)
    + "\r\n0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51,84E0F42C5D1A,v5f1c2a90b3d4e678,4508004291609636864,,,1,"
    "2026-11-24T15:00:00.000+08:00,1795503600000,2026-11-24T15:00:01.000+08:00,2026-11-24T15:00:01.250+08:00,36.7,false\r\n"
)


class CutOff(Exception):
    """The rest of a file that has begun cannot be sent."""


def export_routes(
    attendances: AttendanceStore, auditor: Auditor, clock: Clock, metrics: ConsoleMetrics, max_exports: int
) -> APIRouter:
    """The route /attendance/export; it goes before /attendance/{eventId}."""
    router = APIRouter(prefix="/attendance", tags=["attendance"])
    slots = Slots(max_exports)

    @router.get(
        "/export",
        summary="Export attendances",
        response_class=Response,
        responses={
            **SITE_CHECKED,
            200: {
                "description": "A CSV file",
                "content": {"text/csv": {"schema": {"type": "string"}, "example": EXAMPLE}},
            },
        },
    )
    async def export_attendances(
        operator: Viewing,
        is_in_force: IsInForce,
        query: AskedFor,
        bom: Annotated[
            bool, Query(description="Begin with a byte order mark, without which Excel does not read UTF-8")
        ] = True,
    ) -> Response:
        """All that a list with these filters has, in its order, as CSV (RFC 4180, UTF-8, a line of names first).
        Times are those of Asia/Shanghai; recordTimeMs is recordTime in milliseconds since the epoch. A text from
        outside that begins as a formula does has an apostrophe before it. A file that cannot be finished breaks off
        without the end of its transfer: what came whole is whole. What is stored meanwhile may be in it or not."""
        beginning = (BYTE_ORDER_MARK if bom else b"") + header_line()

        async def file() -> AsyncGenerator[bytes]:
            with slots.take("exports"):
                async with auditor.change(operator.who, "attendance.export", None, _filters(query)) as export:
                    rows = 0
                    async with aclosing(_pages(attendances, query, is_in_force, metrics)) as pages:
                        async for page in pages:
                            yield (b"" if rows else beginning) + attendance_lines(page)
                            rows += len(page)
                            metrics.export_rows += len(page)
                    export.after = {"rows": rows}

        name = f"attendance-{shanghai_time(clock.now_ms())[:19].replace(':', '').replace('-', '')}.csv"
        return Streamed(file(), "text/csv", {"Content-Disposition": f'attachment; filename="{name}"'})

    return router


def _filters(query: AttendanceQuery) -> dict[str, str | int]:
    """As the audit has them."""
    filters = {
        "sn": query.sn,
        "personId": query.person_id,
        "siteId": query.site_id,
        "from": query.from_ms,
        "to": query.to_ms,
        "receivedAfter": query.received_after_ms,
    }
    return {name: value for name, value in filters.items() if value is not None}


async def _pages(
    attendances: AttendanceStore,
    query: AttendanceQuery,
    is_in_force: Callable[[], Awaitable[bool]],
    metrics: ConsoleMetrics,
) -> AsyncGenerator[Sequence[AttendanceRecord]]:
    """The whole list; an empty page where there is nothing. Raises Unavailable before the first page, CutOff later."""
    clock = asyncio.get_running_loop().time
    check_at = clock() + CHECK_SECONDS
    async with aclosing(attendances.pages(msgspec.structs.replace(query, limit=PAGE_ROWS))) as pages:
        yield await anext(pages, [])  # a tuple is more than CPython 3.11 can give
        try:
            async for page in pages:
                if clock() >= check_at:
                    await _check(is_in_force)
                    check_at = clock() + CHECK_SECONDS
                yield page
        except (Unavailable, CutOff) as error:
            metrics.exports_cut += 1
            log.warning("an export breaks off: %s", error)
            raise CutOff(str(error)) from error


async def _check(is_in_force: Callable[[], Awaitable[bool]]) -> None:
    if not await is_in_force():
        raise CutOff("its token is not in force any more")
