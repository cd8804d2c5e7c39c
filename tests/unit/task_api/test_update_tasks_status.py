"""What is kept of a report is bounded (T7, design rule 7). What it means stands in tests/vectors/task_calls.json."""

import json

import pytest

from shared.domain.tasks import Failure
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import parse_json_request
from shared.protocol.params import Param
from task_api.interfaces.update_tasks_status import MAX_FAILURES, StatusReport, read_reports
from tests.support.task_values import TASK_ID


def param_of(members: object) -> Param:
    """A param as the endpoint reads it, out of a body."""
    param = parse_json_request(json.dumps({"param": members}).encode()).read_param()
    assert param is not None
    return param


def read(**members: object) -> StatusReport:
    """A report of one task that is done, with these members."""
    (report,) = read_reports(param_of({"task": [{"taskid": TASK_ID, "status": 1, **members}]}))
    return report


@pytest.mark.parametrize("name", ["failedPersons", "failedFaces"])
def test_design_7_of_more_failures_than_a_large_site_has_persons_the_first_are_kept(name: str) -> None:
    outcome = read(**{name: [{"personId": number, "errCode": "404_1"} for number in range(MAX_FAILURES + 1)]}).outcome
    kept = outcome.failed_persons or outcome.failed_faces
    assert len(kept) == MAX_FAILURES == 10_000
    assert (kept[0], kept[-1]) == (Failure("0", "404_1"), Failure("9999", "404_1"))


def test_design_7_a_code_is_cut_and_a_missing_one_is_none() -> None:
    outcome = read(failedPersons=[{"personId": "1", "errCode": "4" * 65}, {"personId": "2"}]).outcome
    assert outcome.failed_persons == (Failure("1", "4" * 64), Failure("2", None))


@pytest.mark.parametrize(("length", "accepted"), [(0, False), (1, True), (64, True), (65, False)])
def test_j2_a_failed_person_has_1_to_64_characters(length: int, *, accepted: bool) -> None:
    person = "9" * length
    if accepted:
        assert read(failedFaces=[{"personId": person}]).outcome.failed_faces == (Failure(person, None),)
        return
    with pytest.raises(ProtocolError) as refusal:
        read(failedFaces=[{"personId": person}])
    assert refusal.value.code is ErrorCode.PARAM


def test_t7_a_count_of_the_task_goes_before_the_one_beside_it() -> None:
    task = {"taskid": TASK_ID, "status": 1, "personCount": 0}
    (report,) = read_reports(param_of({"task": task, "personCount": 9, "faceCount": 8}))
    assert (report.outcome.person_count, report.outcome.face_count) == (0, 8)
