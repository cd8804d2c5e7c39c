"""PURE: records that are written and committed together, and when that is due: by count, bytes or age."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from attendance_writer.decode import Decoded, Rejected, SyntheticSignIn
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, ConsumedRecord
from shared.domain.presence import PresenceEvent
from shared.stores.interfaces import StoredDetails, StoredPicture

Place = tuple[str, int]
"""Topic and partition."""
ATTENDANCE_TOPICS = (SIGN_IN_TOPIC, SENSITIVE_TOPIC)

_T = TypeVar("_T", AttendanceEvent, SyntheticSignIn, StoredPicture, StoredDetails, PresenceEvent, Rejected)


class BatchLimits(msgspec.Struct, frozen=True):
    """A batch is due when it reaches any of these. One poll may carry it past them, by at most one fetch."""

    records: int
    bytes: int
    age_seconds: float


class Batch:
    """What was read and is not committed yet."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._records: list[ConsumedRecord] = []
        self._by_kind: defaultdict[type, list[tuple[ConsumedRecord, Any]]] = defaultdict(list)
        self._bytes = 0
        self._began = 0.0
        self._next_offsets: dict[Place, int] = {}
        self.oldest_attendance_ms: int | None = None
        """Kafka's time of the oldest record of passages or their sensitive parts; None without one."""

    def add(self, record: ConsumedRecord, decoded: Decoded, now: float) -> None:
        """Adds a record; `now` is on a steady clock, in seconds."""
        if not self._records:
            self._began = now
        self._records.append(record)
        self._by_kind[type(decoded)].append((record, decoded))
        self._bytes += record.size
        self._next_offsets[record.topic, record.partition] = record.offset + 1
        if record.topic in ATTENDANCE_TOPICS and record.timestamp_ms >= 0:
            oldest_ms = self.oldest_attendance_ms
            self.oldest_attendance_ms = (
                record.timestamp_ms if oldest_ms is None else min(oldest_ms, record.timestamp_ms)
            )

    def pass_over(self, place: Place, begin: int) -> None:
        """What stood before this offset is gone: it is committed with the rest, so that nobody misses it again."""
        self._next_offsets[place] = begin

    def __len__(self) -> int:
        return len(self._records)

    def remaining_seconds(self, now: float) -> float:
        """How long until it is due: 0 when it is, the whole age while it is empty."""
        if not self._records:
            return self._limits.age_seconds
        if len(self._records) >= self._limits.records or self._bytes >= self._limits.bytes:
            return 0.0
        return max(0.0, self._began + self._limits.age_seconds - now)

    @property
    def records(self) -> Sequence[ConsumedRecord]:
        """All of them, in the order in which they were read."""
        return self._records

    def of_kind(self, kind: type[_T]) -> list[tuple[ConsumedRecord, _T]]:
        """The records decoded to this kind, in the order in which they were read."""
        return self._by_kind.get(kind, [])

    @property
    def next_offsets(self) -> Mapping[Place, int]:
        """What to commit once all of it is stored."""
        return self._next_offsets
