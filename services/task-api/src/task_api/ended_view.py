"""What must not count any more (design rule 5), kept true to the control stream: judging costs no round trip."""

import asyncio
import logging

from shared.domain.control import CredentialRevoked, DeviceDisabled
from shared.domain.sessions import Ended, Session
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import ControlStream, EndedStore

log = logging.getLogger(__name__)

BLOCK_MS = 500
RETRY_SECONDS = 0.5


class EndedView:
    """A copy of the ended set. Nobody is judged by one that could not be kept up to date for the grace."""

    def __init__(self, stream: ControlStream, ended: EndedStore, clock: Clock, grace_ms: int) -> None:
        self.losses = 0
        self._stream = stream
        self._ended = ended
        self._clock = clock
        self._grace_ms = grace_ms
        self._credentials: dict[str, int] = {}
        self._devices: dict[str, int] = {}
        self._known = False
        self._trusted_until_ms = 0

    def covers(self, session: Session) -> bool:
        """True where the session answers 401_02. Raises Unavailable past the grace (design rule 3)."""
        if self._clock.now_ms() > self._trusted_until_ms:
            raise Unavailable("Redis: control stream not read for longer than the grace")
        return Ended(self._credentials, self._devices).covers(session)

    async def run(self) -> None:
        """Reads for ever; Redis out of reach is waited for."""
        reachable = True
        while True:
            try:
                await self.read_once()
            except Unavailable as error:
                if reachable:
                    log.warning("control stream cannot be read: %s", error)
                reachable = False
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if not reachable:
                    log.info("control stream is read again")
                reachable = True

    async def read_once(self) -> None:
        """Applies what came. Raises Unavailable."""
        began_ms = self._clock.now_ms()
        entries = await self._stream.read(BLOCK_MS)
        if entries is None:
            self.losses += 1
            self._known = False
        if not self._known:
            # Read after the stream's place was taken: what is ended from there on comes through the stream.
            ended = await self._ended.load()
            self._credentials, self._devices = dict(ended.credentials), dict(ended.devices)
            self._known = True
        for entry in entries or ():
            match entry:
                case CredentialRevoked(access_id=access_id, at_ms=at_ms):
                    self._credentials[access_id] = at_ms
                case DeviceDisabled(sn=sn, at_ms=at_ms):
                    self._devices[sn] = at_ms
        self._trusted_until_ms = began_ms + self._grace_ms
