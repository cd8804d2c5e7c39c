"""A world of persons, sites and terminals, in which the rules of rosters are tried. What terminals hold is kept as
content, names and faces, and never as versions."""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from shared.domain import roster_plans, roster_reports, rosters
from shared.domain.persons import NewPerson, Person, PersonVersions, put_person, with_face
from shared.domain.roster_plans import Step
from shared.domain.roster_reports import Reported
from shared.domain.rosters import OTHER_NAME, PUTTING, Planned, Roster
from shared.domain.tasks import Failure, HistoryEntry, Outcome, Task, TaskState, made_task
from shared.protocol.apicodes import Apicode

DAY_MS = 86_400_000
NO_OUTCOME = Outcome()
Content = tuple[str, str | None]
"""Name and face."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is under test; a mutant replaces one of them."""

    versions: Callable[[Person], PersonVersions] = lambda person: person.versions
    begun: Callable[[Roster, Planned], Roster] = rosters.begun
    settled: Callable[[Roster, Mapping[str, Task], Mapping[str, PersonVersions], int], Roster] = roster_plans.settled
    corrected: Callable[..., Roster] = roster_reports.corrected
    planned: Callable[[Roster, Mapping[str, PersonVersions], int], tuple[Roster, Step | None]] = roster_plans.planned
    desired_is_read_last: bool = True
    """After the tasks."""


class Terminal(msgspec.Struct):
    """A device, what the platform believes of it, and a planner somewhere in the middle of its work."""

    site: str | None = None
    held: dict[str, Content] = msgspec.field(default_factory=dict)
    roster: Roster = Roster()
    looked_at: tuple[Roster, Mapping[str, Task]] | None = None
    desired: Mapping[str, PersonVersions] | None = None
    is_tampered: bool = False
    pages: dict[str, dict[int, Mapping[str, Reported]]] = msgspec.field(default_factory=dict)
    ran: dict[str, set[str]] = msgspec.field(default_factory=dict)
    """By task, whom it carried the task out for."""
    leaves_out: dict[str, Collection[str]] = msgspec.field(default_factory=dict)


