"""Vendors and their credentials: what authenticates a terminal (section 1.1)."""

import msgspec

from shared.protocol.signatures import SignForm


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """A device maker that the operators have admitted."""

    vendor_id: str
    name: str
    sign_form: SignForm | None = None
    """Pins the text of param that its terminals sign (S3); None: found out per session."""
    time_window_seconds: int | None = None
    """Wider clock window for its terminals (design rule 14); None: the platform's."""
    synthetic: bool = False
    """Its terminals only measure the platform: what they sign in is nobody's attendance (ADR 0022). Never changes."""
    created_at_ms: int


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """accessId, accessKey and accessSecret of a vendor; a vendor has several while it rotates them."""

    access_id: str
    vendor_id: str
    access_key: str
    sealed_secret: bytes
    """accessSecret, sealed with access_id as the owner (design rule 8)."""
    created_at_ms: int
    revoked_at_ms: int | None = None
