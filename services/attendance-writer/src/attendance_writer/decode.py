"""PURE: what a record is to the writer: something to store, or Rejected with the reason. No I/O, no offsets."""

from enum import StrEnum

import msgspec

from shared.domain.attendance import AttendanceEvent
from shared.domain.events import (
    PRESENCE_TOPIC,
    SYNTHETIC_TOPIC,
    ConsumedRecord,
    Fault,
    InvalidRecord,
    read_record,
)
from shared.domain.presence import PresenceEvent, read_presence
from shared.stores.interfaces import StoredDetails, StoredPicture


class StoreFault(StrEnum):
    """Why a readable record became a dead letter all the same."""

    REFUSED = "refused-by-the-database"


class Rejected(msgspec.Struct, frozen=True):
    """A record that can never be stored: it goes to the dead-letter topic."""

    reason: Fault | StoreFault
    detail: str
    """One clause, without anything of the record's content."""


class SyntheticSignIn(msgspec.Struct, frozen=True):
    """A sign-in that is nobody's attendance: no AttendanceEvent, so that it is never stored as one (ADR 0022)."""

    event: AttendanceEvent

    @property
    def event_id(self) -> str:
        """The event's."""
        return self.event.event_id


Decoded = AttendanceEvent | SyntheticSignIn | StoredPicture | StoredDetails | PresenceEvent | Rejected


def decode(record: ConsumedRecord) -> Decoded:
    """What the record holds."""
    try:
        if record.topic == PRESENCE_TOPIC:
            return read_presence(record)
        read = read_record(record)
    except InvalidRecord as error:
        return Rejected(error.fault, error.detail)
    if isinstance(read, AttendanceEvent):
        return SyntheticSignIn(read) if record.topic == SYNTHETIC_TOPIC else read
    if read.parts.picture is None:
        return StoredDetails(
            event_id=read.event_id,
            sn=read.sn,
            iris_info=read.parts.iris_info,
            extra=read.parts.extra,
            received_at_ms=read.received_at_ms,
        )
    return StoredPicture(
        event_id=read.event_id,
        sn=read.sn,
        content_type=read.content_type,
        data=read.parts.picture,
        received_at_ms=read.received_at_ms,
    )
