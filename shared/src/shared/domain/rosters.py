"""Which persons a device is believed to hold, and what became of the tasks about them (T8, T9, T11). Which task comes
next, and how this compares with what the device should hold, stands in roster_plans.py.

1. Should hold: the persons of the device's site, by PersonVersions. Believed: what follows from tasks that ended and
   from the device's reports. What may have been carried out or not is unsure, and is done again.
2. Of tasks that were open at the same time nobody knows which the device carried out last: whom one changed and the
   other is about is unsure when the other ends.
3. No name and no face is kept here, versions alone, so nothing of a person remains who is deleted.
"""

from collections.abc import Collection, Mapping

import msgspec

from shared.domain.persons import PersonVersions
from shared.domain.tasks import Outcome, TaskState
from shared.protocol.apicodes import Apicode

ROSTER_APICODES = frozenset(
    (
        Apicode.T_SEND_PERSON,
        Apicode.T_UPDATE_DEVICE_PERSON,
        Apicode.T_DEL_DEVICE_PERSON,
        Apicode.T_CLEAR_DEVICE_PERSON,
        Apicode.T_POST_DEVICE_PERSON,
    )
)
"""Tasks about which persons a device holds."""
PUTTING = frozenset((Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON))

NOBODY = PersonVersions(0, 0, 0)
"""Of a person whom the device should not hold."""
OTHER_NAME = 0
NO_FACE = 0
SOME_FACE = -1
"""Which one is not known."""
ANY_FACE = -2
"""Which one, and whether there is one, is not known."""

_WAITS_MS = (60_000, 360_000, 2_160_000, 12_960_000, 77_760_000, 86_400_000)


