"""Passages of workers: lists by cursor, one by its id, its picture. Their JSON is msgspec's, because qrCodeInfo,
healthInfo and extra are inserted as the text that was stored (J5): numbers of any length, names of any kind."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Response

from console_service.cursors import Cursor, Limit, TimeMs, decode_cursor, encode_cursor
from console_service.operators import SITE_CHECKED, Viewing, check_site
from console_service.times import Time
from shared.domain.attendance import AttendanceEvent, parse_rfc3339
from shared.domain.operators import Operator
from shared.domain.retention import DROPPED
from shared.runtime.problems import Problem
from shared.stores.interfaces import (
    AttendanceQuery,
    AttendanceRecord,
    AttendanceStore,
    PictureStore,
    SyntheticAttendanceStore,
)

PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"})
"""What a browser may show; anything else is handed out as bytes."""

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page ends early with the row that takes it past this: one row may hold the 4 MiB of a terminal's frame."""

GROUP_ROWS = 20
"""Rows are read in groups, so that no more than one group is read beyond a page's end."""


class Attendance(AttendanceEvent, frozen=True, kw_only=True, rename="camel"):
    """A passage. recordTime is the terminal's clock, in milliseconds since the epoch; sentAt is when the terminal sent
    it, receivedAt when the platform had it. qrCodeInfo, healthInfo and extra (members that the standard does not name)
    are objects, as the terminal sent them. Where hasImage is true, image tells of the very picture under /image;
    imageDropped says why there is none, `retention` that it had been kept long enough."""

    has_image: bool
    """True where its picture is stored and can be had under /image."""
    erased: bool = False
    """True where the person was deleted: who passed when and where is all that is left."""
    extra: msgspec.Raw | None = None
    synthetic: bool | msgspec.UnsetType = msgspec.UNSET
    """There, and true, where a synthetic vendor's terminal measured the platform: nobody's attendance, in no list."""


class AttendancePage(msgspec.Struct, frozen=True):
    """Passages, newest recordTime first; in the order of receipt where receivedAfter is given. Where they are large a
    page has fewer than limit, and `next` goes on."""

    items: list[Attendance]
    next: str | None
    """Cursor of the next page; null on the last one."""


EXAMPLE = Attendance(
    event_id="0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51",
    sn="84E0F42C5D1A",
    vendor_id="v5f1c2a90b3d4e678",
    person_id="4508004291609636864",
    type=1,
    record_time=1_795_503_600_000,
    sent_at="2026-11-24T07:00:01.000Z",
    received_at="2026-11-24T07:00:01.250Z",
    temperature=36.7,
    has_image=False,
)

Filter = Annotated[str | None, Query(min_length=1, max_length=64)]


async def _asked_for(
    operator: Viewing,
    sn: Filter = None,
    person_id: Annotated[Filter, Query(alias="personId")] = None,
    site_id: Annotated[Filter, Query(alias="siteId")] = None,
    from_ms: Annotated[Time, Query(alias="from", description="recordTime at or after")] = None,
    to_ms: Annotated[Time, Query(alias="to", description="recordTime before")] = None,
    received_after_ms: Annotated[
        Time, Query(alias="receivedAfter", description="receivedAt after; the list is then in order of receipt")
    ] = None,
) -> AttendanceQuery:
    return AttendanceQuery(
        sn=sn,
        person_id=person_id,
        site_id=site_id,
        site_ids=sites_asked(operator, site_id),
        from_ms=from_ms,
        to_ms=to_ms,
        received_after_ms=received_after_ms,
    )


AskedFor = Annotated[AttendanceQuery, Depends(_asked_for)]
"""The filters of a list of attendances, within what the operator may see."""
EventId = Annotated[str, Path(alias="eventId", examples=["0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51"])]


