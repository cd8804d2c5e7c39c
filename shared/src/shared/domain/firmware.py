"""Packages of firmware, as operators upload them and terminals install them (3.7, T10)."""

import msgspec


class FirmwareReference(msgspec.Struct, frozen=True, kw_only=True):
    """What a task says of its package."""

    firmware_id: str
    version: str
    size: int
    sha256: str


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """A package; its bytes are in the firmware store."""

    firmware_id: str
    version: str
    size: int
    """Bytes."""
    sha256: str
    created_at_ms: int

    @property
    def reference(self) -> FirmwareReference:
        """What tasks say of it."""
        return FirmwareReference(firmware_id=self.firmware_id, version=self.version, size=self.size, sha256=self.sha256)
