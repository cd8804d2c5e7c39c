"""Attendances and pictures in dicts: for unit tests, and for reading how their stores must behave.
`available = False` makes every call raise Unavailable."""

from collections.abc import AsyncGenerator, Sequence

import msgspec

from shared.domain.attendance import AttendanceEvent, parse_rfc3339
from shared.domain.devices import SiteSpan, site_at
from shared.domain.retention import DROPPED, Kept
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import (
    Added,
    AttendanceQuery,
    AttendanceRecord,
    StoredDetails,
    StoredPicture,
)
from shared.stores.retention_interfaces import Floor

ERASED_MEMBERS = ("image", "image_dropped", "temperature", "coordinate", "qr_code_info", "health_info")


class MemoryAttendance:
    """`attendance` and `pictures`, which link to each other, behind their two interfaces."""

    def __init__(self) -> None:
        self.available = True
        self.records: dict[str, AttendanceRecord] = {}
        self.pictures: dict[str, StoredPicture] = {}
        self.details: dict[str, StoredDetails] = {}
        self.deleted_persons: set[str] = set()
        """Whose attendances are erased, and stay so."""
        self.site_histories: dict[str, tuple[SiteSpan, ...]] = {}
        """Of the devices, by sn."""
        self.floors: dict[Kept, Floor] = {kind: Floor() for kind in Kept}
        self.parts_dropped: set[str] = set()
        """Of attendances that have outlived their pictures and details."""
        self.attendance_store = MemoryAttendanceStore(self)
        self.picture_store = MemoryPictureStore(self)

    def check_available(self) -> None:
        """Raises Unavailable where a test wants it so."""
        if not self.available:
            raise Unavailable("memory: made unavailable")

    def link(self, event_id: str) -> None:
        """Marks the attendance of a stored picture, where both are stored."""
        record = self.records.get(event_id)
        picture = self.pictures.get(event_id)
        is_linkable = record is not None and not record.erased and event_id not in self.parts_dropped
        if record is not None and is_linkable and picture is not None:
            event = msgspec.structs.replace(record.event, image=picture.reference, image_dropped=None)
            self.records[event_id] = AttendanceRecord(event=event, has_image=True)

    def is_erased(self, event_id: str) -> bool:
        """Whether nothing may be stored beside the attendance any more."""
        record = self.records.get(event_id)
        return record is not None and record.erased

    def is_past(self, received_at_ms: int) -> bool:
        """Whether pictures and details that were received then are past retention."""
        return received_at_ms < self.floors[Kept.PICTURES].floor_ms

    def drop_parts(self, event_id: str) -> None:
        """Deletes what is beside an attendance; it says so where it had a picture."""
        self.pictures.pop(event_id, None)
        self.details.pop(event_id, None)
        record = self.records.get(event_id)
        if record is not None:
            self.parts_dropped.add(event_id)
            if record.event.image is not None:
                event = msgspec.structs.replace(record.event, image=None, image_dropped=DROPPED)
                self.records[event_id] = msgspec.structs.replace(record, event=event, has_image=False)

    def fill_in(self, event_id: str) -> None:
        """Gives an attendance the site and direction that it lacks and its device's history knows."""
        record = self.records[event_id]
        event = record.event
        site_id, direction = site_at(self.site_histories.get(event.sn, ()), event.record_time)
        filled = msgspec.structs.replace(
            event, site_id=event.site_id or site_id, direction=event.direction or direction
        )
        self.records[event_id] = msgspec.structs.replace(record, event=filled)

    def erase(self, event_id: str) -> None:
        """Erases the attendance, and what is stored beside it, where it is of a deleted person."""
        event = self.records[event_id].event
        if event.person_id in self.deleted_persons:
            row = msgspec.structs.replace(event, **dict.fromkeys(ERASED_MEMBERS))
            self.records[event_id] = AttendanceRecord(event=row, has_image=False, erased=True)
            self.pictures.pop(event_id, None)
            self.details.pop(event_id, None)


