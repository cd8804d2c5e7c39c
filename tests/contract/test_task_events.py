"""`device.task.v1`: the records that we write are what contracts/ says, and contracts/ refuses what is not."""

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from shared.domain.events import Record
from shared.domain.task_events import task_record
from shared.domain.tasks import DEVICE, Failure, HistoryEntry, Outcome, Task, TaskState
from shared.protocol.apicodes import HTTPS_APICODES, Apicode
from tests.contract.test_events import schema, validate
from tests.support.session_values import NOW_MS
from tests.support.task_values import TASK_ID, make_task

TASK = "device.task.v1.schema.json"


def ended_task(state: TaskState, **changes: Any) -> Task:
    """A task that was delivered and then ended so, with counts and failures."""
    made = make_task(**changes)
    steps = tuple(
        HistoryEntry(at_ms=NOW_MS + at, state=one, actor=DEVICE, reason="reported")
        for at, one in ((1001, TaskState.DELIVERED), (2002, state))
    )
    outcome = Outcome(person_count=300, face_count=200, failed_persons=(Failure("4508004291609636864", "404_1"),))
    return msgspec.structs.replace(made, history=made.history + steps, outcome=outcome)


def spoilt(**members: Any) -> Record:
    """A record with members replaced, or left out where they are `...`."""
    record = task_record(ended_task(TaskState.DONE), 2)
    body = json.loads(record.value) | members
    value = json.dumps({name: member for name, member in body.items() if member is not ...}).encode()
    return msgspec.structs.replace(record, value=value)


def test_the_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(schema(TASK))
    Draft202012Validator.check_schema(schema(TASK)["$defs"]["headers"])


@pytest.mark.parametrize("state", [state for state in TaskState if state not in ("pending", "delivered")])
def test_the_events_that_we_write_are_what_the_contract_says(state: TaskState) -> None:
    for number in range(3):
        validate(TASK, task_record(ended_task(state, sn='设备 "1"'), number))


@pytest.mark.parametrize("apicode", sorted(HTTPS_APICODES - {Apicode.T_GET_TASKS, Apicode.T_UPDATE_TASKS_STATUS}))
def test_every_interface_that_a_task_can_name_is_in_the_contract(apicode: Apicode) -> None:
    validate(TASK, task_record(make_task(apicode=apicode), 0))


def test_an_event_is_one_entry_of_the_history_with_the_counts_of_the_end_alone() -> None:
    task = ended_task(TaskState.FAILED)
    delivered, failed = (json.loads(task_record(task, number).value) for number in (1, 2))
    same = {"taskid": TASK_ID, "sn": "1388186", "apicode": "T_SEND_PERSON", "actor": "device", "reason": "reported"}
    assert delivered == {
        **same,
        "state": "delivered",
        "at": "2026-11-24T06:00:01.001Z",
        "personCount": None,
        "faceCount": None,
    }
    assert failed == {
        **same,
        "state": "failed",
        "at": "2026-11-24T06:00:02.002Z",
        "personCount": 300,
        "faceCount": 200,
    }


def test_a_record_has_its_device_as_key_its_own_id_and_its_own_time() -> None:
    record = task_record(ended_task(TaskState.DONE), 1)
    headers = dict(record.headers)
    assert (record.topic, record.key, record.timestamp_ms) == ("device.task.v1", b"1388186", NOW_MS + 1001)
    assert headers["ce_id"] == b"6541951958563696640-1"
    assert headers["ce_time"] == b"2026-11-24T06:00:01.001Z"


def test_an_entry_that_was_relayed_before_the_task_went_on_is_the_same_afterwards() -> None:
    task = ended_task(TaskState.DONE)
    before = msgspec.structs.replace(task, history=task.history[:2], outcome=Outcome())
    assert task_record(before, 1) == task_record(task, 1)


@pytest.mark.parametrize("member", schema(TASK)["required"])
def test_the_contract_refuses_an_event_without_a_member(member: str) -> None:
    with pytest.raises(ValidationError, match="is a required property"):
        validate(TASK, spoilt(**{member: ...}))


@pytest.mark.parametrize(
    "members",
    [
        {"taskid": 6541951958563696640},
        {"apicode": "T_GET_TASKS"},
        {"state": "lost"},
        {"at": "2026-11-24 06:00:01"},
        {"actor": ""},
        {"personCount": -1},
        {"faceCount": "200"},
        {"failedPersons": []},
    ],
)
def test_the_contract_refuses_an_event_with_a_wrong_value(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(TASK, spoilt(**members))


@pytest.mark.parametrize("header", schema(TASK)["$defs"]["headers"]["required"])
def test_the_contract_refuses_a_record_without_a_required_attribute(header: str) -> None:
    record = task_record(make_task(), 0)
    headers = tuple(pair for pair in record.headers if pair[0] != header)
    with pytest.raises(ValidationError, match="is a required property"):
        validate(TASK, msgspec.structs.replace(record, headers=headers))