def attendance_routes(
    attendances: AttendanceStore, pictures: PictureStore, synthetic: SyntheticAttendanceStore
) -> APIRouter:
    """The routes under /attendance."""
    router = APIRouter(prefix="/attendance", tags=["attendance"])

    @router.get(
        "",
        summary="List attendances",
        response_class=Response,
        responses=_json_of(AttendancePage([EXAMPLE], None)) | SITE_CHECKED,
    )
    async def list_attendances(query: AskedFor, cursor: Cursor = None, limit: Limit = 50) -> Response:
        """Newest recordTime first. Times are epoch milliseconds or RFC 3339. A page of large records has fewer
        than limit.

        For incremental reads give receivedAfter, and let it lie 15 minutes before the last receivedAt that was read:
        records are stored after they are received, not in that very order, and one that is stored later than this
        overlap is missed. It must cover the lag of the attendance-writer; eventId tells those that were read already.
        Whoever needs every record, and at once, reads the topic attendance.sign-in.v1."""
        listed = f"attendance {msgspec.json.encode(msgspec.structs.replace(query, limit=0)).decode()}"
        if cursor is not None:
            query = msgspec.structs.replace(query, after=decode_cursor(listed, cursor, tuple[TimeMs, str]))
        items, is_last = await read_page(query, limit)
        following = None if is_last else encode_cursor(listed, _place(query, items[-1]))
        return _json(AttendancePage(items=items, next=following))

    async def read_page(query: AttendanceQuery, limit: int) -> tuple[list[Attendance], bool]:
        """At most `limit` items, at least one where there are any, and whether none follow."""
        items: list[Attendance] = []
        size = 0
        while True:
            wanted = min(GROUP_ROWS, limit + 1 - len(items))
            found = await attendances.page(msgspec.structs.replace(query, limit=wanted))
            extras = await pictures.extra([record.event.event_id for record in found]) if found else {}  # noqa: S610  a store's, not Django's
            for record in found:
                if len(items) == limit or size > MAX_PAGE_BYTES:
                    return items, False
                items.append(_answer(record, extras))
                size += len(msgspec.json.encode(items[-1]))
            if len(found) < wanted:
                return items, True
            query = msgspec.structs.replace(query, after=_place(query, items[-1]))

    @router.get("/{eventId}", summary="Show an attendance", response_class=Response, responses=_json_of(EXAMPLE))
    async def show_attendance(operator: Viewing, event_id: EventId) -> Response:
        """One passage by its eventId, the id of the event on Kafka; those of synthetic terminals, too, for a day."""
        record = await attendances.find(event_id)
        measured = await synthetic.find(event_id) if record is None else None
        event = measured if record is None else record.event
        if event is None or not operator.sees(event.site_id):
            raise Problem(404, "no such attendance")
        if record is None:
            return _json(Attendance(**msgspec.structs.asdict(event), has_image=False, synthetic=True))
        return _json(_answer(record, await pictures.extra([event_id])))  # noqa: S610  as above

    @router.get(
        "/{eventId}/image",
        summary="The picture of an attendance",
        response_class=Response,
        responses={
            200: {
                "description": "The picture",
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            },
            304: {"description": "It is the one that the caller has (If-None-Match)"},
        },
    )
    async def show_image(
        operator: Viewing, event_id: EventId, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """As the terminal took it. A picture never changes: ETag is its SHA-256."""
        # A picture may be there before its attendance, and says nothing of a site: the unbound need not wait for one.
        record = None if operator.site_ids is None else await attendances.find(event_id)
        if not operator.sees(None if record is None else record.event.site_id):
            raise Problem(404, "no such attendance")
        picture = await pictures.picture(event_id)
        if picture is None:
            record = await attendances.find(event_id)
            if record is not None and record.erased:
                raise Problem(404, "the picture was erased with the person")
            if record is not None and record.event.image_dropped == DROPPED:
                raise Problem(404, "the picture was deleted: it had been kept long enough")
            raise Problem(404, "this attendance has no picture stored")
        etag = f'"{hashlib.sha256(picture.data).hexdigest()}"'
        headers = {"ETag": etag, "Cache-Control": "private"}
        if if_none_match is not None and etag in if_none_match:
            return Response(status_code=304, headers=headers)
        shown = picture.content_type in PICTURE_TYPES
        headers["Content-Disposition"] = "inline" if shown else "attachment"
        media_type = picture.content_type if shown else "application/octet-stream"
        return Response(picture.data, headers=headers, media_type=media_type)

    return router


def sites_asked(operator: Operator, site_id: str | None) -> tuple[str, ...] | None:
    """What a list of attendances is narrowed to beside its own filters. Raises Problem (404) where a site is asked for
    that is not the operator's."""
    if site_id is not None:
        check_site(operator, site_id)
        return None
    return None if operator.site_ids is None else tuple(sorted(operator.site_ids))


def _place(query: AttendanceQuery, event: AttendanceEvent) -> tuple[int, str]:
    """Where it stands in the order of the list."""
    ordering_ms = event.record_time if query.received_after_ms is None else parse_rfc3339(event.received_at)
    return ordering_ms, event.event_id


def _json_of(example: msgspec.Struct) -> dict[int | str, dict[str, Any]]:
    described = {
        "schema": {"$ref": f"#/components/schemas/{type(example).__name__}"},
        "example": json.loads(msgspec.json.encode(example)),
    }
    return {200: {"description": "Success", "content": {"application/json": described}}}


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _answer(record: AttendanceRecord, extras: Mapping[str, str]) -> Attendance:
    extra = extras.get(record.event.event_id)
    return Attendance(
        **msgspec.structs.asdict(record.event),
        has_image=record.has_image,
        erased=record.erased,
        extra=None if extra is None else _as_json(extra),
    )


def _as_json(text: str) -> msgspec.Raw:
    """The text itself, so that nothing in it is lost; one that is no strict JSON becomes a JSON string, so that the
    answer stays JSON whatever is stored."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except ValueError:
        return msgspec.Raw(msgspec.json.encode(text))
    return msgspec.Raw(text.encode())


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
