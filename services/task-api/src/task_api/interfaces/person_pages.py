"""The page of persons that T_SEND_PERSON and T_UPDATE_DEVICE_PERSON give alike (3.3, 3.4, T8)."""

import json

from shared.domain.links import FileKind, Links
from shared.domain.persons import Person
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import Param
from task_api.interfaces.interface import Parts, TaskCall, named_task

DEFAULT_SIZE = 10
MAX_SIZE = 100
"""Persons of one page; a larger size is cut to it."""


async def person_page(call: TaskCall, parts: Parts) -> str:
    """The page that is asked for, of the persons that the task was made with: who was deleted since is left out, and
    the others are as they are now. Raises ProtocolError (400_02), Unavailable."""
    task = await named_task(call, parts.tasks)
    current_page, size = read_page(call.required_param())
    named, start = task.named_persons or 0, (current_page - 1) * size
    person_ids = await parts.tasks.person_ids_page(task.task_id, start, size) if start < named else ()
    persons = await parts.persons.find(person_ids) if person_ids else {}
    page = {
        "data": [_members(persons[one], parts.links, call.now_ms) for one in person_ids if one in persons],
        "currentPage": current_page,
        "totalPage": -(-named // size),
    }
    return json.dumps(page, ensure_ascii=False, separators=(",", ":"))


def read_page(param: Param) -> tuple[int, int]:
    """currentPage and size. Raises ProtocolError (400_02)."""
    current_page = param.read_whole_number("currentPage")
    if current_page is None:
        raise ProtocolError(ErrorCode.PARAM, "currentPage missing")
    size = param.read_whole_number("size")
    if size is None:
        size = DEFAULT_SIZE
    for name, number in (("currentPage", current_page), ("size", size)):
        if number < 1:
            raise ProtocolError(ErrorCode.PARAM, f"{name} is below 1")
    return current_page, min(size, MAX_SIZE)


def _members(person: Person, links: Links, now_ms: int) -> dict[str, str | list[str]]:
    faces = [] if person.face is None else [links.url(FileKind.FACE, person.person_id, now_ms)]
    return {"personId": person.person_id, "name": person.name, "imgUrls": faces}
