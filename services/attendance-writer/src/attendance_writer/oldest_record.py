"""PURE: how old the oldest attendance is that is not stored, from what is known without reading ahead.

1. Of what the batch holds the age is known, by Kafka's time of each record: it grows while the database hangs.
2. Of a partition of which nothing was fetched only the offsets are known. A record of it is as old at least as the
   measurement that saw it stand there; where it was older, the first fetch says so.
"""

from collections.abc import Mapping

from attendance_writer.batch import ATTENDANCE_TOPICS, Place


class OldestRecord:
    """Of the partitions that this process has. Times are Unix milliseconds."""

    def __init__(self) -> None:
        self._behind: dict[Place, tuple[int, int]] = {}
        """Partitions that are behind: an end offset above what is committed, and when it was measured."""

    def measured(self, offsets: Mapping[Place, tuple[int, int]], now_ms: int) -> None:
        """All partitions of this process were measured: how far each is committed, and where it ends."""
        earlier = self._behind
        self._behind = {}
        for place, (committed, end) in offsets.items():
            if place[0] in ATTENDANCE_TOPICS and committed < end:
                seen_end, seen_ms = earlier.get(place, (0, 0))
                # What was there when it was seen first is stored by now: the oldest came after that.
                self._behind[place] = (seen_end, seen_ms) if committed < seen_end else (end, now_ms)

    def committed(self, next_offsets: Mapping[Place, int]) -> None:
        """A batch is stored: partitions that it brought to the end that was seen are no longer behind."""
        for place, offset in next_offsets.items():
            if place in self._behind and offset >= self._behind[place][0]:
                del self._behind[place]

    def age_seconds(self, held_since_ms: int | None, now_ms: int) -> float:
        """0 where nothing waits; `held_since_ms` is the oldest time of what the batch holds."""
        times = [seen_ms for _, seen_ms in self._behind.values()]
        if held_since_ms is not None:
            times.append(held_since_ms)
        return max(0.0, (now_ms - min(times)) / 1000) if times else 0.0
