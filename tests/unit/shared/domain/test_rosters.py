"""What the end of a task says of whom a device holds, and what is not known then."""

from collections.abc import Mapping

import msgspec
import pytest

from shared.domain.persons import PersonVersions
from shared.domain.rosters import (
    ANY_FACE,
    NO_FACE,
    NOBODY,
    OTHER_NAME,
    Failed,
    Held,
    Planned,
    Roster,
    adopted,
    begun,
    ended,
    reconciled,
)
from shared.domain.tasks import Failure, Outcome, TaskState
from shared.protocol.apicodes import Apicode
from tests.support.session_values import NOW_MS

SEND, UPDATE = Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON
DEL, CLEAR, POST = Apicode.T_DEL_DEVICE_PERSON, Apicode.T_CLEAR_DEVICE_PERSON, Apicode.T_POST_DEVICE_PERSON
UNCERTAIN_ENDS = (TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.EXPIRED, TaskState.CANCELLED)
MINUTE_MS, DAY_MS = 60_000, 86_400_000
P1, P2 = PersonVersions(1, 3, 3), PersonVersions(1, 0, 1)
UNSURE = Held(name=OTHER_NAME, face=ANY_FACE, sure=False)


def planned(task_id: str, apicode: Apicode, *, by_planner: bool = True, **persons: PersonVersions) -> Planned:
    return Planned(task_id=task_id, apicode=apicode, at_ms=NOW_MS, by_planner=by_planner, persons=persons)


def after(
    task: Planned,
    state: TaskState = TaskState.DONE,
    outcome: Outcome | None = None,
    *,
    desired: Mapping[str, PersonVersions] | None = None,
    now_ms: int = NOW_MS,
    believed: Mapping[str, Held] | None = None,
) -> Roster:
    """The roster after the task alone, of a device that was believed to hold these."""
    roster = begun(Roster(believed=believed or {}), task)
    desired = task.persons if desired is None else desired
    return ended(roster, roster.open[0], state, outcome or Outcome(), desired, now_ms)


def failed(*person_ids: str, code: str = "7") -> Outcome:
    return Outcome(failed_persons=tuple(Failure(one, code) for one in person_ids))


def faceless(*person_ids: str) -> Outcome:
    return Outcome(failed_faces=tuple(Failure(one, "8") for one in person_ids))


# ── one task ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("apicode", [SEND, UPDATE])
def test_who_was_sent_is_held_as_of_the_making_of_the_task(apicode: Apicode) -> None:
    newer = {"P1": PersonVersions(4, 5, 5)}
    roster = after(planned("1", apicode, P1=P1), desired=newer)
    assert roster.believed == {"P1": Held(name=1, face=3)}
    assert roster.open == ()


def test_who_was_deleted_and_who_was_cleared_is_gone() -> None:
    there = {"P1": Held(name=1, face=3), "P2": UNSURE}
    assert after(planned("1", DEL, P1=NOBODY), believed=there).believed == {"P2": UNSURE}
    assert after(planned("1", CLEAR), believed=there).believed == {}


@pytest.mark.parametrize("state", UNCERTAIN_ENDS)
@pytest.mark.parametrize("apicode", [SEND, UPDATE, DEL, CLEAR])
def test_a_task_that_was_not_done_leaves_its_persons_unsure(apicode: Apicode, state: TaskState) -> None:
    task = planned("1", CLEAR) if apicode is CLEAR else planned("1", apicode, P1=P1)
    assert after(task, state, believed={"P1": Held(name=1, face=3)}).believed == {"P1": UNSURE}


def test_whom_a_task_that_was_not_done_was_to_bring_may_be_there_and_whom_it_was_to_take_away_is_not_for_that() -> None:
    assert after(planned("1", SEND, P1=P1), TaskState.CANCELLED).believed == {"P1": UNSURE}
    assert after(planned("1", DEL, P1=NOBODY), TaskState.CANCELLED).believed == {}


@pytest.mark.parametrize("state", [*UNCERTAIN_ENDS, TaskState.DONE])
def test_the_end_of_a_report_changes_nothing(state: TaskState) -> None:
    roster = after(planned("1", POST, by_planner=False), state, believed={"P1": Held(name=1, face=3)})
    assert roster == Roster(believed={"P1": Held(name=1, face=3)})


