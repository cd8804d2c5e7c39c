"""Whether a device is online, and the events of `device.presence.v1` that say so (T2, design rule 6).

1. Every event carries the epoch of the connection that held the device: of two epochs the higher counts.
2. Within an epoch offline is last; whatever else comes of it later is stale.
3. Online may come again with a higher epoch, when another connection takes the device over: still online.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from shared.domain.attendance import name_based_id, parse_rfc3339, rfc3339
from shared.domain.events import (
    PRESENCE_TOPIC,
    ConsumedRecord,
    Fault,
    InvalidRecord,
    Record,
    read_attribute,
    read_of_type,
    read_time,
)

PRESENCE_TYPE = "device.presence.v1"

MAX_FACT_CHARACTERS = 128
"""What is kept of a text that a terminal tells of itself."""


class PresenceState(StrEnum):
    """What an event says."""

    ONLINE = "online"
    OFFLINE = "offline"
    CHANGED = "changed"
    """Still online; what is known of the device has changed, or was told too long ago."""


class OfflineReason(StrEnum):
    """Why a device went offline."""

    CLOSED = "connection-closed"
    SILENT = "silent"
    INGRESS_LOST = "ingress-lost"
    """The process that held it is gone, or could not tell."""


class PresenceEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The value of `device.presence.v1`. What is null is not known to whoever wrote the event; consumers keep what
    they knew. Times are RFC 3339 in UTC."""

    sn: str
    vendor_id: str
    state: PresenceState
    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    at: str
    last_seen_at: str
    """Its last accepted request over TCP."""
    address: str | None = None
    """Where its connection comes from."""
    device_version: str | None = None
    device_ip: str | None = None
    """On its own network, as it tells."""
    clock_skew_seconds: Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)] | None = None
    """How far its clock is ahead of ours."""
    reason: OfflineReason | None = None


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a device's presence from its events."""

    sn: str
    vendor_id: str
    online: bool
    epoch: int
    last_seen_ms: int
    address: str | None = None
    device_version: str | None = None
    device_ip: str | None = None
    clock_skew_seconds: int | None = None


def presence_event_id(event: PresenceEvent) -> str:
    """UUIDv5: the same for an event that is sent again. Of one epoch there is one online and one offline."""
    parts = [event.sn, str(event.epoch), event.state]
    if event.state is PresenceState.CHANGED:
        parts.append(event.at)
    return name_based_id("\x1f".join(parts))


def presence_record(event: PresenceEvent) -> Record:
    """The record of `device.presence.v1`. Its source is the same whoever writes it: two services may tell one end."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", presence_event_id(event).encode()),
        ("ce_source", b"/presence"),
        ("ce_type", PRESENCE_TYPE.encode()),
        ("ce_time", event.at.encode()),
        ("ce_datacontenttype", b"application/json"),
        ("content-type", b"application/json"),
    )
    return Record(PRESENCE_TOPIC, event.sn.encode(), msgspec.json.encode(event), headers, parse_rfc3339(event.at))


def read_presence(record: ConsumedRecord) -> PresenceEvent:
    """The reverse of presence_record. Raises InvalidRecord."""
    event, headers = read_of_type(record, PRESENCE_TYPE, PresenceEvent)
    if record.key != event.sn.encode():
        raise InvalidRecord(Fault.KEY, "the key is not sn")
    for time in (event.at, event.last_seen_at):
        read_time(time)
    if read_attribute(headers, "ce_id") != presence_event_id(event):
        raise InvalidRecord(Fault.ID, "ce_id is not the id that the event's members give")
    return event


def offline_event(presence: Presence, at_ms: int, reason: OfflineReason) -> PresenceEvent:
    """That a device is gone, with what is known of it."""
    return PresenceEvent(
        sn=presence.sn,
        vendor_id=presence.vendor_id,
        state=PresenceState.OFFLINE,
        epoch=presence.epoch,
        at=rfc3339(at_ms),
        last_seen_at=rfc3339(presence.last_seen_ms),
        address=presence.address,
        device_version=presence.device_version,
        device_ip=presence.device_ip,
        clock_skew_seconds=presence.clock_skew_seconds,
        reason=reason,
    )
