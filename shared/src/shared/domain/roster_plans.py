"""What a device should hold against what it is believed to hold: the task that comes next, and what differs.

Terminals may carry tasks out in any order, so nothing is planned while a task about the roster is open: at most three,
one after the other, bring a device to its site's roster.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from shared.domain.persons import PersonVersions
from shared.domain.rosters import ANY_FACE, NO_FACE, NOBODY, Held, Roster, adopted, ended
from shared.domain.tasks import Task
from shared.protocol.apicodes import Apicode

MAX_PERSONS = 10_000
"""Whom one task names; the rest follows with the next."""


class Step(msgspec.Struct, frozen=True):
    """A task to be made."""

    apicode: Apicode
    persons: Mapping[str, PersonVersions]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How a device differs from its site; each in order of person id."""

    missing: Sequence[str]
    extra: Sequence[str]
    different: Mapping[str, Sequence[str]]
    """By person, the names of the standard's fields that differ."""


def settled(roster: Roster, tasks: Mapping[str, Task], desired: Mapping[str, PersonVersions], now_ms: int) -> Roster:
    """After those of its open tasks that have ended, as they were found. `desired` must have been read after them."""
    for planned in roster.open:
        task = tasks.get(planned.task_id)
        if task is not None and not task.is_open:
            roster = ended(roster, planned, task.state, task.outcome, desired, now_ms)
    return adopted(roster, desired)


def planned(roster: Roster, desired: Mapping[str, PersonVersions], now_ms: int) -> tuple[Roster, Step | None]:
    """What is to be done next, where anything is, and the roster with that in mind. What a report alone has shown is
    left until something changes or an operator asks: somebody may want to look at it first."""
    digest = hashlib.sha256(msgspec.msgpack.encode(sorted(desired.items()))).digest()
    if roster.open or (not roster.awaits and roster.planned_for == digest):
        return roster, None
    step = next_step(roster, desired, now_ms)
    if step is None and not roster.failures and roster.back_off is None:
        roster = msgspec.structs.replace(roster, awaits=False, planned_for=digest)
    return roster, step


def next_step(roster: Roster, desired: Mapping[str, PersonVersions], now_ms: int) -> Step | None:
    """What is to be done first of all that differs; None where nothing does, the device has to finish something, or is
    given time after a failure."""
    if roster.open or (roster.back_off is not None and now_ms < roster.back_off.again_ms):
        return None
    too_many: dict[str, PersonVersions] = {}
    to_send: dict[str, PersonVersions] = {}
    to_update: dict[str, PersonVersions] = {}
    for person_id in sorted({*roster.believed, *desired}):
        held, wanted = roster.believed.get(person_id), desired.get(person_id, NOBODY)
        failure = roster.failures.get(person_id)
        if failure is not None and failure.versions == wanted and now_ms < failure.again_ms:
            continue
        if person_id not in desired:
            if held is not None and not held.foreign:
                too_many[person_id] = wanted
        elif held is None or not held.sure:
            to_send[person_id] = wanted
        elif (held.name, held.face) != (wanted.name, wanted.face):
            to_update[person_id] = wanted
    for apicode, persons in (
        (Apicode.T_DEL_DEVICE_PERSON, too_many),
        (Apicode.T_SEND_PERSON, to_send),
        (Apicode.T_UPDATE_DEVICE_PERSON, to_update),
    ):
        if persons:
            return Step(apicode, dict(list(persons.items())[:MAX_PERSONS]))
    return None


def again_ms(roster: Roster, now_ms: int) -> int | None:
    """When something that failed is to be tried again; None where nothing waits for that."""
    failures = [*roster.failures.values(), *([roster.back_off] if roster.back_off is not None else [])]
    return min((failure.again_ms for failure in failures if failure.again_ms > now_ms), default=None)


def compared(roster: Roster, desired: Mapping[str, PersonVersions]) -> Comparison:
    """Who may be there or not counts as the newest report has it; where nothing has been reported since, as missing
    where they should be there, else as extra."""
    there = {person_id for person_id, held in roster.believed.items() if held.sure or held.reported}
    gone = {person_id for person_id, held in roster.believed.items() if held.reported is False}
    both = sorted(there & desired.keys())
    fields = {person_id: _fields(roster.believed[person_id], desired[person_id]) for person_id in both}
    return Comparison(
        missing=sorted(desired.keys() - there),
        extra=sorted(roster.believed.keys() - desired.keys() - gone),
        different={person_id: names for person_id, names in fields.items() if names},
    )


def _fields(held: Held, wanted: PersonVersions) -> Sequence[str]:
    names = [] if held.name == wanted.name else ["name"]
    if held.face != ANY_FACE and (held.face == NO_FACE) != (wanted.face == NO_FACE):
        names.append("hasImg")
    elif held.face > NO_FACE and held.face != wanted.face:
        names.append("img")
    return names