def test_a_face_that_may_have_come_and_gone_while_the_task_ran_is_not_taken_for_none() -> None:
    without_face = PersonVersions(1, 0, 1)
    for now, face in (
        (PersonVersions(1, 0, 3), ANY_FACE),
        (PersonVersions(2, 0, 2), ANY_FACE),
        (without_face, NO_FACE),
    ):
        roster = after(planned("1", SEND, P1=without_face), desired={"P1": now})
        assert roster.believed == {"P1": Held(name=1, face=face)}, now
    assert after(planned("1", SEND, P1=without_face), desired={}).believed == {"P1": Held(name=1, face=ANY_FACE)}


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("apicode", [SEND, UPDATE])
def test_a_failed_person_is_unsure_and_the_others_are_held(apicode: Apicode) -> None:
    roster = after(planned("1", apicode, P1=P1, P2=P2), outcome=failed("P1", "P9"))
    assert roster.believed == {"P1": UNSURE, "P2": Held(name=1, face=NO_FACE)}
    assert roster.failures == {"P1": Failed(attempts=1, at_ms=NOW_MS, what="person", code="7", versions=P1)}


def test_who_could_not_be_deleted_may_still_be_there() -> None:
    roster = after(planned("1", DEL, P1=NOBODY, P2=NOBODY), outcome=failed("P1"), believed={"P1": Held(), "P2": Held()})
    assert roster.believed == {"P1": UNSURE}
    assert roster.failures["P1"].versions == NOBODY


def test_a_device_that_could_not_take_a_face_has_none_or_keeps_an_earlier_one() -> None:
    for before, face in (
        (None, NO_FACE),
        (Held(name=1, face=NO_FACE), NO_FACE),
        (Held(name=1, face=2), ANY_FACE),
        (UNSURE, ANY_FACE),
    ):
        believed = {} if before is None else {"P1": before}
        roster = after(planned("1", UPDATE, P1=P1), outcome=faceless("P1"), believed=believed)
        assert roster.believed == {"P1": Held(name=1, face=face)}, before
        assert roster.failures == {"P1": Failed(attempts=1, at_ms=NOW_MS, what="face", code="8", versions=P1)}


def test_a_person_who_failed_with_their_face_failed_as_a_person() -> None:
    both = Outcome(failed_persons=(Failure("P1", "7"),), failed_faces=(Failure("P1", "8"),))
    roster = after(planned("1", SEND, P1=P1), outcome=both)
    assert roster.believed == {"P1": UNSURE}
    assert (roster.failures["P1"].what, roster.failures["P1"].code) == ("person", "7")


def test_a_failure_counts_attempts_of_the_same_content_and_goes_with_success() -> None:
    roster = Roster()
    for attempt, versions in enumerate((P1, P1, PersonVersions(4, 3, 4), PersonVersions(4, 3, 4)), 1):
        roster = begun(roster, planned("1", SEND, P1=versions))
        roster = ended(roster, roster.open[0], TaskState.DONE, failed("P1"), {"P1": versions}, NOW_MS + attempt)
        assert roster.failures["P1"].attempts == 2 - attempt % 2
        assert roster.failures["P1"].at_ms == NOW_MS + attempt
    roster = begun(roster, planned("1", SEND, P1=P1))
    assert ended(roster, roster.open[0], TaskState.DONE, Outcome(), {"P1": P1}, NOW_MS).failures == {}


def test_pauses_grow_from_a_minute_by_six_to_a_day() -> None:
    pauses = [Failed(attempts=attempts, at_ms=NOW_MS).again_ms - NOW_MS for attempts in (1, 2, 3, 4, 5, 6, 7, 99)]
    assert pauses == [*(MINUTE_MS * 6**number for number in range(5)), DAY_MS, DAY_MS, DAY_MS]


