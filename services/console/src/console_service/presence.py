"""Which devices are online: what MongoDB has of their events, and what Redis knows newer where it answers quickly."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from shared.domain.presence import Presence
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import PresenceRecordStore, PresenceStore

log = logging.getLogger(__name__)

QUICK_SECONDS = 0.3


class DevicePresence:
    """Presence as operators see it. Redis away is no fault: what MongoDB has is at most some minutes old."""

    def __init__(self, records: PresenceRecordStore, live: PresenceStore) -> None:
        self._records = records
        self._live = live

    async def of(self, sns: Sequence[str]) -> dict[str, Presence]:
        """By sn; those of which nothing is known are absent. Raises Unavailable where MongoDB is away."""
        known = await self._records.find(sns)
        for sn, seen_ms in (await self._last_seen(sns)).items():
            # Where its first event is still on the way, nothing else is known of it.
            record = known.get(sn) or Presence(sn=sn, vendor_id="", online=True, epoch=0, last_seen_ms=0)
            known[sn] = msgspec.structs.replace(record, online=True, last_seen_ms=max(seen_ms, record.last_seen_ms))
        return known

    async def _last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        try:
            async with asyncio.timeout(QUICK_SECONDS):
                return await self._live.last_seen(sns)
        except (Unavailable, TimeoutError) as error:
            log.warning("presence as MongoDB has it alone: %s", error or type(error).__name__)
            return {}
