"""What the services ask of the stores, as narrow as their callers need. memory.py holds twins for unit tests.

Every method may raise Unavailable: the server behind it did not answer within its deadline. That is our fault and
never the device's: it becomes 500_01 or a retry, never 401_01 and never a dead letter.
"""

import hashlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from shared.domain.attendance import AttendanceEvent, PictureReference
from shared.domain.control import ControlEntry, PushCommand
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import Device, SiteSpan
from shared.domain.presence import Presence, PresenceEvent
from shared.domain.sessions import Ended, Session
from shared.domain.sites import Site
from shared.domain.tasks import HistoryEntry, Outcome, Task, TaskState
from shared.protocol.apicodes import Apicode

# ── credentials and devices: MongoDB, owned by session ────────────────────────────────────────────────────────────


class CredentialStore(Protocol):
    """`vendors` and `credentials`."""

    async def add_vendor(self, vendor: Vendor) -> None: ...

    async def vendors(self, after: str | None, limit: int) -> Sequence[Vendor]:
        """In order of vendor_id, after `after`."""
        ...

    async def vendor(self, vendor_id: str) -> Vendor | None: ...

    async def add_credential(self, credential: Credential) -> None: ...

    async def credentials_of(self, vendor_ids: Sequence[str]) -> dict[str, list[Credential]]:
        """Of each vendor, oldest first. One round trip for a page of vendors."""
        ...

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

    async def page_at_sites(
        self, site_ids: Collection[str], now_ms: int, after: str | None, limit: int
    ) -> Sequence[Device]:
        """Those that stand at any of the sites now, in order of sn, after `after`."""
        ...

    async def replace(self, earlier: Device, device: Device) -> bool:
        """Stores what operators set of the device, and marks it unsettled; False where it was changed since `earlier`
        was read."""
        ...

    async def unsettled(self, changed_until_ms: int, limit: int) -> Sequence[Device]:
        """Those changed until then of which nobody has said yet that all that follows from it is done, in the order
        of their changes."""
        ...

    async def settle(self, device: Device) -> None:
        """All that follows from the device's last change is done; nothing happens where it was changed since."""
        ...

    async def at_site(self, site_id: str, now_ms: int) -> Sequence[Device]:
        """All that stand at the site now, in order of sn."""
        ...

    async def disabled_since(self, since_ms: int) -> Sequence[Device]:
        """Those disabled at or after a time, also where they are enabled again: session re-asserts it (rule 5)."""
        ...


# ── sites: MongoDB, owned by console ──────────────────────────────────────────────────────────────────────────────


class SiteStore(Protocol):
    """`sites`."""

    async def add(self, site: Site) -> None: ...

    async def find(self, site_ids: Sequence[str]) -> dict[str, Site]:
        """By site_id; unknown ones are absent."""
        ...

    async def page(self, after: str | None, limit: int) -> Sequence[Site]:
        """In order of site_id, after `after`."""
        ...


# ── sessions: Redis ───────────────────────────────────────────────────────────────────────────────────────────────


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A C_AUTH that passed every check but the replay guard."""

    session: Session
    sign: str
    """Lower-case; the guard keeps only a digest of it (E4)."""
    replay_window_ms: int


class FailureCount(msgspec.Struct, frozen=True):
    """Failed C_AUTHs of one source, and how long it takes until they are forgotten."""

    count: int
    window_left_ms: int


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

    async def update_device(self, sn: str, site_history: tuple[SiteSpan, ...], time_window_seconds: int | None) -> None:
        """Gives the current session of the device these, keeping its token and life, and tells the control stream;
        nothing where it has none, or has them already."""
        ...

    async def count_failures(self, sources: Sequence[str], window_ms: int) -> Sequence[FailureCount]:
        """Adds one failed C_AUTH to each source (address and sn) and returns its count within the window, which
        begins with the first (design rule 7). One call for a group."""
        ...


class EndedStore(Protocol):
    """The small set of ended sessions that outlives neither Redis nor the tokens (design rule 5)."""

    async def end_credential(self, access_id: str) -> None:
        """Puts it in the set and tells the control stream, in one call; harmless when repeated."""
        ...

    async def end_device(self, sn: str, disabled_at_ms: int) -> None:
        """Puts it in the set and tells the control stream, in one call; nothing where that time, or a later one, is
        there already."""
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


# ── presence: Redis, fenced (design rule 6); the last known one: MongoDB, written by the writer ────────────────────


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """That a device's request was accepted over TCP: its token lives on (T1), and it is online (T2)."""

    sn: str
    vendor_id: str
    token: str
    age_ms: int
    """How long ago that was."""
    epoch: int = 0
    """Under which the caller holds the device; 0 where it does not yet."""
    takes_over: bool = True
    """A connection carried it that did not before."""
    carried: bool = True
    """False: the connection is gone already, and the token alone is prolonged."""
    address: str = ""


