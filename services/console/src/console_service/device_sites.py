"""Where devices stand now, remembered for some seconds: for events that do not say it themselves."""

from collections.abc import Collection

from shared.domain.devices import site_at
from shared.runtime.clock import Clock
from shared.stores.interfaces import DeviceStore

KEPT_MS = 5_000
MAX_KEPT = 50_000


class DeviceSites:
    """A cache over the devices; a device that was moved is seen at its new site within KEPT_MS."""

    def __init__(self, devices: DeviceStore, clock: Clock) -> None:
        self._devices = devices
        self._clock = clock
        self._kept: dict[str, tuple[str | None, int]] = {}
        """By sn: the site, and until when it counts."""

    async def of(self, sns: Collection[str]) -> dict[str, str | None]:
        """The site of each, None where it stands at none. Raises Unavailable."""
        now_ms = self._clock.now_ms()
        known = {sn: kept[0] for sn in sns if (kept := self._kept.get(sn)) is not None and kept[1] > now_ms}
        unknown = [sn for sn in sns if sn not in known]
        if unknown:
            found = await self._devices.find(unknown)
            for sn in unknown:
                known[sn] = site_at(found[sn].site_history, now_ms)[0] if sn in found else None
            if len(self._kept) + len(unknown) > MAX_KEPT:
                self._kept.clear()
            self._kept |= {sn: (known[sn], now_ms + KEPT_MS) for sn in unknown}
        return known
