"""For how long attendances and what is beside them are kept (ADR 0023)."""

from enum import StrEnum

DAY_MS = 86_400_000

DROPPED = "retention"
"""Why an attendance has no picture any more: its imageDropped."""


class Kept(StrEnum):
    """What has a time of its own. PICTURES: pictures, iris data and unknown members; RECORDS: whole attendances."""

    PICTURES = "pictures"
    RECORDS = "records"


def floor_of(now_ms: int, kept_days: int) -> int:
    """What is older is past its retention. In whole days of UTC, so that it rises once a day."""
    return (now_ms // DAY_MS - kept_days) * DAY_MS