class PresenceStore(Protocol):
    """Which devices are online, who holds each, and when it was last seen, by Redis's clock."""

    async def touch_many(self, touches: Sequence[Touch]) -> Sequence[int]:
        """The epoch under which each is held now; 0 where another connection has the newer request. One variadic call,
        which prolongs the tokens as well (design rule 4)."""
        ...

    async def leave_many(self, held: Sequence[tuple[str, int]]) -> Sequence[bool]:
        """Takes (sn, epoch) off line; False where the device is held under another epoch by now."""
        ...

    async def take_silent(self, longer_than_ms: int, limit: int) -> Sequence[Presence]:
        """Takes devices off line that were not seen for so long, and returns them."""
        ...

    async def held_elsewhere(self, sns: Sequence[str]) -> Sequence[bool]:
        """True where another process than this one holds the device, or held it last."""
        ...

    async def last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        """Of those that are online."""
        ...

    async def is_whole(self, for_ms: int) -> bool:
        """False until Redis has been asked this for so long without being flushed in between."""
        ...


class PresenceRecordStore(Protocol):
    """The last known presence, in `devices`."""

    async def apply(self, events: Sequence[PresenceEvent]) -> None:
        """Takes events in order; a stale one, and one of a device that is not registered, changes nothing."""
        ...

    async def find(self, sns: Sequence[str]) -> dict[str, Presence]:
        """By sn; those of which nothing is known are absent."""
        ...

    async def online_page(self, after: str | None, limit: int) -> Sequence[Presence]:
        """Those that are online, in order of sn, after `after`."""
        ...


# ── attendance: MongoDB, owned by the writer ──────────────────────────────────────────────────────────────────────


class StoredPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as stored, by the event it belongs to."""

    event_id: str
    sn: str
    content_type: str
    data: bytes
    received_at_ms: int

    @property
    def reference(self) -> PictureReference:
        """What analytics may know of it."""
        return PictureReference(hashlib.sha256(self.data).hexdigest(), len(self.data), self.content_type)


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
    erased: bool = False
    """With its person: all that is left is who passed when and where."""


class AttendanceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which attendances; times in milliseconds; [from, to). Ordered by receivedAt then eventId where
    `received_after_ms` is given (incremental reads), else newest recordTime first."""

    sn: str | None = None
    person_id: str | None = None
    site_id: str | None = None
    site_ids: tuple[str, ...] | None = None
    """At any of these sites."""
    from_ms: int | None = None
    to_ms: int | None = None
    received_after_ms: int | None = None
    after: tuple[int, str] | None = None
    """The last one of the earlier page: (ordering time in ms, event id)."""
    limit: int = 50


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the documents handed to a store; those neither new nor refused were there already."""

    new: int
    refused: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Event id to why this document, and no other, can never be stored."""
    past_retention: int = 0
    """Of those that are neither: how many were not stored, because their time to be kept is over (ADR 0023)."""


class AttendanceStore(Protocol):
    """`attendance`: the first stored wins for every member (design rule 2)."""

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """Adds those not there yet, majority and journal, then links pictures already stored, and fills in where a
        device assigned meanwhile stood."""
        ...

    async def fill_in_site(self, sn: str, site_history: tuple[SiteSpan, ...]) -> None:
        """Gives the device's attendances the site and the direction that they lack, as of their recordTime."""
        ...

    async def erase_person(self, person_id: str) -> None:
        """Erases from a deleted person's attendances, for good, everything but who passed when and where: picture and
        details, health data, QR code, temperature, coordinate. Those stored later are erased as they are stored."""
        ...

    async def find(self, event_id: str) -> AttendanceRecord | None: ...

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]: ...

    def pages(self, query: AttendanceQuery) -> AsyncGenerator[Sequence[AttendanceRecord]]:
        """All that the query names, `limit` at a time, without qrCodeInfo and healthInfo, which may be megabytes. No
        more is read than the caller takes; it closes the generator."""
        ...


class SyntheticAttendanceStore(Protocol):
    """`synthetic_attendance`: what synthetic vendors' terminals signed in, for a day (ADR 0022). Nothing lists it."""

    async def add_many(self, events: Sequence[AttendanceEvent]) -> Added:
        """Adds those not there yet, majority and journal."""
        ...

    async def find(self, event_id: str) -> AttendanceEvent | None: ...


