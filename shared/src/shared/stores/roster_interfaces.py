"""What the services ask of the store of rosters. Every method may raise Unavailable, as in interfaces.py."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from shared.domain.roster_reports import ReportPage
from shared.domain.rosters import Roster
from shared.runtime.unavailable import Unavailable

ATTEMPTS = 10
"""Of a change that others keep overtaking."""


class KeptRoster(msgspec.Struct, frozen=True, kw_only=True):
    """A roster as it was read."""

    sn: str
    roster: Roster = Roster()
    rev: int = 0
    """0 where there is none yet."""
    marks: int = 0
    """How many marks the device has had."""
    later_ms: int = 0
    """A mark wants the device to be planned then, or after."""


class PagesSeen(msgspec.Struct, frozen=True):
    """What there is of a report."""

    count: int
    """Pages with the number of pages that this one has."""
    is_news: bool
    """False where the page was there already, just so."""


class RosterStore(Protocol):
    """`rosters`: one document a device; every write is conditional on `rev`. The marks stand there too
    (person_interfaces.RosterMarks)."""

    async def find(self, sns: Sequence[str]) -> dict[str, KeptRoster]:
        """Of every one of these, empty where nothing is known."""
        ...

    async def replace(self, kept: KeptRoster, roster: Roster) -> bool:
        """False where it was changed since it was read."""
        ...

    async def due(self, until_ms: int, limit: int) -> Sequence[str]:
        """Devices that were to be planned by then, longest first."""
        ...

    async def planned(self, kept: KeptRoster, next_ms: int | None) -> None:
        """Takes the mark away, or has it come at `next_ms`; nothing where another mark came since it was read."""
        ...

    async def with_open_tasks(self, after: str | None, limit: int) -> Sequence[tuple[str, Sequence[str]]]:
        """(sn, task ids) of rosters that have any, in order of sn, after `after`."""
        ...

    async def put_page(self, task_id: str, page: ReportPage) -> PagesSeen:
        """Keeps a page of a report in place of an earlier one of the same number."""
        ...

    async def pages(self, task_id: str) -> Sequence[ReportPage]: ...

    async def remove_pages(self, task_id: str) -> None: ...


async def change_roster(rosters: RosterStore, sn: str, change: Callable[[Roster], Roster]) -> Roster:
    """Changes a device's roster, again where another was faster. Raises Unavailable where others always are."""
    for _ in range(ATTEMPTS):
        kept = (await rosters.find([sn]))[sn]
        roster = change(kept.roster)
        if roster == kept.roster or await rosters.replace(kept, roster):
            return roster
    raise Unavailable("the roster is being changed by others all the time")
