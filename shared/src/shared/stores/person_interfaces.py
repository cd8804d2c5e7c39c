"""What the services ask of the stores of persons, faces, rosters and firmware. Every method may raise
Unavailable, as in interfaces.py."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from shared.domain.firmware import Firmware
from shared.domain.persons import NewPerson, Person, PersonVersions


class PersonQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which persons, in order of person_id."""

    site_ids: tuple[str, ...] | None = None
    """On any of these sites; None: all persons."""
    after: str | None = None
    limit: int = 50


class PersonStore(Protocol):
    """`persons`. A deleted person is a marker: no method but `deleted` and `unerased` finds it, and it can be put again
    once it is erased."""

    async def put_many(self, persons: Sequence[NewPerson], now_ms: int) -> Mapping[str, Person | None]:
        """Stores each, of which none may stand there twice; gives what was stored before, None for a new person. Where
        name stays the same its version stays too. Of two who put one person at once both succeed, one after the other.
        Raises Unavailable, too, where one is still being erased."""
        ...

    async def set_face(self, person_id: str, sha256: str | None, size: int, now_ms: int) -> Person | None:
        """Says which face the person has, None: none; gives the person as it is then. None where there is no such
        person."""
        ...

    async def find(self, person_ids: Sequence[str]) -> dict[str, Person]:
        """By id; unknown and deleted ones are absent."""
        ...

    async def find_by_hash(self, hashes: Sequence[str], limit: int) -> Sequence[Person]:
        """Those that have any of these hashes, in order of person_id."""
        ...

    async def page(self, query: PersonQuery) -> Sequence[Person]: ...

    async def at_site(self, site_id: str) -> dict[str, PersonVersions]:
        """Everyone on the site: what its terminals should hold."""
        ...

    async def delete(self, person_id: str, now_ms: int) -> Person | None:
        """Takes all of it away but a marker; gives what there was, None where there is no such person. What other
        collections have of the person is still to be erased."""
        ...

    async def unerased(self, limit: int) -> Sequence[str]:
        """Markers that are still to be erased elsewhere."""
        ...

    async def erased(self, person_id: str) -> None:
        """Says of a marker that nothing is left elsewhere."""
        ...

    async def deleted(self, person_ids: Collection[str]) -> frozenset[str]:
        """Those that are markers (design rule 10)."""
        ...


class FaceStore(Protocol):
    """`faces`: one JPEG a person."""

    async def put(self, person_id: str, data: bytes, sha256: str) -> None: ...

    async def find(self, person_id: str) -> tuple[bytes, str] | None:
        """The JPEG and its sha256."""
        ...

    async def delete(self, person_id: str) -> None: ...


class RosterMarks(Protocol):
    """Tells the planner whose roster may have changed. Mark before a change, with a delay, so that a crash in between
    costs time alone, and again after it."""

    async def mark_sites(self, site_ids: Collection[str], after_ms: int = 0) -> None:
        """Every device that stands at one of the sites is planned, in `after_ms` at the latest."""
        ...

    async def mark_devices(self, sns: Collection[str], after_ms: int = 0) -> None: ...


class VersionTaken(Exception):
    """Another package of the version was whole before this one."""


class FirmwareStore(Protocol):
    """`firmware`: packages, in GridFS; a package is there whole or not at all."""

    async def add(self, version: str, data: AsyncIterator[bytes], now_ms: int) -> Firmware:
        """Streams a package in. Where `data` raises nothing stays. Raises VersionTaken."""
        ...

    async def of_versions(self, versions: Collection[str]) -> dict[str, Firmware]:
        """The package of each version, of several the first; versions that have none are absent."""
        ...

    async def find(self, firmware_ids: Sequence[str]) -> dict[str, Firmware]: ...

    async def page(self, after: str | None, limit: int) -> Sequence[Firmware]:
        """In order of firmware_id, after `after`."""
        ...

    def read(self, firmware_id: str, start: int, length: int) -> AsyncIterator[bytes]:
        """The bytes [start, start + length) in chunks, never whole in memory."""
        ...
