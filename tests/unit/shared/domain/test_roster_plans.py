"""Which task brings a device nearer to its site's roster, and how the two differ."""

import msgspec
import pytest

from shared.domain.persons import PersonVersions
from shared.domain.roster_plans import MAX_PERSONS, Comparison, Step, again_ms, compared, next_step, planned, settled
from shared.domain.rosters import ANY_FACE, NO_FACE, NOBODY, SOME_FACE, Failed, Held, Planned, Roster, begun, reconciled
from shared.domain.tasks import DEVICE, Failure, HistoryEntry, Outcome, Task, TaskState
from shared.protocol.apicodes import Apicode
from tests.support.session_values import NOW_MS
from tests.support.task_values import make_task

SEND, UPDATE, DEL = Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON, Apicode.T_DEL_DEVICE_PERSON
P1, P2 = PersonVersions(1, 3, 3), PersonVersions(1, 0, 1)
HELD_1, HELD_2 = Held(name=1, face=3), Held(name=1, face=NO_FACE)
UNSURE = Held(sure=False)
MINUTE_MS = 60_000


def believing(**held: Held) -> Roster:
    return Roster(believed=held)


# ── the next task ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_done_where_the_device_is_as_it_should_be() -> None:
    assert next_step(believing(P1=HELD_1, P2=HELD_2), {"P1": P1, "P2": P2}, NOW_MS) is None


@pytest.mark.parametrize(
    "held", [Held(name=0, face=3), Held(name=1, face=2), Held(name=1, face=SOME_FACE), Held(name=1, face=ANY_FACE)]
)
def test_who_is_held_otherwise_is_updated(held: Held) -> None:
    assert next_step(believing(P1=held, P2=HELD_2), {"P1": P1, "P2": P2}, NOW_MS) == Step(UPDATE, {"P1": P1})


@pytest.mark.parametrize("held", [{}, {"P1": UNSURE}])
def test_who_is_not_there_for_sure_is_sent(held: dict[str, Held]) -> None:
    assert next_step(Roster(believed=held), {"P1": P1}, NOW_MS) == Step(SEND, {"P1": P1})


@pytest.mark.parametrize("held", [HELD_1, UNSURE])
def test_who_may_be_there_and_should_not_is_deleted(held: Held) -> None:
    assert next_step(believing(P1=held, P2=HELD_2), {"P2": P2}, NOW_MS) == Step(DEL, {"P1": NOBODY})


def test_the_foreign_are_left_alone_until_they_belong_to_the_site_or_an_operator_asks() -> None:
    roster = believing(P1=Held(foreign=True), P2=Held(sure=False, foreign=True))
    assert next_step(roster, {}, NOW_MS) is None
    assert next_step(roster, {"P2": P2}, NOW_MS) == Step(SEND, {"P2": P2})
    assert next_step(reconciled(roster), {}, NOW_MS) == Step(DEL, {"P1": NOBODY, "P2": NOBODY})


def test_first_it_deletes_then_sends_then_updates() -> None:
    roster = believing(P1=HELD_1, P2=Held())
    assert next_step(roster, {"P2": P2, "P3": P1}, NOW_MS) == Step(DEL, {"P1": NOBODY})
    assert next_step(believing(P2=Held()), {"P2": P2, "P3": P1}, NOW_MS) == Step(SEND, {"P3": P1})
    assert next_step(believing(P2=Held(), P3=HELD_1), {"P2": P2, "P3": P1}, NOW_MS) == Step(UPDATE, {"P2": P2})


def test_a_device_has_one_open_task_of_its_roster_at_most() -> None:
    task = Planned(task_id="1", apicode=Apicode.T_POST_DEVICE_PERSON, at_ms=NOW_MS, by_planner=False)
    assert next_step(begun(Roster(), task), {"P1": P1}, NOW_MS) is None


def test_a_task_names_ten_thousand_and_the_rest_follows() -> None:
    desired = {f"P{number:05}": P1 for number in range(MAX_PERSONS + 1)}
    step = next_step(Roster(), desired, NOW_MS)
    assert step is not None
    assert len(step.persons) == MAX_PERSONS == 10_000
    rest = next_step(Roster(believed=dict.fromkeys(step.persons, HELD_1)), desired, NOW_MS)
    assert rest == Step(SEND, {f"P{MAX_PERSONS:05}": P1})


# ── after failures ────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_failed_is_not_tried_again_before_a_pause_and_the_others_are() -> None:
    roster = Roster(believed={"P1": UNSURE}, failures={"P1": Failed(attempts=1, at_ms=NOW_MS, versions=P1)})
    before, then = NOW_MS + MINUTE_MS - 1, NOW_MS + MINUTE_MS
    assert next_step(roster, {"P1": P1}, before) is None
    assert next_step(roster, {"P1": P1, "P2": P2}, before) == Step(SEND, {"P2": P2})
    assert next_step(roster, {"P1": P1}, then) == Step(SEND, {"P1": P1})
    assert again_ms(roster, before) == then
    assert again_ms(roster, then) is None