class MemoryAttendanceStore:
    """AttendanceStore in a dict."""

    def __init__(self, memory: MemoryAttendance) -> None:
        self._memory = memory

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """As the interface says."""
        self._memory.check_available()
        new = past = 0
        for event in events:
            if event.record_time < self._memory.floors[Kept.RECORDS].floor_ms:
                past += 1
                if event.event_id not in self._memory.records:
                    self._memory.pictures.pop(event.event_id, None)
                    self._memory.details.pop(event.event_id, None)
                continue
            if event.event_id not in self._memory.records:
                self._memory.records[event.event_id] = AttendanceRecord(event=event, has_image=False)
                new += 1
                has_picture = event.event_id in self._memory.pictures
                if not has_picture and self._memory.is_past(parse_rfc3339(event.received_at)):
                    self._memory.drop_parts(event.event_id)
            self._memory.link(event.event_id)
            self._memory.fill_in(event.event_id)
            self._memory.erase(event.event_id)
        return Added(new=new, past_retention=past)

    async def fill_in_site(self, sn: str, site_history: tuple[SiteSpan, ...]) -> None:
        """As the interface says."""
        self._memory.check_available()
        self._memory.site_histories[sn] = site_history
        for event_id, record in self._memory.records.items():
            if record.event.sn == sn:
                self._memory.fill_in(event_id)

    async def erase_person(self, person_id: str) -> None:
        """As the interface says."""
        self._memory.check_available()
        self._memory.deleted_persons.add(person_id)
        for event_id in self._memory.records:
            self._memory.erase(event_id)

    async def find(self, event_id: str) -> AttendanceRecord | None:
        """As the interface says."""
        self._memory.check_available()
        return self._memory.records.get(event_id)

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]:
        """As the interface says."""
        self._memory.check_available()
        return self._all(query)[: query.limit]

    async def pages(self, query: AttendanceQuery) -> AsyncGenerator[Sequence[AttendanceRecord]]:
        """As the interface says."""
        self._memory.check_available()
        found = self._all(query)
        for start in range(0, len(found), query.limit):
            self._memory.check_available()
            yield [_without_objects(record) for record in found[start : start + query.limit]]

    def _all(self, query: AttendanceQuery) -> list[AttendanceRecord]:
        as_received = query.received_after_ms is not None

        def place(record: AttendanceRecord) -> tuple[int, str]:
            event = record.event
            return (parse_rfc3339(event.received_at) if as_received else event.record_time), event.event_id

        def is_after(record: AttendanceRecord) -> bool:
            if query.after is None:
                return True
            return place(record) > query.after if as_received else place(record) < query.after

        found = [record for record in self._memory.records.values() if _matches(query, record.event)]
        found.sort(key=place, reverse=not as_received)
        return [record for record in found if is_after(record)]


def _without_objects(record: AttendanceRecord) -> AttendanceRecord:
    event = msgspec.structs.replace(record.event, qr_code_info=None, health_info=None)
    return msgspec.structs.replace(record, event=event)


def _matches(query: AttendanceQuery, event: AttendanceEvent) -> bool:
    return (
        query.sn in (None, event.sn)
        and query.person_id in (None, event.person_id)
        and query.site_id in (None, event.site_id)
        and (query.site_ids is None or event.site_id in query.site_ids)
        and (query.from_ms is None or event.record_time >= query.from_ms)
        and (query.to_ms is None or event.record_time < query.to_ms)
        and (query.received_after_ms is None or parse_rfc3339(event.received_at) > query.received_after_ms)
    )


class MemorySyntheticAttendanceStore:
    """SyntheticAttendanceStore in a dict."""

    def __init__(self) -> None:
        self.available = True
        self.events: dict[str, AttendanceEvent] = {}

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """As the interface says."""
        self._check_available()
        before = len(self.events)
        for event in events:
            self.events.setdefault(event.event_id, event)
        return Added(new=len(self.events) - before)

    async def find(self, event_id: str) -> AttendanceEvent | None:
        """As the interface says."""
        self._check_available()
        return self.events.get(event_id)

    def _check_available(self) -> None:
        if not self.available:
            raise Unavailable("memory: made unavailable")


class MemoryPictureStore:
    """PictureStore in a dict."""

    def __init__(self, memory: MemoryAttendance) -> None:
        self._memory = memory

    async def add_many(self, pictures: Sequence[StoredPicture]) -> Added:
        """As the interface says."""
        self._memory.check_available()
        new = past = 0
        for picture in pictures:
            if self._memory.is_erased(picture.event_id):
                continue
            if self._memory.is_past(picture.received_at_ms) or picture.event_id in self._memory.parts_dropped:
                past += 1
                continue
            new += picture.event_id not in self._memory.pictures
            self._memory.pictures.setdefault(picture.event_id, picture)
            self._memory.link(picture.event_id)
        return Added(new=new, past_retention=past)

    async def add_details(self, details: Sequence[StoredDetails]) -> Added:
        """As the interface says."""
        self._memory.check_available()
        new = past = 0
        for item in details:
            if self._memory.is_erased(item.event_id):
                continue
            if self._memory.is_past(item.received_at_ms) or item.event_id in self._memory.parts_dropped:
                past += 1
                continue
            stored = self._memory.details.get(item.event_id)
            if stored is None:
                self._memory.details[item.event_id] = item
                new += 1
            else:
                self._memory.details[item.event_id] = msgspec.structs.replace(
                    stored,
                    iris_info=item.iris_info if stored.iris_info is None else stored.iris_info,
                    extra=item.extra if stored.extra is None else stored.extra,
                )
        return Added(new=new, past_retention=past)

    async def picture(self, event_id: str) -> StoredPicture | None:
        """As the interface says."""
        self._memory.check_available()
        return self._memory.pictures.get(event_id)

    async def extra(self, event_ids: Sequence[str]) -> dict[str, str]:
        """As the interface says."""
        self._memory.check_available()
        found = {event_id: self._memory.details.get(event_id) for event_id in event_ids}
        return {event_id: item.extra for event_id, item in found.items() if item is not None and item.extra is not None}
