"""Prints each of the eight T_ interfaces' request and answer as the bytes they are, with the text that each signs (S2,
S5) and its md5: a wrong signature or a refusal ends it with an error.

    .venv/bin/python -m tests.bench.show_interfaces

Everything behind the device endpoint is in memory; over HTTPS and real parts the same is tested in tests/integration.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import NamedTuple

from shared.domain.firmware import FirmwareReference
from shared.protocol.apicodes import Apicode
from tests.support.task_api import SECRET, SN, TOKEN, VERSION, TaskApi, make_body, md5
from tests.support.task_values import make_task

PERSONS = ("4508004291609636864", "4508004291609636865")
PACKAGE = FirmwareReference(firmware_id="f019ac", version="v14.9.0", size=67_108_864, sha256="5f" * 32)


class Shown(NamedTuple):
    """An interface as it is shown, and which texts its request and its answer sign."""

    section: str
    apicode: Apicode
    param: str | None
    signed_param: str = ""
    """Of the request: param, or what is left of it."""
    signs_task_id: bool = True
    signs_response: bool = True


def calls(task_ids: dict[Apicode, str]) -> Iterator[Shown]:
    """One call of each, param as a device may write it."""
    asked = json.dumps({"taskids": list(task_ids.values())[:2]})
    yield Shown("3.1", Apicode.T_GET_TASKS, asked, asked, signs_task_id=False)
    page = "{currentPage: 1, size: 10}"
    yield Shown("3.3", Apicode.T_SEND_PERSON, page, page)
    yield Shown("3.4", Apicode.T_UPDATE_DEVICE_PERSON, page, page)
    yield Shown("3.5", Apicode.T_DEL_DEVICE_PERSON, None, signs_response=False)
    yield Shown("3.6", Apicode.T_CLEAR_DEVICE_PERSON, None, signs_response=False)
    version = '{"version":"v14.9.0"}'
    yield Shown("3.7", Apicode.T_UPDATE_DEVICE_VERSION, version, version, signs_response=False)
    report = '{"data":[{"personId":"%s","name":"张三"%s}],"currentPage":1,"totalPage":1}'
    yield Shown(
        "3.8",
        Apicode.T_POST_DEVICE_PERSON,
        report % (PERSONS[0], ',"img":"/9j/4AAQ"'),
        report % (PERSONS[0], ""),
    )
    ended = json.dumps({"task": [{"taskid": task_ids[Apicode.T_SEND_PERSON], "status": 1}], "personCount": 2})
    yield Shown("3.2", Apicode.T_UPDATE_TASKS_STATUS, ended, ended, signs_task_id=False)


def response_text(answer: str) -> str:
    """The response exactly as it stands in the answer; "" where it has none."""
    _, found, rest = answer.partition('"response":')
    return rest[: rest.rindex(',"sign":')] if found else ""


async def show(api: TaskApi, shown: Shown, task_id: str) -> None:
    """Raises AssertionError where the answer is a refusal or its signature is wrong."""
    task_id = task_id if shown.signs_task_id else ""
    signed = (VERSION, SN, TOKEN, task_id, shown.apicode, shown.signed_param, SECRET)
    body = make_body(shown.apicode, shown.param, task_id=task_id or None, sign=md5(*signed))
    answer = (await api.endpoint.answer(body)).decode()
    response = response_text(answer) if shown.signs_response else ""
    answer_signed = (VERSION, "true", task_id, response, SECRET)
    verified = json.loads(answer)["success"] and json.loads(answer)["sign"] == md5(*answer_signed)
    assert verified, answer
    print(f"── {shown.section} {shown.apicode}")
    for name, text, parts in (("request", body.decode(), signed), ("answer ", answer, answer_signed)):
        print(f"{name}  {text}\n signed  {''.join(parts)}\n    md5  {md5(*parts)}  right")
    print()


async def show_all() -> None:
    """All eight."""
    api = TaskApi()
    await api.begin()
    for number, person_id in enumerate(PERSONS):
        await api.put_person(person_id, f"张三{number}", face=number == 0)
    about = [code for code in Apicode if code.startswith("T_")][2:]
    task_ids = {code: str(6_541_951_958_563_696_640 + number) for number, code in enumerate(about)}
    for code, task_id in task_ids.items():
        if code in (Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON, Apicode.T_DEL_DEVICE_PERSON):
            await api.add_naming(task_id, code, *PERSONS)
        else:
            package = PACKAGE if code is Apicode.T_UPDATE_DEVICE_VERSION else None
            await api.add(make_task(task_id, SN, apicode=code, firmware=package))
    for shown in calls(task_ids):
        await show(api, shown, task_ids.get(shown.apicode, ""))
    api.metrics.close()


if __name__ == "__main__":
    asyncio.run(show_all())
