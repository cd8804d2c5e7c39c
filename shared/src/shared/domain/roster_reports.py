"""A device's report of whom it holds (T11): its pages, and what they correct in what is believed of it."""

from collections.abc import Collection, Mapping

import msgspec

from shared.domain.rosters import ANY_FACE, NO_FACE, OTHER_NAME, SOME_FACE, Held, Roster, adopted


class Reported(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A person as a page has them; nothing else is kept of it (design rule 8)."""

    name: int | None
    """The version of the person's name, where it was this name when the page came; OTHER_NAME where it was not; None
    where no name was reported."""
    has_face: bool | None
    """None where that was not reported."""


class ReportPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a report."""

    number: int
    """From 1."""
    total: int
    """As the page itself has it."""
    persons: Mapping[str, Reported]


def whole_report(pages: Collection[ReportPage], total: int) -> Mapping[str, Reported] | None:
    """Everybody on the pages 1..total; None while one is missing. What belongs to an earlier try with another number
    of pages is not looked at."""
    of_this = {page.number: page for page in pages if page.total == total}
    if any(number not in of_this for number in range(1, total + 1)):
        return None
    return {person_id: one for number in range(1, total + 1) for person_id, one in of_this[number].persons.items()}


def report_begun(roster: Roster, task_id: str) -> Roster:
    """The first page of a report has come."""
    if roster.report_id == task_id or all(one.task_id != task_id for one in roster.open):
        return roster
    return msgspec.structs.replace(roster, report_id=task_id, report_is_whole=False)


def corrected(
    roster: Roster, task_id: str, persons: Mapping[str, Reported], desired: Collection[str], now_ms: int
) -> Roster:
    """With what a whole report says; unchanged where its task is not open any more, for it may be outdated. Who is
    not ours and should not be there is foreign."""
    task = next((one for one in roster.open if one.task_id == task_id), None)
    if task is None:
        return roster
    believed: dict[str, Held] = {}
    for person_id in {*roster.believed, *persons}:
        before, now = roster.believed.get(person_id), persons.get(person_id)
        is_sure = not task.is_disturbed(person_id)
        if now is not None:
            believed[person_id] = Held(
                name=_name(before, now),
                face=_face(before, now),
                sure=is_sure,
                reported=None if is_sure else True,
                foreign=before is None or before.foreign,
            )
        elif before is not None and not is_sure:
            believed[person_id] = Held(sure=False, reported=False, foreign=before.foreign)
    return adopted(
        msgspec.structs.replace(
            roster, believed=believed, report_id=task_id, report_is_whole=True, reported_at_ms=now_ms
        ),
        desired,
    )


def _name(before: Held | None, now: Reported) -> int:
    if now.name is not None:
        return now.name
    return OTHER_NAME if before is None else before.name


def _face(before: Held | None, now: Reported) -> int:
    known = ANY_FACE if before is None else before.face
    if now.has_face is None:
        return known
    if not now.has_face:
        return NO_FACE
    return known if known > NO_FACE else SOME_FACE
