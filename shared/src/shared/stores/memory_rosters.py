"""Rosters and their marks in dicts: for unit tests, and for reading how their stores must behave."""

from collections.abc import Collection, Sequence

import msgspec

from shared.domain.roster_reports import ReportPage
from shared.domain.rosters import Roster
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import DeviceStore
from shared.stores.roster_interfaces import KeptRoster, PagesSeen


class MemoryRosterStore:
    """RosterStore in dicts. `available = False` makes every call raise Unavailable."""

    def __init__(self) -> None:
        self.available = True
        self.plan_at_ms: dict[str, int] = {}
        self._kept: dict[str, KeptRoster] = {}
        self._pages: dict[str, dict[int, ReportPage]] = {}
        self._seen: dict[tuple[str, int], set[int]] = {}

    async def find(self, sns: Sequence[str]) -> dict[str, KeptRoster]:
        self._reach()
        return {sn: self._kept.get(sn, KeptRoster(sn=sn)) for sn in sns}

    async def replace(self, kept: KeptRoster, roster: Roster) -> bool:
        self._reach()
        now = self._kept.get(kept.sn, KeptRoster(sn=kept.sn))
        if now.rev != kept.rev:
            return False
        self._kept[kept.sn] = msgspec.structs.replace(now, roster=roster, rev=now.rev + 1)
        return True

    async def due(self, until_ms: int, limit: int) -> Sequence[str]:
        self._reach()
        due = sorted((at_ms, sn) for sn, at_ms in self.plan_at_ms.items() if at_ms <= until_ms)
        return [sn for _, sn in due[:limit]]

    async def planned(self, kept: KeptRoster, next_ms: int | None) -> None:
        self._reach()
        now = self._kept.get(kept.sn)
        if now is None or now.marks != kept.marks:
            return
        if next_ms is None:
            self.plan_at_ms.pop(kept.sn, None)
        else:
            self.plan_at_ms[kept.sn] = next_ms

    async def with_open_tasks(self, after: str | None, limit: int) -> Sequence[tuple[str, Sequence[str]]]:
        self._reach()
        found = [
            (sn, [task.task_id for task in kept.roster.open])
            for sn, kept in sorted(self._kept.items())
            if kept.roster.open and sn > (after or "")
        ]
        return found[:limit]

    async def put_page(self, task_id: str, page: ReportPage) -> PagesSeen:
        self._reach()
        pages = self._pages.setdefault(task_id, {})
        is_news = pages.get(page.number) != page
        pages[page.number] = page
        seen = self._seen.setdefault((task_id, page.total), set())
        seen.add(page.number)
        return PagesSeen(len(seen), is_news)

    async def pages(self, task_id: str) -> Sequence[ReportPage]:
        self._reach()
        return list(self._pages.get(task_id, {}).values())

    async def remove_pages(self, task_id: str) -> None:
        self._reach()
        self._pages.pop(task_id, None)
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != task_id}

    def mark(self, sn: str, at_ms: int) -> None:
        """One mark. Raises Unavailable."""
        self._reach()
        now = self._kept.get(sn, KeptRoster(sn=sn))
        later_ms = max(now.later_ms, at_ms)
        self._kept[sn] = msgspec.structs.replace(now, marks=now.marks + 1, later_ms=later_ms)
        self.plan_at_ms[sn] = min(self.plan_at_ms.get(sn, at_ms), at_ms)

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryRosterStore: made unavailable")


class MemoryRosterMarks:
    """RosterMarks over a MemoryRosterStore."""

    def __init__(self, rosters: MemoryRosterStore, devices: DeviceStore, clock: Clock) -> None:
        self._rosters = rosters
        self._devices = devices
        self._clock = clock

    async def mark_sites(self, site_ids: Collection[str], after_ms: int = 0) -> None:
        for site_id in site_ids:
            # The site of a device is dated by session's clock.
            there = await self._devices.at_site(site_id, self._clock.now_ms() + 3_600_000)
            await self.mark_devices([device.sn for device in there], after_ms)

    async def mark_devices(self, sns: Collection[str], after_ms: int = 0) -> None:
        for sn in sns:
            self._rosters.mark(sn, self._clock.now_ms() + after_ms)