def test_failures_of_who_is_neither_there_nor_to_be_there_are_forgotten() -> None:
    roster = after(planned("1", SEND, P1=P1), outcome=failed("P1"))
    roster = begun(roster, planned("2", DEL, P1=NOBODY))
    assert ended(roster, roster.open[0], TaskState.DONE, Outcome(), {}, NOW_MS).failures == {}


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.UNSUPPORTED, TaskState.EXPIRED])
def test_a_task_that_failed_as_a_whole_holds_the_planner_back_until_one_is_done(state: TaskState) -> None:
    roster = Roster()
    for attempts in (1, 2):
        roster = begun(roster, planned("1", SEND, P1=P1))
        roster = ended(roster, roster.open[0], state, Outcome(), {"P1": P1}, NOW_MS)
        assert roster.back_off == Failed(attempts=attempts, at_ms=NOW_MS)
    roster = begun(roster, planned("1", SEND, P1=P1))
    assert ended(roster, roster.open[0], TaskState.DONE, Outcome(), {}, NOW_MS).back_off is None


def test_neither_a_cancelled_task_nor_an_operators_nor_one_that_names_whom_it_failed_for_holds_the_planner_back() -> (
    None
):
    assert after(planned("1", SEND, P1=P1), TaskState.CANCELLED).back_off is None
    assert after(planned("1", SEND, by_planner=False, P1=P1), TaskState.FAILED).back_off is None
    assert after(planned("1", SEND, P1=P1, P2=P2), TaskState.FAILED, failed("P1")).back_off is None
    assert after(planned("1", SEND, P1=P1), TaskState.FAILED, failed("P9")).back_off is not None


# ── tasks at the same time ────────────────────────────────────────────────────────────────────────────────────────


def both_done(first: Planned, second: Planned, *, in_order: bool, **believed: Held) -> dict[str, Held]:
    """After both were open at once, and one after the other was done."""
    roster = begun(begun(Roster(believed=believed), first), second)
    for _ in range(2):
        task = roster.open[0 if in_order else -1]
        roster = ended(roster, task, TaskState.DONE, Outcome(), {**first.persons, **second.persons}, NOW_MS)
    return dict(roster.believed)


@pytest.mark.parametrize("in_order", [True, False])
def test_whom_two_tasks_are_about_at_the_same_time_is_unsure(*, in_order: bool) -> None:
    sent, updated = planned("1", SEND, P1=P1, P2=P2), planned("2", UPDATE, P1=P1)
    assert both_done(sent, updated, in_order=in_order) == {"P1": UNSURE, "P2": Held(name=1, face=NO_FACE)}


@pytest.mark.parametrize("in_order", [True, False])
def test_who_is_sent_while_the_device_is_cleared_is_unsure_and_the_others_are_gone(*, in_order: bool) -> None:
    there = Held(name=1, face=NO_FACE)
    held = both_done(planned("1", CLEAR), planned("2", SEND, P1=P1), in_order=in_order, P2=there)
    assert held == {"P1": UNSURE}


@pytest.mark.parametrize("in_order", [True, False])
def test_who_is_sent_while_the_device_reports_is_held(*, in_order: bool) -> None:
    assert both_done(planned("1", POST), planned("2", SEND, P1=P1), in_order=in_order) == {"P1": Held(name=1, face=3)}


# ── the foreign ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_foreign_are_ours_once_they_were_sent_or_belong_to_the_site_or_an_operator_asks() -> None:
    foreign = Held(foreign=True)
    assert after(planned("1", SEND, P1=P1), TaskState.FAILED, believed={"P1": foreign}).believed == {"P1": UNSURE}
    assert adopted(Roster(believed={"P1": foreign, "P2": foreign}), {"P1": P1}).believed == {
        "P1": Held(),
        "P2": foreign,
    }
    assert reconciled(Roster(believed={"P1": foreign})).believed == {"P1": Held()}


@pytest.mark.parametrize("apicode", [DEL, CLEAR])
def test_the_foreign_stay_foreign_where_they_could_not_be_deleted(apicode: Apicode) -> None:
    task = planned("1", CLEAR) if apicode is CLEAR else planned("1", DEL, P1=NOBODY)
    roster = after(task, TaskState.CANCELLED, desired={}, believed={"P1": Held(foreign=True)})
    assert roster.believed == {"P1": Held(sure=False, foreign=True)}


def test_a_reconcile_forgets_failures_and_pauses() -> None:
    failure = Failed(attempts=9, at_ms=NOW_MS)
    roster = reconciled(Roster(believed={"P1": UNSURE}, failures={"P1": failure}, back_off=failure))
    assert roster == msgspec.structs.replace(Roster(believed={"P1": UNSURE}), awaits=True)