class PictureStore(Protocol):
    """`pictures`: one document an event; never creates an attendance (design rule 9)."""

    async def add_many(self, pictures: Sequence[StoredPicture]) -> Added:
        """Adds those that are absent, then marks their attendances hasImage, with the stored picture's reference, by an
        update that does not insert."""
        ...

    async def add_details(self, details: Sequence[StoredDetails]) -> Added:
        """Adds what is absent of iris data and unknown members."""
        ...

    async def picture(self, event_id: str) -> StoredPicture | None: ...

    async def extra(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Unknown members as JSON text, by event id, where there are any."""
        ...


# ── tasks: MongoDB, made by console, served by task-api; the pending index: Redis ─────────────────────────────────


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task to be stored, with the persons that it names: fixed when it is made, so that pages are stable (T8)."""

    task: Task
    person_ids: tuple[str, ...] | None = None


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks, newest first."""

    sns: tuple[str, ...] | None = None
    """Of any of these devices."""
    state: TaskState | None = None
    apicode: Apicode | None = None
    before: str | None = None
    """The last task id of the earlier page."""
    limit: int = 50


class Unrelayed(msgspec.Struct, frozen=True):
    """A task, and how many entries of its history were relayed already."""

    task: Task
    relayed: int


class TaskStore(Protocol):
    """`tasks`: one document a task. Each change of state is one conditional update: of two racers one wins."""

    async def add_many(self, new: Sequence[NewTask]) -> None:
        """Adds them in order. Unavailable where an id is taken already; those before it are stored then."""
        ...

    async def find(self, task_ids: Sequence[str]) -> dict[str, Task]:
        """By id; unknown ones are absent."""
        ...

    async def person_ids(self, task_id: str) -> Sequence[str] | None:
        """The persons that it names; None where it names none, or is unknown."""
        ...

    async def person_ids_page(self, task_id: str, start: int, length: int) -> Sequence[str]:
        """Of the persons that it names `length` (1 or more) from the one numbered `start` on, as far as there are."""
        ...

    async def change(
        self, task_ids: Sequence[str], entry: HistoryEntry, *, sn: str | None = None, outcome: Outcome | None = None
    ) -> int:
        """Brings those that may come into the entry's state (domain.tasks.TRANSITIONS), and are the device's where
        `sn` is given, into it; returns how many."""
        ...

    async def page(self, query: TaskQuery) -> Sequence[Task]: ...

    async def open_of(self, sn: str) -> Sequence[Task]:
        """The device's tasks that have not ended, oldest first."""
        ...

    async def open_ids(self, after: str | None, limit: int) -> Sequence[tuple[str, str]]:
        """(task id, sn) of all tasks that have not ended, in order of id, after `after`."""
        ...

    async def overdue(self, now_ms: int, limit: int) -> Sequence[Task]:
        """Those that have not ended although they should have expired by now."""
        ...

    async def unrelayed(self, limit: int) -> Sequence[Unrelayed]:
        """Tasks whose history was not relayed to its end: those of some devices, all of each of these devices."""
        ...

    async def mark_relayed(self, counts: Mapping[str, int]) -> None:
        """Notes by task id how many entries were relayed; what was added since stays unrelayed."""
        ...


class PendingTasks(Protocol):
    """The ids of each device's tasks that have not ended; can be rebuilt from TaskStore (design rule 3)."""

    async def add_many(self, task_ids: Mapping[str, Sequence[str]], push: Sequence[PushCommand] = ()) -> int:
        """Adds ids by sn and tells the control stream of each device that gained one, with the current trace, then what
        is to be pushed, all in one call; returns how many ids were new."""
        ...

    async def remove_many(self, task_ids: Mapping[str, Sequence[str]]) -> int:
        """Removes ids by sn and tells the control stream of each device that lost one; returns how many there were."""
        ...

    async def oldest(self, sns: Sequence[str], limit: int) -> Sequence[Sequence[str]]:
        """Of each device at most `limit` ids, oldest first (M7). One round trip."""
        ...

    async def is_whole(self) -> bool:
        """False after Redis was flushed or lost, until the index was rebuilt."""
        ...

    async def begin_rebuild(self) -> str:
        """Gives the mark of this rebuilding."""
        ...

    async def end_rebuild(self, mark: str) -> bool:
        """The index is whole, unless Redis was flushed since the mark was given (False)."""
        ...


class PushedTasks(Protocol):
    """Ids of tasks that were pushed, until TaskStore has them as delivered (T5)."""

    async def add_many(self, task_ids: Sequence[str]) -> None: ...

    async def oldest(self, limit: int) -> Sequence[str]: ...

    async def remove_many(self, task_ids: Sequence[str]) -> None: ...


class Lock(Protocol):
    """Lets one process of several do a piece of background work; it expires by itself."""

    async def hold(self) -> bool:
        """Takes it, or prolongs it where it is held here; False where another holds it."""
        ...

    async def release(self) -> None:
        """Gives it up at once, where it is held here."""
        ...