class Held(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A person whom a device is believed to hold."""

    name: int = OTHER_NAME
    """The version; OTHER_NAME: not known, or none of ours."""
    face: int = ANY_FACE
    """The version, NO_FACE, SOME_FACE or ANY_FACE."""
    sure: bool = True
    """False: it may hold the person or not, and anything of them."""
    reported: bool | None = None
    """Of an unsure one: whether the newest report, which another task may have overtaken, had the person; None where
    something was done since. It is shown so, and done again all the same."""
    foreign: bool = False
    """Reported by the device, and never put there by us: nothing is done about the person until an operator asks."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is about the roster, from before it can reach the device until its end was taken into account."""

    task_id: str
    apicode: Apicode
    at_ms: int
    by_planner: bool
    persons: Mapping[str, PersonVersions] = msgspec.field(default_factory=dict)
    """Whom it names, as they were when it was made; what the device is given is never older."""
    disturbed: frozenset[str] = frozenset()
    """Persons whom another task, open at the same time, changes."""
    all_disturbed: bool = False
    """Another task, open at the same time, takes everybody away."""

    def is_disturbed(self, person_id: str) -> bool:
        """Whether its end says nothing of the person (rule 2)."""
        return self.all_disturbed or person_id in self.disturbed


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """What a device could not do of one person, and how often it was tried; of all of a task where `what` is none."""

    attempts: int
    at_ms: int
    what: str | None = None
    """`person` or `face`."""
    code: str | None = None
    """The device's own."""
    versions: PersonVersions = NOBODY
    """As attempted; what is different now is tried at once."""

    @property
    def again_ms(self) -> int:
        """When it is tried again: 1 minute after the first time, six times as long after each, a day at most."""
        return self.at_ms + _WAITS_MS[min(self.attempts, len(_WAITS_MS)) - 1]


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one device."""

    believed: Mapping[str, Held] = msgspec.field(default_factory=dict)
    """By person; who is absent is not there for sure."""
    open: tuple[Planned, ...] = ()
    failures: Mapping[str, Failed] = msgspec.field(default_factory=dict)
    """By person."""
    back_off: Failed | None = None
    """The planner's last task failed as a whole."""
    awaits: bool = False
    """Something was tried, or asked for, since nothing was left to be done."""
    planned_for: bytes | None = None
    """A digest of what it should hold, as of when nothing was left to be done."""
    report_id: str | None = None
    """The task of the newest report."""
    reported_at_ms: int | None = None
    """When a report was whole last."""
    report_is_whole: bool = False
    """Of the newest one."""


def begun(roster: Roster, new: Planned, over: Collection[str] = ()) -> Roster:
    """With a task that is about to be made. `over`: those of the open ones that have ended already, which is still to
    be taken into account: they were not open at the same time."""
    for one in roster.open:
        if one.task_id not in over:
            new = _disturbed(new, one)
    earlier = [one if one.task_id in over else _disturbed(one, new) for one in roster.open]
    return msgspec.structs.replace(roster, open=(*earlier, new))


def _disturbed(task: Planned, other: Planned) -> Planned:
    if other.apicode is Apicode.T_POST_DEVICE_PERSON:
        return task  # it changes nobody
    if other.apicode is Apicode.T_CLEAR_DEVICE_PERSON:
        return msgspec.structs.replace(task, all_disturbed=True)
    return msgspec.structs.replace(task, disturbed=task.disturbed | other.persons.keys())


def ended(
    roster: Roster,
    task: Planned,
    state: TaskState,
    outcome: Outcome,
    desired: Mapping[str, PersonVersions],
    now_ms: int,
) -> Roster:
    """After the end of one of its open tasks. `desired` must have been read after the task had ended."""
    believed = dict(roster.believed)
    is_done = state is TaskState.DONE
    failed = {one.person_id for one in outcome.failed_persons}
    faceless = {one.person_id for one in outcome.failed_faces}
    if task.apicode in PUTTING:
        for person_id, made in task.persons.items():
            if not is_done or person_id in failed or task.is_disturbed(person_id):
                believed[person_id] = Held(sure=False)
            elif person_id in faceless:
                believed[person_id] = Held(name=made.name, face=_face_kept(roster.believed.get(person_id)))
            else:
                believed[person_id] = Held(name=made.name, face=_face_given(made, desired.get(person_id, NOBODY)))
    elif task.apicode is not Apicode.T_POST_DEVICE_PERSON:
        of_all = task.apicode is Apicode.T_CLEAR_DEVICE_PERSON
        for person_id in believed.keys() if of_all else believed.keys() & task.persons.keys():
            if not is_done or person_id in failed or task.is_disturbed(person_id):
                believed[person_id] = _unsure(believed[person_id])
            else:
                believed[person_id] = _GONE
    return _tidied(
        msgspec.structs.replace(
            roster,
            believed={person_id: held for person_id, held in believed.items() if held is not _GONE},
            open=tuple(one for one in roster.open if one.task_id != task.task_id),
            failures=_failures_after(roster, task, outcome, now_ms, is_done=is_done),
            awaits=roster.awaits or task.apicode is not Apicode.T_POST_DEVICE_PERSON,
            back_off=_back_off_after(roster.back_off, task, state, outcome, now_ms),
        ),
        desired,
    )


_GONE = Held(sure=False, foreign=True)


def _unsure(held: Held) -> Held:
    return Held(sure=False, foreign=held.foreign)


def _face_given(made: PersonVersions, now: PersonVersions) -> int:
    # Versions of faces rise, but "none" has one version for all times: there may have been a face in between.
    return ANY_FACE if made.face == NO_FACE and made.changes != now.changes else made.face


def _face_kept(before: Held | None) -> int:
    # A device that cannot take a face may keep the earlier one.
    return NO_FACE if before is None or (before.sure and before.face == NO_FACE) else ANY_FACE


def _failures_after(
    roster: Roster, task: Planned, outcome: Outcome, now_ms: int, *, is_done: bool
) -> Mapping[str, Failed]:
    if task.apicode is Apicode.T_POST_DEVICE_PERSON:
        return roster.failures
    if task.apicode is Apicode.T_CLEAR_DEVICE_PERSON:
        return {} if is_done else roster.failures
    failures = dict(roster.failures)
    if is_done:
        for person_id in task.persons:
            failures.pop(person_id, None)
    # A person weighs more than a face
    for what, named in (("face", outcome.failed_faces), ("person", outcome.failed_persons)):
        for one in named:
            if (versions := task.persons.get(one.person_id)) is not None:
                before = roster.failures.get(one.person_id)
                again = before is not None and before.versions == versions
                failures[one.person_id] = Failed(
                    attempts=before.attempts + 1 if before is not None and again else 1,
                    at_ms=now_ms,
                    what=what,
                    code=one.code,
                    versions=versions,
                )
    return failures


def _back_off_after(
    before: Failed | None, task: Planned, state: TaskState, outcome: Outcome, now_ms: int
) -> Failed | None:
    if not task.by_planner or state is TaskState.CANCELLED:
        return before
    if state is TaskState.DONE:
        return None
    if any(one.person_id in task.persons for one in (*outcome.failed_persons, *outcome.failed_faces)):
        return before
    return Failed(attempts=1 if before is None else before.attempts + 1, at_ms=now_ms)


def _tidied(roster: Roster, desired: Collection[str]) -> Roster:
    """Failures of persons who are neither there nor to be there are of no interest."""
    failures = {
        person_id: failure
        for person_id, failure in roster.failures.items()
        if person_id in desired or person_id in roster.believed
    }
    return msgspec.structs.replace(roster, failures=failures)


def adopted(roster: Roster, desired: Collection[str]) -> Roster:
    """Who was foreign and belongs to the site by now is ours."""
    ours = {
        person_id: msgspec.structs.replace(held, foreign=False)
        for person_id, held in roster.believed.items()
        if held.foreign and person_id in desired
    }
    return _tidied(msgspec.structs.replace(roster, believed={**roster.believed, **ours}) if ours else roster, desired)


def reconciled(roster: Roster) -> Roster:
    """As an operator asks for it: the foreign go, too, and what failed is tried again at once."""
    believed = {person_id: msgspec.structs.replace(held, foreign=False) for person_id, held in roster.believed.items()}
    return msgspec.structs.replace(roster, believed=believed, failures={}, back_off=None, awaits=True)
