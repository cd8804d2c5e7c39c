"""What the services ask of the stores, as narrow as their callers need. memory.py holds twins for unit tests.

Every method may raise Unavailable: the server behind it did not answer within its deadline. That is our fault and
never the device's: it becomes 500_01 or a retry, never 401_01 and never a dead letter.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from shared.domain.attendance import AttendanceEvent
from shared.domain.control import ControlEntry
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import Device
from shared.domain.sessions import Ended, Session

# ── credentials and devices: MongoDB, owned by session ────────────────────────────────────────────────────────────


class CredentialStore(Protocol):
    """`vendors` and `credentials`."""

    async def add_vendor(self, vendor: Vendor) -> None: ...

    async def vendors(self, after: str | None, limit: int) -> Sequence[Vendor]:
        """In order of vendor_id, after `after`."""
        ...

    async def vendor(self, vendor_id: str) -> Vendor | None: ...

    async def add_credential(self, credential: Credential) -> None: ...

    async def credentials_of(self, vendor_id: str) -> Sequence[Credential]: ...

    async def find_credentials(self, access_ids: Sequence[str]) -> dict[str, tuple[Credential, Vendor]]:
        """By access_id, with the vendor; unknown ones are absent. One round trip for a group."""
        ...

    async def revoke(self, vendor_id: str, access_id: str, at_ms: int) -> Credential | None:
        """Marks it revoked (once; the first time stays); None where the vendor has no such credential."""
        ...

    async def revoked_since(self, since_ms: int) -> Sequence[Credential]:
        """Those revoked at or after a time: session re-asserts them (design rule 5)."""
        ...


class DeviceStore(Protocol):
    """`devices`."""

    async def find(self, sns: Sequence[str]) -> dict[str, Device]:
        """By sn; unknown ones are absent. One round trip for a group."""
        ...

    async def register(self, devices: Sequence[Device]) -> dict[str, Device]:
        """Adds those that are not there yet and returns what is stored for each sn: of two vendors that race for
        one sn, the first keeps it."""
        ...

    async def page(self, after: str | None, limit: int) -> Sequence[Device]:
        """In order of sn, after `after`."""
        ...


# ── sessions: Redis ───────────────────────────────────────────────────────────────────────────────────────────────


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A C_AUTH that passed every check but the replay guard."""

    session: Session
    """opened_at_ms is set by the store, from Redis's clock."""
    sign: str
    """Lower-case; the guard keeps only a digest of it (E4)."""
    replay_window_ms: int


class SessionStore(Protocol):
    """Sessions by token, the current token of each sn, the replay guard."""

    async def open_many(self, new: Sequence[NewSession]) -> Sequence[Session | None]:
        """Opens each session and replaces the device's earlier one, telling the control stream; None where the
        sign was already accepted within its window (E4). One Lua call for the group."""
        ...

    async def find(self, tokens: Sequence[str]) -> Sequence[Session | None]:
        """By token, in order; None where there is no such token, or it expired. One round trip."""
        ...

    async def renew(self, sessions: Sequence[tuple[str, str]]) -> None:
        """Prolongs (token, sn) to the full life from now. One variadic call (design rule 4)."""
        ...

    async def count_failures(self, sources: Sequence[str]) -> Sequence[int]:
        """Adds one failed C_AUTH to each source (address and sn) and returns its count within the window
        (design rule 7)."""
        ...


class EndedStore(Protocol):
    """The small set of ended sessions that outlives neither Redis nor the tokens (design rule 5)."""

    async def end_credential(self, access_id: str) -> None:
        """Puts it in the set and tells the control stream, in one call; harmless when repeated."""
        ...

    async def end_device(self, sn: str) -> None:
        """Puts it in the set with Redis's time and tells the control stream, in one call."""
        ...

    async def load(self) -> Ended:
        """All that is still in force."""
        ...


class ControlStream(Protocol):
    """The capped Redis Stream that every ingress reads (design rule 4)."""

    async def publish(self, entry: ControlEntry) -> None: ...

    async def read(self, block_ms: int) -> Sequence[ControlEntry] | None:
        """What came since the last call, waiting at most `block_ms`; None where entries may have been missed
        (trimmed, vanished, flushed): the reader then empties its caches. The first call gives
        None: a new reader knows nothing yet. Entries that cannot be read are skipped and counted in `malformed`."""
        ...

    malformed: int


# ── attendance: MongoDB, owned by the writer ──────────────────────────────────────────────────────────────────────


class StoredPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as stored, by the event it belongs to."""

    event_id: str
    sn: str
    content_type: str
    data: bytes
    received_at_ms: int


class StoredDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Iris data and unknown members of an event."""

    event_id: str
    sn: str
    iris_info: str | None = None
    extra: str | None = None
    received_at_ms: int


class AttendanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An attendance as read back."""

    event: AttendanceEvent
    has_image: bool


class AttendanceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which attendances; times in milliseconds; [from, to). Ordered by receivedAt then eventId where
    `received_after_ms` is given (incremental reads), else newest recordTime first."""

    sn: str | None = None
    person_id: str | None = None
    site_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    received_after_ms: int | None = None
    after: tuple[int, str] | None = None
    """The last one of the earlier page: (ordering time in ms, event id)."""
    limit: int = 50


class AttendanceStore(Protocol):
    """`attendance`: the first stored wins for every member (design rule 2)."""

    async def add_many(self, events: Sequence[AttendanceEvent]) -> int:
        """Adds those not there yet, majority and journal; returns how many were new. Links pictures already stored."""
        ...

    async def find(self, event_id: str) -> AttendanceRecord | None: ...

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]: ...


class PictureStore(Protocol):
    """`pictures`: one document an event; never creates an attendance (design rule 9)."""

    async def add_many(self, pictures: Sequence[StoredPicture]) -> None:
        """Adds those that are absent, then marks their attendances hasImage by an update that does not insert."""
        ...

    async def add_details(self, details: Sequence[StoredDetails]) -> None:
        """Adds what is absent of iris data and unknown members."""
        ...

    async def picture(self, event_id: str) -> StoredPicture | None: ...

    async def extra(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Unknown members as JSON text, by event id, where there are any."""
        ...
