"""The reckoning: each broken promise is found, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.ledger import ACKNOWLEDGED, REFUSED, UNANSWERED, Entry
from tests.chaos.reckoning import (
    Kept,
    Reckoning,
    Stored,
    StoredTask,
    reckon,
    reckon_memory,
    reckon_presence,
    reckon_tasks,
)

PLAIN = Entry("SN1", "4508004291609636864", 1_617_174_958_000, 1, ACKNOWLEDGED)
WITH_PICTURE = replace(PLAIN, record_time=1_617_174_959_000, picture_sha256="aa")
NOT_ANSWERED = replace(PLAIN, record_time=1_617_174_960_000, outcome=UNANSWERED)
NEVER_SENT = replace(PLAIN, record_time=1_617_174_961_000, outcome=UNANSWERED, was_sent=False)
LEDGER = [PLAIN, WITH_PICTURE, NOT_ANSWERED, NEVER_SENT]


def stored(entry: Entry) -> Stored:
    has_image = entry.picture_sha256 is not None
    return Stored(
        entry.event_id, entry.sn, entry.person_id, entry.record_time, entry.type, has_image, entry.picture_sha256
    )


def kept(*entries: Entry) -> Kept:
    pictures = {entry.event_id: entry.picture_sha256 for entry in entries if entry.picture_sha256}
    return Kept([stored(entry) for entry in entries], pictures, frozenset(entry.event_id for entry in entries))


WHOLE = kept(PLAIN, WITH_PICTURE, NOT_ANSWERED)


def test_design_2_the_id_of_a_sign_in_is_computed_as_the_contract_has_it() -> None:
    # python3 -c "import uuid; print(uuid.uuid5(uuid.UUID('b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51'),
    # '\x1f'.join(['SN1', '4508004291609636864', '1617174958000', '1'])))"
    assert PLAIN.event_id == "25efe7d3-c261-51dd-a15e-c93f5b16cf24"


def test_a_platform_that_kept_its_promise_has_no_faults_and_its_sums_are_right() -> None:
    result = reckon(LEDGER, WHOLE)
    assert result.faults == []
    assert (result.sums[ACKNOWLEDGED], result.sums[UNANSWERED], result.sums[REFUSED]) == (2, 2, 0)
    assert (result.sums["stored"], result.sums["stored though not acknowledged"]) == (3, 1)
    assert result.sums["acknowledged with a picture"] == 1


def test_what_was_not_answered_may_be_missing() -> None:
    assert reckon(LEDGER, kept(PLAIN, WITH_PICTURE)).faults == []


def without_link(whole: Kept) -> Kept:
    first, second, *rest = whole.attendances
    return replace(whole, attendances=[first, replace(second, has_image=False), *rest])


def other_link(whole: Kept) -> Kept:
    first, second, *rest = whole.attendances
    return replace(whole, attendances=[first, replace(second, image_sha256="bb"), *rest])


BREAK: dict[str, Callable[[Kept], Kept]] = {
    "1 acknowledged and not stored": lambda whole: replace(whole, attendances=whole.attendances[1:]),
    "1 stored more than once": lambda whole: replace(
        whole, attendances=[*whole.attendances, replace(stored(PLAIN), event_id=NOT_ANSWERED.event_id)]
    ),
    "1 stored under an id that is not theirs": lambda whole: replace(
        whole, attendances=[replace(whole.attendances[0], person_id="another"), *whole.attendances[1:]]
    ),
    "1 stored and never sent": lambda whole: replace(
        whole, attendances=[*whole.attendances, stored(NEVER_SENT)]
    ),
    "1 acknowledged and not published": lambda whole: replace(
        whole, published=whole.published - {PLAIN.event_id}
    ),
    "1 with a lost picture": lambda whole: replace(whole, pictures={}),
    "1 with a lost picture ": lambda whole: replace(whole, pictures={WITH_PICTURE.event_id: "another"}),
    "1 with a lost link to their picture": without_link,
    "1 with a lost link to their picture ": other_link,
    "3 records are dead letters": lambda whole: replace(whole, dead_letters=3),
}  # fmt: skip


@pytest.mark.parametrize("told", list(BREAK))
def test_each_broken_promise_is_told(told: str) -> None:
    faults = reckon(LEDGER, BREAK[told](WHOLE)).faults
    assert any(fault.startswith(told.strip()) for fault in faults), faults


DONE = StoredTask("t1", "done", ["pending", "delivered", "done"])


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([DONE], []),
        ([], ["1 tasks were promised and are not there"]),
        ([replace(DONE, state="delivered", states=["pending", "delivered"])], ["1 tasks have not ended"]),
        ([replace(DONE, states=["pending", "done", "done"])], ["1 tasks have ended more than once"]),
        ([replace(DONE, states=["pending", "failed", "done"])], ["1 tasks have ended more than once"]),
    ],
)
def test_every_promised_task_is_there_and_has_ended_once(tasks: list[StoredTask], told: list[str]) -> None:
    result = Reckoning()
    reckon_tasks(result, ["t1"], tasks)
    assert [fault.partition(":")[0] for fault in result.faults] == told


MIB = 1024 * 1024


@pytest.mark.parametrize(("after", "grows"), [(160 * MIB, False), (161 * MIB, True)])
def test_memory_may_stay_at_1_3_times_what_it_was_and_30_mib(after: int, grows: bool) -> None:
    result = Reckoning()
    reckon_memory(
        result,
        {"session-1": 100 * MIB, "mongo": 100 * MIB},
        {"session-1": after, "attendance-writer-3": 900 * MIB, "mongo": 900 * MIB},
    )
    assert bool(result.faults) is grows


def test_presence_that_is_not_what_it_should_be_is_told() -> None:
    result = Reckoning()
    reckon_presence(result, {"A": True, "B": False}, {"A": True, "B": True, "C": False})
    assert result.faults == ["2 terminals are shown as on line or off line wrongly: B, C"]
