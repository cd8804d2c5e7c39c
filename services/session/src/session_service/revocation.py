"""Ends the sessions of a credential: MongoDB first, which is the truth, then Redis, which tells every ingress.

Where Redis was away or was flushed, the loop here tells again, of credentials and of disabled devices, until the
tokens have expired (design rule 5).
"""

import asyncio
import logging

from session_service.metrics import SessionMetrics
from shared.domain.sessions import ENDED_LIFE_MS
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import CredentialStore, DeviceStore, EndedStore

log = logging.getLogger(__name__)


REASSERTED_MS = ENDED_LIFE_MS - 2 * 60_000
"""Longer than a token lives, and shorter than the ended set keeps an entry: its clock, Redis's, may run ahead of ours,
and what it has just dropped must not be told again."""


class Revocation:
    """Revokes credentials, and keeps Redis knowing what has ended."""

    def __init__(
        self,
        credentials: CredentialStore,
        devices: DeviceStore,
        ended: EndedStore,
        clock: Clock,
        metrics: SessionMetrics,
    ) -> None:
        self._credentials = credentials
        self._devices = devices
        self._ended = ended
        self._clock = clock
        self._metrics = metrics

    async def revoke(self, vendor_id: str, access_id: str) -> bool:
        """Harmless when repeated; False where the vendor has no such credential. Raises Unavailable: where it was
        Redis's fault, the credential is revoked all the same and its sessions end when Redis is back."""
        revoked = await self._credentials.revoke(vendor_id, access_id, self._clock.now_ms())
        if revoked is None:
            return False
        await self._ended.end_credential(access_id)
        return True

    async def reassert(self) -> None:
        """Tells Redis what it lacks of the endings still in force. Raises Unavailable."""
        since_ms = self._clock.now_ms() - REASSERTED_MS
        revoked = await self._credentials.revoked_since(since_ms)
        disabled = await self._devices.disabled_since(since_ms)
        held = await self._ended.load()
        for credential in revoked:
            if credential.access_id not in held.credentials:
                await self._ended.end_credential(credential.access_id)
                self._metrics.reasserted += 1
                log.warning("the revocation of credential %s was missing in Redis", credential.access_id)
        for device in disabled:
            disabled_at_ms = device.disabled_at_ms or 0
            if held.devices.get(device.sn, -1) < disabled_at_ms:
                await self._ended.end_device(device.sn, disabled_at_ms)
                self._metrics.reasserted += 1
                log.warning("the disabling of device %s was missing in Redis", device.sn)

    async def reassert_for_ever(self, interval_seconds: float) -> None:
        """Reasserts at an interval; a server that is away is waited for."""
        reachable = True
        while True:
            try:
                await self.reassert()
                reachable = True
            except Unavailable as error:
                if reachable:
                    log.warning("revocations cannot be reasserted for now: %s", error)
                reachable = False
            await asyncio.sleep(interval_seconds)
