"""What operators change of a device, and all that follows from it.

1. MongoDB first, which is the truth. Then what follows: the sessions of a disabled device end (design rule 5), its
   running session gets the site history and the window (rules 11, 14), stored attendances get the site that they lack.
2. Each of these can be repeated without harm, and is repeated once, some seconds later, before the change counts as
   settled: a C_AUTH may have been judged by the device of before and opened its session after; Redis may have been
   away; this process may have ended in between.
"""

import asyncio
import logging

from session_service.metrics import SessionMetrics
from session_service.revocation import REASSERTED_MS
from shared.domain.devices import Device, DeviceChange, changed
from shared.runtime.clock import Clock
from shared.runtime.lifecycle import cancel_and_wait
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceStore, CredentialStore, DeviceStore, EndedStore, SessionStore

log = logging.getLogger(__name__)

SETTLE_AFTER_MS = 10_000
"""Longer than any C_AUTH is under way (SESSION_REQUEST_DEADLINE_SECONDS, and what Redis still does of it)."""

FILLING_SECONDS = 1.0
"""How long the answer to an operator waits for stored attendances to get their site: a terminal may have years of them.
It goes on afterwards."""

SETTLED_AT_ONCE = 20
_CHANGE_TRIES = 5


class Devices:
    """Changes devices."""

    def __init__(
        self,
        devices: DeviceStore,
        credentials: CredentialStore,
        sessions: SessionStore,
        ended: EndedStore,
        attendance: AttendanceStore,
        clock: Clock,
        metrics: SessionMetrics,
    ) -> None:
        self._devices = devices
        self._credentials = credentials
        self._sessions = sessions
        self._ended = ended
        self._attendance = attendance
        self._clock = clock
        self._metrics = metrics
        self._filling: set[asyncio.Task[None]] = set()

    async def change(self, sn: str, change: DeviceChange) -> bool:
        """False where there is no such device. Raises Unavailable: the device may be changed all the same, and what
        follows from it is then done when the servers are back."""
        for _ in range(_CHANGE_TRIES):
            earlier = (await self._devices.find([sn])).get(sn)
            if earlier is None:
                return False
            device = changed(earlier, change, self._clock.now_ms())
            if await self._devices.replace(earlier, device):
                await self._tell(device)
                filling = spawn(self._fill_in(device), "fill-in-site")
                self._filling.add(filling)
                filling.add_done_callback(self._filling.discard)
                await asyncio.wait([filling], timeout=FILLING_SECONDS)
                return True
        raise Unavailable("the device was changed by others again and again")

    async def settle(self) -> int:
        """Carries out once more what was changed some seconds ago; returns how many changes that were. Raises
        Unavailable, after having tried them all: one that takes too long must not hold up the others."""
        changed_until_ms = self._clock.now_ms() - SETTLE_AFTER_MS
        unsettled = await self._devices.unsettled(changed_until_ms, SETTLED_AT_ONCE)
        fault: Unavailable | None = None
        for device in unsettled:
            try:
                await self._tell(device)
                await self._attendance.fill_in_site(device.sn, device.site_history)
                await self._devices.settle(device)
            except Unavailable as error:
                fault = error
            else:
                self._metrics.settled_devices += 1
        if fault is not None:
            raise fault
        return len(unsettled)

    async def settle_for_ever(self, interval_seconds: float) -> None:
        """Settles at an interval; a server that is away is waited for."""
        reachable = True
        while True:
            try:
                while await self.settle() == SETTLED_AT_ONCE:
                    pass  # more wait
                reachable = True
            except Unavailable as error:
                if reachable:
                    log.warning("changes of devices cannot be settled for now: %s", error)
                reachable = False
            await asyncio.sleep(interval_seconds)

    async def close(self) -> None:
        """Leaves what is not done to whoever settles it."""
        await cancel_and_wait(*self._filling)

    async def _tell(self, device: Device) -> None:
        if device.disabled_at_ms is not None and device.disabled_at_ms > self._clock.now_ms() - REASSERTED_MS:
            await self._ended.end_device(device.sn, device.disabled_at_ms)
        await self._sessions.update_device(device.sn, device.site_history, await self._window_seconds(device))

    async def _fill_in(self, device: Device) -> None:
        try:
            await self._attendance.fill_in_site(device.sn, device.site_history)
        except Unavailable as error:
            log.warning("attendances get their site when the change settles: %s", error)

    async def _window_seconds(self, device: Device) -> int | None:
        """The device's window, else its vendor's, else None (design rule 14)."""
        if device.time_window_seconds is not None:
            return device.time_window_seconds
        vendor = await self._credentials.vendor(device.vendor_id)
        return None if vendor is None else vendor.time_window_seconds
