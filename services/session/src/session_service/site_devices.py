"""How many devices are online at each site, as MongoDB has it: one process of several says so, the one that holds the
sweep's lock. It has a task of its own, so that the sweep never waits for it."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

NO_SITE = "none"
OTHER_SITES = "other"
MAX_SITES = 10_000
"""Sites that are told apart, those with the most devices; the label's values are bounded (design rule 7)."""

SiteCounts = dict[tuple[str, str], int]
"""Devices by site and presence: the labels of session_site_devices."""


class Records(Protocol):
    """Where devices are counted: shared.stores.mongo.presence.MongoPresenceRecordStore."""

    async def count_by_site(self) -> dict[tuple[str | None, bool], int]: ...


class SiteDevices:
    """The counts of one process; none while another one holds the lock."""

    def __init__(self, records: Records, leads: asyncio.Event) -> None:
        """`leads` is set while this process holds the sweep's lock."""
        self._records = records
        self._leads = leads
        self._counts: SiteCounts = {}

    @property
    def counts(self) -> SiteCounts:
        """As of the last count."""
        return self._counts if self._leads.is_set() else {}

    async def run(self, interval_seconds: float) -> None:
        """Counts for ever. While MongoDB is out of reach the last count stands: no alert on it is to end by that."""
        reachable = True
        while True:
            await self._leads.wait()
            try:
                self._counts = labelled(await self._records.count_by_site())
                reachable = True
            except Unavailable as error:
                if reachable:
                    log.warning("devices cannot be counted by site: %s", error)
                reachable = False
            await asyncio.sleep(interval_seconds)


def labelled(devices: Mapping[tuple[str | None, bool], int]) -> SiteCounts:
    """By the labels: both states of every site, as a share needs them, and small sites past the bound in one."""
    by_site: dict[str, list[int]] = {}
    for (site_id, is_online), count in devices.items():
        by_site.setdefault(NO_SITE if site_id is None else site_id, [0, 0])[is_online] += count
    if len(by_site) > MAX_SITES:
        largest = sorted(by_site.items(), key=lambda one: sum(one[1]), reverse=True)
        rest = [states for _, states in largest[MAX_SITES:]]
        by_site = dict(largest[:MAX_SITES]) | {
            OTHER_SITES: [sum(states[is_online] for states in rest) for is_online in (0, 1)]
        }
    return {
        (site, presence): by_site[site][is_online]
        for site in by_site
        for presence, is_online in (("offline", False), ("online", True))
    }
