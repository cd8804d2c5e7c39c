"""What a record of a topic is to an operator who looks on: its kind, whose it is, its JSON. Pure."""

import re
from enum import StrEnum

import msgspec

from shared.domain.attendance import AttendanceEvent
from shared.domain.events import (
    PRESENCE_TOPIC,
    SIGN_IN_TOPIC,
    TASK_TOPIC,
    ConsumedRecord,
    Fault,
    InvalidRecord,
    read_record,
)
from shared.domain.presence import OfflineReason, PresenceEvent, PresenceState, read_presence
from shared.domain.task_events import read_task


class LiveKind(StrEnum):
    """The kinds of events, as `event:` names them."""

    SIGN_IN = "sign-in"
    PRESENCE = "presence"
    TASK = "task"


TOPICS = {LiveKind.SIGN_IN: SIGN_IN_TOPIC, LiveKind.PRESENCE: PRESENCE_TOPIC, LiveKind.TASK: TASK_TOPIC}
"""Where each is read. The sensitive topic is none of them (design rule 9)."""


class LivePresence(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A terminal came on line, went, or has told something new of itself. What is null was not told."""

    sn: str
    vendor_id: str
    online: bool
    state: PresenceState
    at: str
    last_seen_at: str
    address: str | None
    device_version: str | None
    device_ip: str | None
    clock_skew_seconds: int | None
    reason: OfflineReason | None


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event."""

    kind: LiveKind
    sn: str
    site_id: str | None = None
    """Of a sign-in: where the terminal stood then. Of any other it is not known here."""
    data: bytes
    """JSON."""


def read_event(record: ConsumedRecord) -> LiveEvent:
    """The event of a record of one of TOPICS. Raises InvalidRecord."""
    if record.topic == PRESENCE_TOPIC:
        presence = read_presence(record)
        return LiveEvent(kind=LiveKind.PRESENCE, sn=presence.sn, data=msgspec.json.encode(_shown(presence)))
    if record.topic == TASK_TOPIC:
        task = read_task(record)
        return LiveEvent(kind=LiveKind.TASK, sn=task.sn, data=msgspec.json.encode(task))
    sign_in = read_record(record)
    if not isinstance(sign_in, AttendanceEvent):
        raise InvalidRecord(Fault.TYPE, "no sign-in")
    # Written anew: a member that somebody adds to the topic is not the operators' before the API says so.
    return LiveEvent(kind=LiveKind.SIGN_IN, sn=sign_in.sn, site_id=sign_in.site_id, data=msgspec.json.encode(sign_in))


def _shown(event: PresenceEvent) -> LivePresence:
    return LivePresence(
        sn=event.sn,
        vendor_id=event.vendor_id,
        online=event.state is not PresenceState.OFFLINE,
        state=event.state,
        at=event.at,
        last_seen_at=event.last_seen_at,
        address=event.address,
        device_version=event.device_version,
        device_ip=event.device_ip,
        clock_skew_seconds=event.clock_skew_seconds,
        reason=event.reason,
    )


# ── text/event-stream ─────────────────────────────────────────────────────────────────────────────────────────────

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")


def event_block(name: str, event_id: str, data: bytes) -> bytes:
    """An event as a browser's EventSource reads it. A line end in `data` begins another data line: JSON that a terminal
    sent may have some between its members."""
    lines = b"".join(b"data: %s\n" % line for line in _LINE_ENDS.split(data))
    return b"event: %s\nid: %s\n%s\n" % (name.encode(), event_id.encode(), lines)


def place_block(event_id: str) -> bytes:
    """No event: shows that the connection lives, and where it is."""
    return b":\nid: %s\n\n" % event_id.encode()


def retry_block(milliseconds: int) -> bytes:
    """When to come again after the connection has ended."""
    return b"retry: %d\n\n" % milliseconds
