"""A process's copy of what must not count any more (design rule 5), so that judging a session costs no round trip.

1. What has ended never counts again. So the copy only grows, until what is in it is too old to matter: Redis may have
   lost its own.
2. Where it could not be kept up to date for the grace, nobody is judged at all: Unavailable, never a refusal (rule 3).
"""

from shared.domain.control import ControlEntry, CredentialRevoked, DeviceDisabled
from shared.domain.sessions import ENDED_LIFE_MS, Ended, Session
from shared.runtime.unavailable import Unavailable


class EndedView:
    """The copy; ControlReader keeps it true to the control stream."""

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._credentials: dict[str, int] = {}
        self._devices: dict[str, int] = {}
        self._ended = Ended(self._credentials, self._devices)
        self._trusted_until_ms = 0

    def check_trusted(self, now_ms: int) -> None:
        """Raises Unavailable past the grace, and before anything is known."""
        if now_ms > self._trusted_until_ms:
            raise Unavailable("Redis: control stream not read for longer than the grace")

    def covers(self, session: Session) -> bool:
        """True where the session answers 401_02 (E1). Whoever asks has checked that the view is trusted."""
        return self._ended.covers(session)

    def apply(self, entry: ControlEntry) -> None:
        """Takes one entry of the control stream."""
        match entry:
            case CredentialRevoked(access_id=access_id, at_ms=at_ms):
                self._credentials[access_id] = at_ms
            case DeviceDisabled(sn=sn, at_ms=at_ms):
                self._devices[sn] = max(at_ms, self._devices.get(sn, 0))

    def add(self, ended: Ended, now_ms: int) -> None:
        """Takes what Redis has of the ended set (rule 1)."""
        oldest_ms = now_ms - ENDED_LIFE_MS
        for known, added in ((self._credentials, ended.credentials), (self._devices, ended.devices)):
            for key in [key for key, at_ms in known.items() if at_ms < oldest_ms]:
                del known[key]
            for key, at_ms in added.items():
                known[key] = max(at_ms, known.get(key, 0))

    def up_to_date(self, now_ms: int) -> None:
        """Everything that the control stream had by now was applied."""
        self._trusted_until_ms = now_ms + self._grace_ms
