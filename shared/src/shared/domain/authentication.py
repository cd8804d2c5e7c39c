"""What ingress and session say to each other about C_AUTH: MessagePack over HTTP, in groups (measured)."""

import msgspec

from shared.domain.sessions import Session
from shared.protocol.messages import AuthRequest


class AuthCall(msgspec.Struct, frozen=True):
    """One C_AUTH whose apicode and sn's length are right, and the terminal's address for the throttle."""

    request: AuthRequest
    address: str


class AuthReply(msgspec.Struct, frozen=True, kw_only=True):
    """The session, or the error to answer with."""

    session: Session | None = None
    error_code: str | None = None
    """As in section 1.3, `400_04`."""
    detail: str = ""
