"""A device's session, and the judgement whether it still counts (T1, design rule 5)."""

from collections.abc import Mapping

import msgspec

from shared.domain.devices import SiteSpan
from shared.protocol.signatures import SignForm

TOKEN_LIFE_MS = 30 * 60 * 1000
"""A token lives 30 minutes past the last accepted request of its device (section 1.1, T1)."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What every check of a request needs; kept in Redis under its token and cached by each ingress."""

    token: str
    sn: str
    vendor_id: str
    access_id: str
    sealed_secret: bytes
    """The credential's secret, sealed with access_id as the owner; opened only in memory."""
    sign_form: SignForm | None = None
    """The vendor's pinned form (S3), where it has one."""
    time_window_seconds: int | None = None
    """The device's or its vendor's wider window, where there is one (design rule 14)."""
    site_history: tuple[SiteSpan, ...] = ()
    opened_at_ms: int


class Ended(msgspec.Struct, frozen=True):
    """Sessions that must not count any more: all of a revoked credential, and those that a device opened before
    it was disabled. Times are Redis's, in milliseconds (one clock for the whole platform)."""

    credentials: Mapping[str, int]
    """access_id to the time of revocation."""
    devices: Mapping[str, int]
    """sn to the time at which it was disabled last."""

    def covers(self, session: Session) -> bool:
        """True where the session answers 401_02 (E1)."""
        return session.access_id in self.credentials or session.opened_at_ms <= self.devices.get(session.sn, -1)
