"""The vectors of T_GET_TASKS and T_UPDATE_TASKS_STATUS: requests and answers as bytes (README.md)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.domain.tasks import TaskState
from shared.protocol.apicodes import Apicode
from tests.support.task_api import TaskApi
from tests.support.task_values import make_task

Case = dict[str, Any]

VECTORS: Case = json.loads((Path(__file__).parent / "task_calls.json").read_text(encoding="utf-8"))
CALLS: list[Case] = VECTORS["calls"]

each_call = pytest.mark.parametrize("case", CALLS, ids=[f"{case['origin']}: {case['name']}" for case in CALLS])


@each_call
async def test_t6_t7_a_request_gets_the_answer_and_leaves_the_tasks_so(case: Case) -> None:
    api = TaskApi()
    await api.begin(sn=VECTORS["sn"], token=VECTORS["token"], secret=VECTORS["accessSecret"])
    for one in case["tasks"]:
        await api.add(
            make_task(
                one["taskid"],
                one["sn"],
                apicode=Apicode(one["apicode"]),
                exclude_fields=tuple(one.get("excludeFields", ())),
            )
        )
        if one["state"] != TaskState.PENDING:
            await api.end(one["taskid"], TaskState(one["state"]))

    answer = await api.endpoint.answer(case["body"].encode())

    assert answer.decode() == case["answer"]
    assert {task_id: (await api.task(task_id)).state for task_id in case["states"]} == case["states"]
    assert list(await api.listed(VECTORS["sn"])) == case["listed"]
    for task_id, expected in case.get("outcomes", {}).items():
        outcome = (await api.task(task_id)).outcome
        assert {
            "personCount": outcome.person_count,
            "faceCount": outcome.face_count,
            "failedPersons": [[one.person_id, one.code] for one in outcome.failed_persons],
            "failedFaces": [[one.person_id, one.code] for one in outcome.failed_faces],
        } == expected


@each_call
def test_s1_the_vectors_signs_are_the_md5_of_what_they_say_was_signed(case: Case) -> None:
    for text, sign, place in (
        (case["signed"], case["sign"], case["body"]),
        (case["answerSigned"], case["answerSign"], case["answer"]),
    ):
        assert hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() == sign
        assert sign in place
