"""Retention in memory, over MemoryAttendance: for unit tests, and for reading how the store must behave."""

from collections.abc import Mapping

import msgspec

from shared.domain.attendance import parse_rfc3339
from shared.domain.retention import Kept
from shared.stores.interfaces import StoredDetails, StoredPicture
from shared.stores.memory_attendance import MemoryAttendance
from shared.stores.retention_interfaces import Floor


class MemoryRetentionStore:
    """RetentionStore in dicts."""

    def __init__(self, memory: MemoryAttendance) -> None:
        self._memory = memory

    async def floor(self, kind: Kept) -> Floor:
        """As the interface says."""
        self._memory.check_available()
        return self._memory.floors[kind]

    async def raise_floor(self, kind: Kept, floor_ms: int) -> None:
        """As the interface says."""
        self._memory.check_available()
        floor = self._memory.floors[kind]
        self._memory.floors[kind] = msgspec.structs.replace(floor, floor_ms=max(floor.floor_ms, floor_ms))

    async def swept(self, kind: Kept, floor_ms: int) -> None:
        """As the interface says."""
        self._memory.check_available()
        floor = self._memory.floors[kind]
        self._memory.floors[kind] = msgspec.structs.replace(floor, swept_ms=max(floor.swept_ms, floor_ms))

    async def delete(self, kind: Kept, floor_ms: int, limit: int) -> int:
        """As the interface says."""
        self._memory.check_available()
        received = self._received(kind)
        records = self._memory.records
        event_ids = sorted(
            (
                event_id
                for event_id, at_ms in received.items()
                if at_ms < floor_ms and (kind is Kept.PICTURES or records[event_id].event.record_time < floor_ms)
            ),
            key=lambda event_id: (received[event_id], event_id),
        )[:limit]
        for event_id in event_ids:
            self._memory.drop_parts(event_id)
            if kind is Kept.RECORDS:
                del records[event_id]
                self._memory.parts_dropped.discard(event_id)
        return len(event_ids)

    async def oldest_ms(self, kind: Kept) -> int | None:
        """As the interface says."""
        self._memory.check_available()
        return min(self._received(kind).values(), default=None)

    def _received(self, kind: Kept) -> Mapping[str, int]:
        if kind is Kept.RECORDS:
            return {
                event_id: parse_rfc3339(record.event.received_at) for event_id, record in self._memory.records.items()
            }
        parts: list[StoredDetails | StoredPicture] = [*self._memory.details.values(), *self._memory.pictures.values()]
        return {part.event_id: part.received_at_ms for part in parts}
