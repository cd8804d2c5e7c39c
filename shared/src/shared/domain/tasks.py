"""Tasks of devices: what one is, which state may follow which, its id, and the param that its device is given (T5–T11).

A task's history is its truth: `device.task.v1` is relayed from it. How tasks are kept stands in the stores.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from shared.domain.firmware import FirmwareReference
from shared.domain.links import FileKind, Links
from shared.protocol.apicodes import Apicode


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DONE = "done"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_ENDS = frozenset(
    (TaskState.DONE, TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.CANCELLED, TaskState.EXPIRED),
)

TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    # A device may report a task that it was never given: the answer that gave it, or the mark, may have been lost.
    TaskState.PENDING: _ENDS | {TaskState.DELIVERED},
    TaskState.DELIVERED: _ENDS,
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.UNSUPPORTED: frozenset(),
    TaskState.CANCELLED: frozenset(),
    TaskState.EXPIRED: frozenset(),
}
"""Which states may follow each. What has ended stays as it ended (T7)."""

OPEN_STATES = frozenset(state for state, following in TRANSITIONS.items() if following)
"""States in which a task is listed in heartbeats (T5)."""

STATUS_STATES: Mapping[int, TaskState] = {1: TaskState.DONE, 2: TaskState.FAILED, 3: TaskState.UNSUPPORTED}
"""The state that each status of T_UPDATE_TASKS_STATUS means (3.2.2)."""


def states_before(state: TaskState) -> frozenset[TaskState]:
    """The states from which a task may come into this one."""
    return frozenset(earlier for earlier, following in TRANSITIONS.items() if state in following)


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a task's state."""

    at_ms: int
    state: TaskState
    actor: str
    """DEVICE, PLATFORM, PLANNER, or an operator's name."""
    reason: str | None = None
    traceparent: str | None = None
    """Of the request that made the change, where it is traced; the first entry's is the trace of the task."""


DEVICE = "device"
PLATFORM = "platform"
PLANNER = "planner"


class Failure(msgspec.Struct, frozen=True):
    """A person whom the device could not take, or whose face it could not, and the device's own code for why."""

    person_id: str
    code: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a device reported with the end of a task; what it left out is None or empty."""

    person_count: int | None = None
    face_count: int | None = None
    failed_persons: tuple[Failure, ...] = ()
    failed_faces: tuple[Failure, ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is to do. The persons that it names, which may be 10,000, are kept beside it."""

    task_id: str
    sn: str
    apicode: Apicode
    push: bool = False
    """Also pushed over TCP (C1)."""
    expires_at_ms: int | None = None
    exclude_fields: tuple[str, ...] = ()
    """T_POST_DEVICE_PERSON: fields that the device leaves out of its report."""
    named_persons: int | None = None
    """How many persons it names; None where it is not about persons that are named."""
    firmware: FirmwareReference | None = None
    """T_UPDATE_DEVICE_VERSION: the package."""
    history: tuple[HistoryEntry, ...]
    """Oldest first, never empty: the first entry is its making."""
    outcome: Outcome = Outcome()

    @property
    def state(self) -> TaskState:
        """Where it stands now."""
        return self.history[-1].state

    @property
    def is_open(self) -> bool:
        """False once it has ended."""
        return self.state in OPEN_STATES

    def is_open_at(self, now_ms: int) -> bool:
        """False also where its time is over and nobody has ended it yet: no device is given it any more."""
        return self.is_open and (self.expires_at_ms is None or now_ms < self.expires_at_ms)


def made_task(
    task_id: str,
    sn: str,
    apicode: Apicode,
    *,
    at_ms: int,
    actor: str,
    push: bool = False,
    expires_at_ms: int | None = None,
    exclude_fields: tuple[str, ...] = (),
    named_persons: int | None = None,
    firmware: FirmwareReference | None = None,
    traceparent: str | None = None,
) -> Task:
    """A new task, pending."""
    return Task(
        task_id=task_id,
        sn=sn,
        apicode=apicode,
        push=push,
        expires_at_ms=expires_at_ms,
        exclude_fields=exclude_fields,
        named_persons=named_persons,
        firmware=firmware,
        history=(HistoryEntry(at_ms=at_ms, state=TaskState.PENDING, actor=actor, traceparent=traceparent),),
    )


def task_param(task: Task, links: Links, now_ms: int) -> str | None:
    """The task's param as compact JSON text, an object; None where there is nothing to say (T6, T10, C1)."""
    if task.apicode is Apicode.T_POST_DEVICE_PERSON and task.exclude_fields:
        # The table types it as String (3.1.3): the names in one text, as a terminal built from the tables reads it.
        return _compact({"excludeFields": ",".join(task.exclude_fields)})
    if task.firmware is not None:
        return package_text(task.firmware, links, now_ms)
    return None


def package_text(firmware: FirmwareReference, links: Links, now_ms: int) -> str:
    """What a device is told of a package, as compact JSON text, an object (3.7, T10)."""
    return _compact(
        {
            "version": firmware.version,
            "size": firmware.size,
            "downloadUrl": links.url(FileKind.FIRMWARE, firmware.firmware_id, now_ms),
            "sha256": firmware.sha256,
        }
    )


def _compact(members: Mapping[str, str | int]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────

LOW_BITS = 22
NODE_BITS = 10
_SEQUENCE_BITS = LOW_BITS - NODE_BITS
_MAX_ID_DIGITS = 20


def task_id(at_ms: int, low_bits: int) -> str:
    """A 64-bit number in decimal, in order of time: milliseconds since the epoch, then 22 bits (T5). Of 19 digits
    until the year 2039, so that the texts sort as the numbers do."""
    return str(at_ms << LOW_BITS | low_bits)


def is_task_id(text: str) -> bool:
    """False for what cannot be the id of any task, however long it is."""
    return len(text) <= _MAX_ID_DIGITS and text.isascii() and text.isdecimal()


class TaskIds:
    """Gives ids in ascending order, also while the clock stands still or goes back.

    `node` (10 bits) tells makers apart that make tasks at the same time; draw it at the start of a process.
    """

    def __init__(self, now_ms: Callable[[], int], node: int) -> None:
        self._now_ms = now_ms
        self._node = node
        self._last_ms = 0
        self._sequence = 0

    def next(self) -> str:
        """A new id, above all earlier ones of this object."""
        now_ms = self._now_ms()
        if now_ms > self._last_ms:
            self._last_ms, self._sequence = now_ms, 0
        else:
            self._sequence += 1
            if self._sequence >> _SEQUENCE_BITS:
                self._last_ms, self._sequence = self._last_ms + 1, 0
        return task_id(self._last_ms, self._sequence << NODE_BITS | self._node)
