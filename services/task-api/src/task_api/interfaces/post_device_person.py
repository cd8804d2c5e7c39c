"""T_POST_DEVICE_PERSON (3.8): takes a device's report of whom it holds, page by page (T11). Of what it sends of a
person only the id, whether the name is ours, and hasImg are kept (design rule 8)."""

from collections.abc import Collection, Mapping

import msgspec

from shared.domain.devices import stands_at
from shared.domain.persons import Person
from shared.domain.roster_plans import settled
from shared.domain.roster_reports import Reported, ReportPage, corrected, report_begun, whole_report
from shared.domain.rosters import OTHER_NAME, Roster
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import Param
from shared.stores.roster_interfaces import change_roster
from task_api.interfaces.interface import Parts, TaskCall, named_task

MAX_PAGES = 10_000
MAX_PERSONS = 50_000
"""Of one report: far beyond what a terminal can hold."""


class SentPerson(msgspec.Struct, frozen=True):
    """A person as a page has them; None is what was left out."""

    name: str | None
    has_image: bool | None


class SentPage(msgspec.Struct, frozen=True):
    """A page as it was sent."""

    number: int
    total: int
    persons: Mapping[str, SentPerson]


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """Keeps the page; once all are there, what is believed of the device is corrected. There is no response."""
    sn = call.request.sn
    task = await named_task(call, parts.tasks)
    sent = read_page(call.required_param(), task.exclude_fields)
    known = await parts.persons.find(list(sent.persons))
    persons = {person_id: _reported(one, known.get(person_id)) for person_id, one in sent.persons.items()}
    seen = await parts.rosters.put_page(task.task_id, ReportPage(number=sent.number, total=sent.total, persons=persons))
    if seen.count == 1:
        await change_roster(parts.rosters, sn, lambda roster: report_begun(roster, task.task_id))
    if seen.count == sent.total:
        roster = (await parts.rosters.find([sn]))[sn].roster
        whole = whole_report(await parts.rosters.pages(task.task_id), sent.total)
        if whole is not None and (seen.is_news or not roster.report_is_whole):
            roster = await _correct(task.task_id, whole, call, parts)
        if all(one.task_id != task.task_id for one in roster.open):
            # It has ended meanwhile, and the planner removed its pages before this one came.
            await parts.rosters.remove_pages(task.task_id)
    return None


async def _correct(task_id: str, persons: Mapping[str, Reported], call: TaskCall, parts: Parts) -> Roster:
    sn = call.request.sn
    if len(persons) > MAX_PERSONS:
        raise ProtocolError(ErrorCode.PARAM, f"more than {MAX_PERSONS} persons")
    # What ended before the report must not be taken into account after it. Reports are the planner's, with their pages.
    open_now = (await parts.rosters.find([sn]))[sn].roster.open
    over = await parts.tasks.find([one.task_id for one in open_now if one.apicode != call.request.apicode])
    device = (await parts.devices.find([sn])).get(sn)
    site_id = None if device is None else stands_at(device, call.now_ms)[0]
    desired = {} if site_id is None else await parts.persons.at_site(site_id)
    return await change_roster(
        parts.rosters,
        sn,
        lambda roster: corrected(settled(roster, over, desired, call.now_ms), task_id, persons, desired, call.now_ms),
    )


def read_page(param: Param, exclude_fields: Collection[str]) -> SentPage:
    """A page, without what the task has the device leave out. Raises ProtocolError (400_02)."""
    number, total = param.read_whole_number("currentPage"), param.read_whole_number("totalPage")
    if number is None or total is None:
        raise ProtocolError(ErrorCode.PARAM, "currentPage or totalPage missing")
    data = param.read_objects("data")
    if data is None:
        raise ProtocolError(ErrorCode.PARAM, "data missing")
    if total == 0 and not data:
        total = 1  # of nobody there is one page, or none
    if not 1 <= number <= total <= MAX_PAGES:
        raise ProtocolError(ErrorCode.PARAM, f"currentPage is not in 1..totalPage, or totalPage is above {MAX_PAGES}")
    return SentPage(number, total, dict(_read_person(one, exclude_fields) for one in data))


def _read_person(one: Param, exclude_fields: Collection[str]) -> tuple[str, SentPerson]:
    person_id = one.read_text("personId")
    if person_id is None or not 1 <= len(person_id) <= 64:
        raise ProtocolError(ErrorCode.PARAM, "personId is not 1 to 64 characters")
    has_image = one.read_whole_number("hasImg")
    if has_image not in (None, 0, 1):
        raise ProtocolError(ErrorCode.PARAM, "hasImg is not 0 or 1")
    return person_id, SentPerson(
        None if "name" in exclude_fields else one.read_text("name"),
        None if has_image is None or "hasImg" in exclude_fields else bool(has_image),
    )


def _reported(sent: SentPerson, known: Person | None) -> Reported:
    is_ours = known is not None and sent.name == known.name
    ours = known.name_version if known is not None and is_ours else OTHER_NAME
    return Reported(name=None if sent.name is None else ours, has_face=sent.has_image)