class World:
    """Everything at one time."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now_ms = 1_795_500_000_000
        self.persons: dict[str, Person] = {}
        self.markers: dict[str, int] = {}
        self.terminals = {"SN1": Terminal(), "SN2": Terminal()}
        self.tasks: dict[str, Task] = {}
        self._last_id = 6_541_951_958_563_696_640

    # ── operators ─────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, person_id: str, name: str, site_ids: tuple[str, ...]) -> None:
        new = NewPerson(person_id=person_id, name=name, site_ids=site_ids)
        changes = self.markers.pop(person_id, 0)
        self.persons[person_id] = put_person(self.persons.get(person_id), changes, new, self.now_ms)

    def set_face(self, person_id: str, face: str | None) -> None:
        if person_id in self.persons:
            self.persons[person_id] = with_face(self.persons[person_id], face, 1, self.now_ms)

    def delete(self, person_id: str) -> None:
        if person_id in self.persons:
            self.markers[person_id] = self.persons.pop(person_id).changes

    def make(self, sn: str, step: Step, *, by_planner: bool, is_lost: bool = False) -> Planned:
        """A task: first in the roster, then in the store, unless its maker dies in between."""
        terminal = self.terminals[sn]
        self._last_id += 1
        planned = Planned(
            task_id=str(self._last_id),
            apicode=step.apicode,
            at_ms=self.now_ms,
            by_planner=by_planner,
            persons=step.persons,
        )
        terminal.roster = self.rules.begun(terminal.roster, planned)
        if not is_lost:
            self.store(sn, planned)
        return planned

    def store(self, sn: str, planned: Planned) -> None:
        self.tasks[planned.task_id] = made_task(planned.task_id, sn, planned.apicode, at_ms=self.now_ms, actor="test")

    def end(self, task_id: str, state: TaskState, outcome: Outcome = NO_OUTCOME) -> None:
        """What has ended stays as it ended (T7)."""
        task = self.tasks[task_id]
        if task.is_open:
            entry = HistoryEntry(at_ms=self.now_ms, state=state, actor="test")
            self.tasks[task_id] = msgspec.structs.replace(task, history=(*task.history, entry), outcome=outcome)

    # ── the planner ───────────────────────────────────────────────────────────────────────────────────────────────

    def desired(self, sn: str) -> dict[str, PersonVersions]:
        site = self.terminals[sn].site
        return {
            person_id: self.rules.versions(person)
            for person_id, person in self.persons.items()
            if site is not None and site in person.site_ids
        }

    def look(self, sn: str) -> None:
        """The first reading: the roster, and its tasks, of which it makes again what the store lacks."""
        terminal = self.terminals[sn]
        for planned in terminal.roster.open:
            if planned.task_id not in self.tasks:
                self.store(sn, planned)
        terminal.looked_at = (terminal.roster, dict(self.tasks))
        terminal.desired = None if self.rules.desired_is_read_last else self.desired(sn)

    def look_again(self, sn: str) -> None:
        """The second reading, some time after the first: what should be there."""
        terminal = self.terminals[sn]
        if self.rules.desired_is_read_last:
            terminal.desired = self.desired(sn)
        elif terminal.looked_at is not None:
            terminal.looked_at = (terminal.looked_at[0], dict(self.tasks))

    def plan(self, sn: str, *, dies: bool = False) -> Planned | None:
        """Settles and plans with what was read, unless the roster was changed since."""
        terminal = self.terminals[sn]
        if terminal.looked_at is None or terminal.desired is None:
            return None
        (roster, tasks), desired = terminal.looked_at, terminal.desired
        terminal.looked_at = terminal.desired = None
        if roster is not terminal.roster:
            return None
        terminal.roster = self.rules.settled(roster, tasks, desired, self.now_ms)
        terminal.roster, step = self.rules.planned(terminal.roster, desired, self.now_ms)
        return None if step is None else self.make(sn, step, by_planner=True, is_lost=dies)

    # ── terminals ─────────────────────────────────────────────────────────────────────────────────────────────────

    def open_tasks(self, sn: str) -> Sequence[Planned]:
        return [one for one in self.terminals[sn].roster.open if one.task_id in self.tasks and self.is_open(one)]

    def is_open(self, planned: Planned) -> bool:
        return self.tasks[planned.task_id].is_open

    def carry_out(self, sn: str, planned: Planned, person_ids: Collection[str]) -> None:
        """For some of those it names, with what the platform gives now; also again."""
        terminal = self.terminals[sn]
        terminal.ran.setdefault(planned.task_id, set()).update(person_ids)
        if planned.apicode is Apicode.T_CLEAR_DEVICE_PERSON:
            terminal.held.clear()
        for person_id in person_ids:
            if planned.apicode is Apicode.T_DEL_DEVICE_PERSON:
                terminal.held.pop(person_id, None)
            elif planned.apicode in PUTTING and (person := self.persons.get(person_id)) is not None:
                terminal.held[person_id] = (person.name, person.face.sha256 if person.face else None)

    def finish(self, sn: str, planned: Planned, failed: Collection[str], faceless: Collection[str]) -> None:
        """Carries out what is left of a task, and reports it; of some it could not take the person or the face, and
        has then what it had before."""
        terminal = self.terminals[sn]
        before = dict(terminal.held)
        ran = terminal.ran.get(planned.task_id, set())
        self.carry_out(sn, planned, planned.persons.keys() - ran - set(failed))
        for person_id in faceless:
            if person_id in planned.persons and planned.apicode in PUTTING and person_id in terminal.held:
                terminal.held[person_id] = (terminal.held[person_id][0], before.get(person_id, ("", None))[1])
        outcome = Outcome(
            failed_persons=tuple(Failure(one, "7") for one in failed),
            failed_faces=tuple(Failure(one, "8") for one in faceless),
        )
        self.end(planned.task_id, TaskState.DONE, outcome)

    def report_page(self, sn: str, planned: Planned, number: int) -> None:
        """Page 1 has the persons of odd numbers, page 2 the others. The platform compares names as a page comes."""
        terminal = self.terminals[sn]
        left_out = terminal.leaves_out.get(planned.task_id, ())
        pages = terminal.pages.setdefault(planned.task_id, {})
        pages[number] = {
            person_id: Reported(
                name=None if "name" in left_out else self._name_version(person_id, name),
                has_face=None if "hasImg" in left_out else face is not None,
            )
            for person_id, (name, face) in terminal.held.items()
            if int(person_id[1:]) % 2 == number % 2
        }
        if len(pages) == 2:
            everybody = {**pages[1], **pages[2]}
            terminal.roster = self.rules.corrected(
                terminal.roster, planned.task_id, everybody, self.desired(sn), self.now_ms
            )

    def _name_version(self, person_id: str, name: str) -> int:
        person = self.persons.get(person_id)
        return person.name_version if person is not None and person.name == name else OTHER_NAME

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    def come_to_rest(self) -> None:
        """No more faults, no more changes: every terminal does what it is asked for, until nothing is."""
        for sn, terminal in self.terminals.items():
            self._drain(sn)
            if terminal.is_tampered:
                report = self.make(sn, Step(Apicode.T_POST_DEVICE_PERSON, {}), by_planner=False)
                for number in (1, 2):
                    self.report_page(sn, report, number)
                self.end(report.task_id, TaskState.DONE)
                self._drain(sn)
                terminal.roster = rosters.reconciled(terminal.roster)
            made = 0
            while (planned := self._plan_now(sn)) is not None:
                made += 1
                assert made <= 3, "at most three tasks bring a device to its site's roster"
                self.finish(sn, planned, (), ())

    def check(self) -> None:
        """Every terminal holds its site's persons, as they are now, and nobody else."""
        for sn, terminal in self.terminals.items():
            wanted = {
                person_id: (person.name, person.face.sha256 if person.face else None)
                for person_id, person in self.persons.items()
                if terminal.site is not None and terminal.site in person.site_ids
            }
            assert terminal.held == wanted, sn

    def _plan_now(self, sn: str) -> Planned | None:
        self.now_ms += 2 * DAY_MS
        self.look(sn)
        self.look_again(sn)
        return self.plan(sn)

    def _drain(self, sn: str) -> None:
        while True:
            self.look(sn)
            found = self.open_tasks(sn)
            for planned in found:
                self.finish(sn, planned, (), ())
            self.look(sn)
            self.look_again(sn)
            terminal = self.terminals[sn]
            assert terminal.desired is not None
            terminal.roster = self.rules.settled(terminal.roster, self.tasks, terminal.desired, self.now_ms)
            if not found:
                return
