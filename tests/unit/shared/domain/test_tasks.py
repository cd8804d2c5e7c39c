"""States of tasks, their ids, and the param that a device is given (T5–T7)."""

import json

import msgspec
import pytest

from shared.domain.control import ControlEntry, PushCommand, TasksChanged
from shared.domain.links import Links
from shared.domain.tasks import (
    OPEN_STATES,
    STATUS_STATES,
    TRANSITIONS,
    HistoryEntry,
    TaskIds,
    TaskState,
    states_before,
    task_id,
    task_param,
)
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import ManualClock
from tests.support.session_values import NOW_MS
from tests.support.task_values import TASK_ID, make_task

LINKS = Links({"k1": b"1" * 32}, "https://devices.example")
PRINTED_ID_MS = 1_559_722_890_511
"""2019-06-05T08:21:30.511Z: what the upper 42 bits of the printed id are."""


def test_t5_a_task_is_open_until_one_of_five_ends() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert {"pending", "delivered"} == OPEN_STATES
    ends = set(TaskState) - OPEN_STATES
    assert ends == {"done", "failed", "unsupported", "cancelled", "expired"}
    assert all(not TRANSITIONS[end] for end in ends)
    assert all(ends <= TRANSITIONS[state] for state in OPEN_STATES)


def test_t5_a_task_is_delivered_once_and_never_pending_again() -> None:
    assert states_before(TaskState.DELIVERED) == {"pending"}
    assert states_before(TaskState.PENDING) == set()
    assert states_before(TaskState.CANCELLED) == {"pending", "delivered"}


def test_t7_a_status_is_done_failed_or_unsupported() -> None:
    assert dict(STATUS_STATES) == {1: "done", 2: "failed", 3: "unsupported"}


def test_a_tasks_state_is_that_of_its_last_entry() -> None:
    task = make_task()
    assert (task.state, task.is_open) == (TaskState.PENDING, True)
    cancelled = HistoryEntry(at_ms=NOW_MS, state=TaskState.CANCELLED, actor="op", reason="no longer needed")
    task = msgspec.structs.replace(task, history=(*task.history, cancelled))
    assert (task.state, task.is_open) == (TaskState.CANCELLED, False)


def test_t6_the_fields_to_leave_out_are_one_text_and_only_a_roster_report_has_them() -> None:
    report = make_task(apicode=Apicode.T_POST_DEVICE_PERSON, exclude_fields=("img", "姓名"))
    text = task_param(report, LINKS, NOW_MS)
    assert text == '{"excludeFields":"img,姓名"}'
    assert json.loads(text) == {"excludeFields": "img,姓名"}
    assert task_param(make_task(apicode=Apicode.T_POST_DEVICE_PERSON), LINKS, NOW_MS) is None
    assert task_param(make_task(apicode=Apicode.T_SEND_PERSON), LINKS, NOW_MS) is None


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_t5_an_id_is_time_and_22_bits_as_in_the_printed_examples() -> None:
    assert task_id(PRINTED_ID_MS, 1_847_296) == TASK_ID
    assert len(task_id(NOW_MS, 0)) == len(TASK_ID) == 19


def test_t5_ids_sort_by_time_as_texts() -> None:
    ids = [task_id(at_ms, bits) for at_ms in (PRINTED_ID_MS, NOW_MS, NOW_MS + 1) for bits in (0, 2**22 - 1)]
    assert sorted(ids) == ids
    assert len(set(ids)) == 6


@pytest.mark.parametrize("moved_seconds", [0, -5, 0.001])
def test_ids_ascend_also_while_the_clock_stands_or_goes_back(moved_seconds: float) -> None:
    clock = ManualClock(NOW_MS)
    ids = TaskIds(clock.now_ms, node=1023)
    given = []
    for _ in range(10_000):  # more than a millisecond has room for
        given.append(ids.next())
        clock.advance(moved_seconds)
    assert sorted(set(given), key=int) == given
    assert all(int(one) < 2**63 for one in given)


def test_ids_of_two_makers_differ_within_a_millisecond() -> None:
    clock = ManualClock(NOW_MS)
    first, second = (TaskIds(clock.now_ms, node) for node in (1, 2))
    given = {maker.next() for maker in (first, second) for _ in range(100)}
    assert len(given) == 200


# ── the control stream ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (TasksChanged("1388186"), '{"type":"tasks-changed","sn":"1388186"}'),
        (
            PushCommand("1388186", TASK_ID, "T_POST_DEVICE_PERSON", '{"excludeFields":"img"}'),
            '{"type":"push-command","sn":"1388186","task_id":"6541951958563696640","apicode":"T_POST_DEVICE_PERSON",'
            '"param":"{\\"excludeFields\\":\\"img\\"}","traceparent":null}',
        ),
        (
            PushCommand("1388186", TASK_ID, "T_CLEAR_DEVICE_PERSON"),
            '{"type":"push-command","sn":"1388186","task_id":"6541951958563696640","apicode":"T_CLEAR_DEVICE_PERSON",'
            '"param":null,"traceparent":null}',
        ),
    ],
)
def test_design_4_task_entries_of_the_control_stream_are_read_as_they_are_written(
    entry: ControlEntry, text: str
) -> None:
    assert msgspec.json.encode(entry).decode() == text
    assert msgspec.json.decode(text, type=ControlEntry) == entry
