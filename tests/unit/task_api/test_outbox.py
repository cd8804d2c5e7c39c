"""The order in which the outbox relays: a history's own, and by time among the tasks of a device."""

from shared.domain.tasks import DEVICE, HistoryEntry, TaskState
from shared.stores.interfaces import Unrelayed
from task_api.outbox import changes_in_order
from tests.support.session_values import NOW_MS
from tests.support.task_values import make_task

A, B = "6541951958563696640", "6541951958563696641"


def unrelayed(task_id: str, relayed: int, *steps: tuple[int, TaskState]) -> Unrelayed:
    """A task made at NOW_MS whose later entries came so many milliseconds after."""
    made = make_task(task_id)
    later = tuple(HistoryEntry(at_ms=NOW_MS + at, state=state, actor=DEVICE) for at, state in steps)
    history = (*made.history, *later)
    return Unrelayed(
        type(made)(task_id=task_id, sn=made.sn, apicode=made.apicode, history=history),
        relayed,
    )


def ids_of(*some: Unrelayed) -> list[str]:
    return [f"{change.task.task_id}-{change.number}" for change in changes_in_order(some)]


def test_what_was_relayed_already_is_not_relayed_again() -> None:
    done = unrelayed(A, 1, (10, TaskState.DELIVERED), (20, TaskState.DONE))
    assert ids_of(done) == [f"{A}-1", f"{A}-2"]


def test_the_tasks_of_a_device_are_in_the_order_of_their_times() -> None:
    first = unrelayed(A, 0, (30, TaskState.DONE))
    second = unrelayed(B, 0, (10, TaskState.DELIVERED), (40, TaskState.FAILED))
    assert ids_of(second, first) == [f"{A}-0", f"{B}-0", f"{B}-1", f"{A}-1", f"{B}-2"]


def test_a_clock_that_is_behind_does_not_turn_a_history_round() -> None:
    task = unrelayed(A, 1, (100, TaskState.DELIVERED), (90, TaskState.DONE))
    other = unrelayed(B, 1, (95, TaskState.DELIVERED))
    assert ids_of(task, other) == [f"{B}-1", f"{A}-1", f"{A}-2"]