def test_who_failed_is_tried_again_at_once_where_something_is_different() -> None:
    roster = Roster(believed={"P1": UNSURE}, failures={"P1": Failed(attempts=9, at_ms=NOW_MS, versions=P1)})
    changed = PersonVersions(4, 3, 4)
    assert next_step(roster, {"P1": changed}, NOW_MS) == Step(SEND, {"P1": changed})
    assert next_step(roster, {}, NOW_MS) == Step(DEL, {"P1": NOBODY})
    assert next_step(reconciled(roster), {"P1": P1}, NOW_MS) == Step(SEND, {"P1": P1})


def test_a_device_whose_task_failed_as_a_whole_is_given_time() -> None:
    roster = Roster(back_off=Failed(attempts=1, at_ms=NOW_MS))
    assert next_step(roster, {"P1": P1}, NOW_MS + MINUTE_MS - 1) is None
    assert next_step(roster, {"P1": P1}, NOW_MS + MINUTE_MS) == Step(SEND, {"P1": P1})
    assert again_ms(roster, NOW_MS) == NOW_MS + MINUTE_MS


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_report_alone_has_shown_waits_for_a_change_or_an_operator() -> None:
    roster, step = planned(believing(P1=HELD_1), {"P1": P1}, NOW_MS)
    assert step is None
    corrected = msgspec.structs.replace(roster, believed={})
    assert planned(corrected, {"P1": P1}, NOW_MS) == (corrected, None)
    assert planned(corrected, {"P1": P1, "P2": P2}, NOW_MS)[1] == Step(SEND, {"P1": P1, "P2": P2})
    assert planned(reconciled(corrected), {"P1": P1}, NOW_MS)[1] == Step(SEND, {"P1": P1})


def test_a_plan_goes_on_until_nothing_is_left_though_nothing_changes_meanwhile() -> None:
    desired = {"P2": P2, "P3": P1}
    roster = believing(P1=HELD_1, P2=Held())
    made = []
    while True:
        roster, step = planned(roster, desired, NOW_MS)
        if step is None:
            break
        made.append(step.apicode)
        task = Planned(task_id="1", apicode=step.apicode, at_ms=NOW_MS, by_planner=True, persons=step.persons)
        roster = settled(begun(roster, task), {"1": done("1")}, desired, NOW_MS)
    assert made == [DEL, SEND, UPDATE]
    assert not roster.awaits


def test_a_failure_keeps_the_plan_going_until_it_is_tried_again() -> None:
    task = Planned(task_id="1", apicode=SEND, at_ms=NOW_MS, by_planner=True, persons={"P1": P1})
    outcome = Outcome(failed_persons=(Failure("P1", "7"),))
    roster = settled(begun(Roster(), task), {"1": done("1", outcome)}, {"P1": P1}, NOW_MS)
    roster, step = planned(roster, {"P1": P1}, NOW_MS)
    assert step is None
    assert planned(roster, {"P1": P1}, NOW_MS + MINUTE_MS)[1] == Step(SEND, {"P1": P1})


def done(task_id: str, outcome: Outcome | None = None) -> Task:
    task = make_task(task_id)
    entry = HistoryEntry(at_ms=NOW_MS, state=TaskState.DONE, actor=DEVICE)
    return msgspec.structs.replace(task, history=(*task.history, entry), outcome=outcome or Outcome())


def test_tasks_that_are_open_or_not_found_stay_in_the_roster() -> None:
    roster = Roster()
    for number in "123":
        task = Planned(task_id=number, apicode=SEND, at_ms=NOW_MS, by_planner=True, persons={f"P{number}": P1})
        roster = begun(roster, task)
    roster = settled(roster, {"1": done("1"), "2": make_task("2")}, {"P1": P1}, NOW_MS)
    assert [task.task_id for task in roster.open] == ["2", "3"]
    assert roster.believed == {"P1": HELD_1}


# ── what differs ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_device_is_compared_with_its_site() -> None:
    roster = believing(P1=HELD_1, P3=HELD_1, P4=UNSURE, P5=UNSURE, P6=Held(foreign=True))
    assert compared(roster, {"P1": P1, "P2": P2, "P4": P1}) == Comparison(
        missing=["P2", "P4"], extra=["P3", "P5", "P6"], different={}
    )


@pytest.mark.parametrize(
    ("held", "fields"),
    [
        (Held(name=1, face=3), []),
        (Held(name=0, face=3), ["name"]),
        (Held(name=1, face=2), ["img"]),
        (Held(name=1, face=SOME_FACE), []),
        (Held(name=1, face=ANY_FACE), []),
        (Held(name=1, face=NO_FACE), ["hasImg"]),
        (Held(name=2, face=NO_FACE), ["name", "hasImg"]),
    ],
)
def test_t11_the_fields_that_differ_are_named(held: Held, fields: list[str]) -> None:
    different = {"P1": fields} if fields else {}
    assert compared(believing(P1=held), {"P1": P1}).different == different


def test_t11_a_face_that_should_not_be_there_is_named() -> None:
    assert compared(believing(P2=Held(name=1, face=SOME_FACE)), {"P2": P2}).different == {"P2": ["hasImg"]}
    assert compared(believing(P2=Held(name=1, face=ANY_FACE)), {"P2": P2}).different == {}
