"""Whatever happens to persons, sites, tasks and terminals, and in whatever order: once it stops, every terminal holds
what its site should, and three tasks are enough. Mutants of the rules show that the test can fail."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from shared.domain import roster_plans, rosters
from shared.domain.persons import Person, PersonVersions
from shared.domain.roster_plans import Step
from shared.domain.rosters import NO_FACE, Held, Planned, Roster
from shared.domain.tasks import Outcome, Task, TaskState
from shared.protocol.apicodes import Apicode
from tests.unit.shared.domain.roster_world import Rules, World

PERSONS = ("P1", "P2", "P3")
SITES = ("s1", "s2")

sns = st.sampled_from(("SN1", "SN2"))
person_ids = st.sampled_from(PERSONS)
some_persons = st.sets(person_ids)
picks = st.integers(0, 9)


class Happenings(RuleBasedStateMachine):
    """All that can happen."""

    rules_of_rosters = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.rules_of_rosters)
        for person_id in PERSONS[:2]:
            self.world.put(person_id, "a", ("s1",))
        for terminal in self.world.terminals.values():
            terminal.site = "s1"

    @rule(person_id=person_ids, name=st.sampled_from("ab"), site_ids=st.sampled_from(((), ("s1",), ("s2",), SITES)))
    def put(self, person_id: str, name: str, site_ids: tuple[str, ...]) -> None:
        self.world.put(person_id, name, site_ids)

    @rule(person_id=person_ids, face=st.sampled_from(("x", "y", None)))
    def set_face(self, person_id: str, face: str | None) -> None:
        self.world.set_face(person_id, face)

    @rule(person_id=person_ids)
    def delete(self, person_id: str) -> None:
        self.world.delete(person_id)

    @rule(sn=sns, site=st.sampled_from((*SITES, None)))
    def move(self, sn: str, site: str | None) -> None:
        self.world.terminals[sn].site = site

    @rule(seconds=st.sampled_from((1, 60, 3600, 100_000)))
    def wait(self, seconds: int) -> None:
        self.world.now_ms += seconds * 1000

    @rule(sn=sns)
    def look(self, sn: str) -> None:
        self.world.look(sn)

    @rule(sn=sns)
    def look_again(self, sn: str) -> None:
        if self.world.terminals[sn].looked_at is not None:
            self.world.look_again(sn)

    @rule(sn=sns, dies=st.booleans())
    def plan(self, sn: str, *, dies: bool) -> None:
        self.world.plan(sn, dies=dies)

    @rule(sn=sns)
    def plan_at_once(self, sn: str) -> None:
        self.world.look(sn)
        self.world.look_again(sn)
        self.world.plan(sn)

    @rule(
        sn=sns,
        apicode=st.sampled_from(sorted(rosters.ROSTER_APICODES)),
        persons=some_persons,
        leaves_out=st.sets(st.sampled_from(("name", "hasImg"))),
    )
    def operate(self, sn: str, apicode: Apicode, persons: set[str], leaves_out: set[str]) -> None:
        known = {one: self.world.rules.versions(self.world.persons[one]) for one in persons & self.world.persons.keys()}
        if apicode is Apicode.T_DEL_DEVICE_PERSON:
            known = dict.fromkeys(persons, rosters.NOBODY)
        elif apicode not in rosters.PUTTING:
            known = {}
        planned = self.world.make(sn, Step(apicode, known), by_planner=False)
        self.world.terminals[sn].leaves_out[planned.task_id] = leaves_out

    def picked(self, sn: str, pick: int) -> Planned | None:
        found = self.world.open_tasks(sn)
        return found[pick % len(found)] if found else None

    @rule(sn=sns, pick=picks, persons=some_persons)
    def carry_out_a_part(self, sn: str, pick: int, persons: set[str]) -> None:
        if (planned := self.picked(sn, pick)) is not None:
            self.world.carry_out(sn, planned, persons & planned.persons.keys())

    @rule(sn=sns, pick=picks, failed=some_persons, faceless=some_persons)
    def finish(self, sn: str, pick: int, failed: set[str], faceless: set[str]) -> None:
        if (planned := self.picked(sn, pick)) is not None:
            self.world.finish(sn, planned, failed, faceless - failed)

    @rule(sn=sns, pick=picks)
    def finish_well(self, sn: str, pick: int) -> None:
        if (planned := self.picked(sn, pick)) is not None:
            self.world.finish(sn, planned, (), ())

    @rule(
        sn=sns,
        pick=picks,
        state=st.sampled_from((TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.CANCELLED, TaskState.EXPIRED)),
    )
    def end_otherwise(self, sn: str, pick: int, state: TaskState) -> None:
        if (planned := self.picked(sn, pick)) is not None:
            self.world.end(planned.task_id, state)

    @rule(pick=picks)
    def report_again_how_a_task_ended(self, pick: int) -> None:
        ended = [task_id for task_id, task in self.world.tasks.items() if not task.is_open]
        if ended:
            self.world.end(ended[pick % len(ended)], TaskState.DONE)

    @rule(sn=sns, pick=picks, number=st.sampled_from((1, 2)))
    def report_a_page(self, sn: str, pick: int, number: int) -> None:
        reports = [one for one in self.world.open_tasks(sn) if one.apicode is Apicode.T_POST_DEVICE_PERSON]
        if reports:
            self.world.report_page(sn, reports[pick % len(reports)], number)

    @rule(sn=sns, person_id=st.sampled_from((*PERSONS, "P9")), how=st.sampled_from(("takes", "renames", "adds")))
    def tamper(self, sn: str, person_id: str, how: str) -> None:
        """Somebody at the terminal changes something; the report and the reconcile at the end make it good."""
        terminal = self.world.terminals[sn]
        terminal.is_tampered = True
        if how == "takes":
            terminal.held.pop(person_id, None)
        elif how == "adds" or person_id in terminal.held:
            terminal.held[person_id] = ("z", None)

    def teardown(self) -> None:
        self.world.come_to_rest()
        self.world.check()


class FewHappenings(RuleBasedStateMachine):
    """The same world, so small that a mutant is found soon: one terminal, one person, no reports."""

    rules_of_rosters = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.rules_of_rosters)
        self.world.put("P1", "a", ("s1",))
        self.world.terminals["SN1"].site = "s1"

    @rule(name=st.sampled_from("ab"), site_ids=st.sampled_from(((), ("s1",))))
    def put(self, name: str, site_ids: tuple[str, ...]) -> None:
        self.world.put("P1", name, site_ids)

    @rule()
    def plan(self) -> None:
        self.world.look("SN1")
        self.world.look_again("SN1")
        self.world.plan("SN1")

    @rule(apicodes=st.permutations((Apicode.T_SEND_PERSON, Apicode.T_DEL_DEVICE_PERSON)), count=st.integers(1, 2))
    def operate(self, apicodes: list[Apicode], count: int) -> None:
        for apicode in apicodes[:count]:
            versions = self.world.rules.versions(self.world.persons["P1"])
            self.world.make("SN1", Step(apicode, {"P1": versions}), by_planner=False)

    @rule(how=st.sampled_from(("begin", "finish", "fail", "cancel")))
    def carry_out(self, how: str) -> None:
        """Of all open tasks, the last first."""
        for planned in reversed(self.world.open_tasks("SN1")):
            if how == "begin":
                self.world.carry_out("SN1", planned, planned.persons.keys())
            elif how == "cancel":
                self.world.end(planned.task_id, TaskState.CANCELLED)
            else:
                self.world.finish("SN1", planned, planned.persons.keys() if how == "fail" else (), ())

    @rule(names=st.tuples(st.sampled_from("ab"), st.sampled_from("ab")))
    def rename_around_the_beginning(self, names: tuple[str, str]) -> None:
        self.put(names[0], ("s1",))
        self.carry_out("begin")
        self.put(names[1], ("s1",))

    def teardown(self) -> None:
        self.world.come_to_rest()
        self.world.check()


def run(kind: type[RuleBasedStateMachine], rules: Rules, *, examples: int, steps: int) -> None:
    """Raises AssertionError where some terminal does not end equal to its site."""
    run_state_machine_as_test(
        type(kind.__name__, (kind,), {"rules_of_rosters": rules}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_terminal_ends_equal_to_its_site() -> None:
    run(Happenings, Rules(), examples=200, steps=30)


def test_one_terminal_with_one_person_ends_equal_to_its_site() -> None:
    run(FewHappenings, Rules(), examples=200, steps=10)


# ── mutants ───────────────────────────────────────────────────────────────────────────────────────────────────────


def by_content(person: Person) -> PersonVersions:
    name, face = {"a": 1, "b": 2}[person.name], {"x": 1, "y": 2}[person.face.sha256] if person.face else NO_FACE
    return PersonVersions(name, face, 10 * name + face)


def without_changes(person: Person) -> PersonVersions:
    return PersonVersions(person.name_version, person.face_version, 0)


def begun_undisturbed(roster: Roster, new: Planned) -> Roster:
    return msgspec.structs.replace(roster, open=(*roster.open, new))


def all_as_done(
    roster: Roster, tasks: Mapping[str, Task], desired: Mapping[str, PersonVersions], now_ms: int
) -> Roster:
    """What became of a task that was not done is taken as if nothing had."""
    before = roster.believed
    kept = [one for one in roster.open if one.task_id in tasks and tasks[one.task_id].state in UNCERTAIN]
    roster = roster_plans.settled(roster, tasks, desired, now_ms)
    return msgspec.structs.replace(roster, believed=before) if kept else roster


UNCERTAIN = (TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.CANCELLED, TaskState.EXPIRED)


def failures_forgotten(
    roster: Roster, tasks: Mapping[str, Task], desired: Mapping[str, PersonVersions], now_ms: int
) -> Roster:
    """Failed persons and faces are taken as done."""
    forgetful = {task_id: msgspec.structs.replace(task, outcome=Outcome()) for task_id, task in tasks.items()}
    return roster_plans.settled(roster, forgetful, desired, now_ms)


def as_now(roster: Roster, tasks: Mapping[str, Task], desired: Mapping[str, PersonVersions], now_ms: int) -> Roster:
    """What was done is taken to be what should be there by now, and not what should when the task was made."""
    sure = {one for one, held in roster.believed.items() if held.sure}
    roster = roster_plans.settled(roster, tasks, desired, now_ms)
    now = {one: Held(name=desired[one].name, face=desired[one].face) for one in desired}
    believed = {
        one: now.get(one, held) if held.sure and one not in sure else held for one, held in roster.believed.items()
    }
    return msgspec.structs.replace(roster, believed=believed)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(Rules(versions=by_content), id="versions are content"),
        pytest.param(Rules(begun=begun_undisturbed), id="tasks do not disturb one another"),
        pytest.param(Rules(settled=all_as_done), id="what is unsure is forgotten"),
        pytest.param(Rules(settled=failures_forgotten), id="failures are forgotten"),
        pytest.param(Rules(settled=as_now), id="versions are those of the end"),
    ],
)
def test_a_mutant_leaves_some_terminal_unequal(mutant: Rules) -> None:
    with pytest.raises(AssertionError):
        run(FewHappenings, mutant, examples=500, steps=10)


# ── what hardly ever happens ──────────────────────────────────────────────────────────────────────────────────────


def a_face_that_comes_and_goes(rules: Rules, *, looked_before: bool) -> World:
    """SN1 fetches P1 while they have a face, which they had neither before nor after."""
    world = World(rules)
    world.put("P1", "a", ("s1",))
    world.terminals["SN1"].site = "s1"
    planned = world.make("SN1", Step(Apicode.T_SEND_PERSON, world.desired("SN1")), by_planner=True)
    if looked_before:
        world.look("SN1")
    world.set_face("P1", "x")
    world.finish("SN1", planned, (), ())
    if not looked_before:
        world.look("SN1")
    world.set_face("P1", None)
    world.look_again("SN1")
    world.plan("SN1")
    world.come_to_rest()
    return world


@pytest.mark.parametrize("looked_before", [False, True])
def test_a_face_that_came_and_went_while_a_task_ran_does_not_stay(*, looked_before: bool) -> None:
    a_face_that_comes_and_goes(Rules(), looked_before=looked_before).check()


@pytest.mark.parametrize(
    ("mutant", "looked_before"),
    [
        pytest.param(Rules(versions=without_changes), False, id="equal versions are equal at all times between"),
        pytest.param(Rules(desired_is_read_last=False), True, id="what should be there is read before the tasks"),
    ],
)
def test_a_mutant_leaves_the_face_there(mutant: Rules, *, looked_before: bool) -> None:
    with pytest.raises(AssertionError):
        a_face_that_comes_and_goes(mutant, looked_before=looked_before).check()
