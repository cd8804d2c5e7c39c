"""A device's session, and the judgement whether it still counts (T1, design rule 5)."""

import re
from collections.abc import Mapping

import msgspec

from shared.domain.devices import SiteSpan
from shared.protocol.signatures import SignForm

TOKEN_LIFE_MS = 30 * 60 * 1000
"""A token lives 30 minutes past the last accepted request of its device (section 1.1, T1)."""

ENDED_LIFE_MS = TOKEN_LIFE_MS + 5 * 60 * 1000
"""How long an ending is remembered (design rule 5). Longer than a token lives: a session may have been checked just
before its credential was revoked and opened just after, and its last renewal may have been under way."""


_TOKEN = re.compile(r"[0-9a-f]{32}").fullmatch


def is_token(text: str) -> bool:
    """Whether the text has the form of our tokens (M4). Anything else need not be looked up: it may be megabytes, and
    nobody has proved anything yet."""
    return _TOKEN(text) is not None


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
    device_disabled_at_ms: int | None = None
    """When the device had been disabled last, as its C_AUTH was judged: tells the sessions of before from those of
    after, whichever was opened first."""
    synthetic: bool = False
    """The vendor's: sign-ins go their own way (ADR 0022)."""


class Ended(msgspec.Struct, frozen=True):
    """Sessions that must not count any more: all of a revoked credential, and those of a device whose C_AUTH did not
    know yet that it had been disabled."""

    credentials: Mapping[str, int]
    """access_id to the time of revocation, by Redis's clock."""
    devices: Mapping[str, int]
    """sn to Device.disabled_at_ms."""

    def covers(self, session: Session) -> bool:
        """True where the session answers 401_02 (E1)."""
        if session.access_id in self.credentials:
            return True
        disabled_at_ms = self.devices.get(session.sn)
        return disabled_at_ms is not None and disabled_at_ms > (session.device_disabled_at_ms or 0)
