"""The vectors of the interfaces that give a task's content (3.3 to 3.7): requests and answers as bytes (README.md)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.domain.firmware import FirmwareReference
from shared.domain.links import Links
from shared.domain.tasks import TaskState
from shared.protocol.apicodes import Apicode
from shared.stores.interfaces import NewTask
from tests.support.session_values import NOW_MS
from tests.support.task_api import TaskApi
from tests.support.task_values import make_task

Case = dict[str, Any]

VECTORS: Case = json.loads((Path(__file__).parent / "task_interfaces.json").read_text(encoding="utf-8"))
CALLS: list[Case] = VECTORS["calls"]

each_call = pytest.mark.parametrize("case", CALLS, ids=[f"{case['origin']}: {case['name']}" for case in CALLS])


async def store(api: TaskApi, one: Case) -> None:
    """A case's task."""
    person_ids = one.get("personIds")
    task = make_task(
        one["taskid"],
        one["sn"],
        apicode=Apicode(one["apicode"]),
        named_persons=None if person_ids is None else len(person_ids),
        firmware=msgspec.convert(one.get("firmware"), FirmwareReference | None),
    )
    await api.tasks.add_many([NewTask(task=task, person_ids=None if person_ids is None else tuple(person_ids))])
    if one["state"] != TaskState.PENDING:
        await api.end(one["taskid"], TaskState(one["state"]))


@each_call
async def test_t8_t9_t10_t12_a_request_gets_the_answer(case: Case) -> None:
    api = TaskApi()
    assert api.clock.now_ms() == NOW_MS == VECTORS["nowMs"]
    key = VECTORS["linkKey"]
    assert api.links == Links({key["id"]: bytes.fromhex(key["hex"])}, VECTORS["linkBase"])
    await api.begin(sn=VECTORS["sn"], token=VECTORS["token"], secret=VECTORS["accessSecret"])
    if case["task"] is not None:
        await store(api, case["task"])
    for person in case["persons"]:
        await api.put_person(person["personId"], person["name"], face=person["face"])

    answer = await api.endpoint.answer(case["body"].encode())

    assert answer.decode() == case["answer"]
    api.metrics.close()


@each_call
def test_s1_the_vectors_signs_are_the_md5_of_what_they_say_was_signed(case: Case) -> None:
    for text, sign, place in (
        (case["signed"], case["sign"], case["body"]),
        (case["answerSigned"], case["answerSign"], case["answer"]),
    ):
        assert hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() == sign
        assert sign in place


def test_every_printed_example_of_3_3_to_3_7_is_here() -> None:
    origins = " ".join(case["origin"] for case in CALLS)
    assert all(f"3.{section}.4" in origins for section in range(3, 8))
