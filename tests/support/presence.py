"""Presence events, right by default."""

from typing import Any

from shared.domain.attendance import rfc3339
from shared.domain.presence import PresenceEvent, PresenceState
from tests.support.session_values import NOW_MS

SN = "1388186"


def make_presence(state: PresenceState = PresenceState.ONLINE, epoch: int = 1, **members: Any) -> PresenceEvent:
    """An event of a device that was seen when it is told."""
    at = rfc3339(NOW_MS)
    values: dict[str, Any] = {"sn": SN, "vendor_id": "v1", "at": at, "last_seen_at": at} | members
    return PresenceEvent(state=state, epoch=epoch, **values)
