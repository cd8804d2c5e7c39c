"""Packages of firmware in dicts: for unit tests, and for reading how their store must behave."""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence

from shared.domain.firmware import Firmware
from shared.runtime.unavailable import Unavailable
from shared.stores.person_interfaces import VersionTaken

CHUNK_BYTES = 1024
"""Small, so that tests meet its edges."""


class MemoryFirmwareStore:
    """FirmwareStore in dicts. `available = False` makes every call raise Unavailable."""

    def __init__(self) -> None:
        self.available = True
        self._packages: dict[str, tuple[Firmware, bytes]] = {}

    async def add(self, version: str, data: AsyncIterator[bytes], now_ms: int) -> Firmware:
        self._reach()
        whole = b"".join([part async for part in data])
        if any(package.version == version for package, _ in self._packages.values()):
            raise VersionTaken
        package = Firmware(
            firmware_id=f"f{now_ms:012x}{len(self._packages):08x}",
            version=version,
            size=len(whole),
            sha256=hashlib.sha256(whole).hexdigest(),
            created_at_ms=now_ms,
        )
        self._packages[package.firmware_id] = (package, whole)
        return package

    async def find(self, firmware_ids: Sequence[str]) -> dict[str, Firmware]:
        self._reach()
        return {one: self._packages[one][0] for one in firmware_ids if one in self._packages}

    async def of_versions(self, versions: Collection[str]) -> dict[str, Firmware]:
        self._reach()
        newest_first = [self._packages[one][0] for one in sorted(self._packages, reverse=True)]
        return {package.version: package for package in newest_first if package.version in versions}

    async def page(self, after: str | None, limit: int) -> Sequence[Firmware]:
        self._reach()
        return [self._packages[one][0] for one in sorted(self._packages) if one > (after or "")][:limit]

    async def read(self, firmware_id: str, start: int, length: int) -> AsyncIterator[bytes]:
        self._reach()
        if firmware_id not in self._packages:
            raise Unavailable("MemoryFirmwareStore: a package lacks a chunk")
        asked = self._packages[firmware_id][1][start : start + length]
        for first in range(0, len(asked), CHUNK_BYTES):
            self._reach()
            yield asked[first : first + CHUNK_BYTES]

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryFirmwareStore: away")
