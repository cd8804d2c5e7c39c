"""A device as the platform knows it, and where it stood when."""

from enum import StrEnum

import msgspec


class Direction(StrEnum):
    """Which way a passage through the device goes."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class SiteSpan(msgspec.Struct, frozen=True):
    """From `since_ms` on, until the next span, the device stood at a site and let through in a direction."""

    since_ms: int
    site_id: str | None
    direction: Direction | None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal, bound to the vendor of its first C_AUTH."""

    sn: str
    vendor_id: str
    name: str | None = None
    disabled: bool = False
    time_window_seconds: int | None = None
    site_history: tuple[SiteSpan, ...] = ()
    """Oldest first (design rule 11)."""
    registered_at_ms: int


def site_at(history: tuple[SiteSpan, ...], time_ms: int) -> tuple[str | None, Direction | None]:
    """Site and direction as of a time; (None, None) before the first span (design rule 11)."""
    for span in reversed(history):
        if span.since_ms <= time_ms:
            return span.site_id, span.direction
    return None, None
