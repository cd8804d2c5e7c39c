"""Who changed what and when. No secret is ever among it (design rule 8)."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class AuditOutcome(StrEnum):
    """How a change ended. INTENDED is written first; where it stays, the change may have been done or not."""

    INTENDED = "intended"
    DONE = "done"
    REFUSED = "refused"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change that an operator asked for."""

    audit_id: str
    at_ms: int
    who: str
    action: str
    """`vendor.create`: what kind of thing, and what was done to it."""
    target: str | None
    """The id of what was changed; None where it was not known before."""
    what: Mapping[str, object]
    """What was asked for, without secrets."""
    before: Mapping[str, object] | None = None
    """What stood there, of the members that were to change."""
    after: Mapping[str, object] | None = None
    """What stands there since."""
    outcome: AuditOutcome = AuditOutcome.INTENDED
