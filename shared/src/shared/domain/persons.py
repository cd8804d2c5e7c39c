"""A worker as the platform knows them: name, sites, face, identity data under seal. Who may see what stands in the
console; what a terminal should hold of them in rosters.py."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from shared.domain.identity import kind_of


class FaceReference(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's face as stored: a JPEG without metadata."""

    sha256: str
    size: int
    """Bytes."""
    version: int
    """The person's `changes` when it was stored: never used twice, so an older face is told from a newer one."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A worker who is admitted to sites."""

    person_id: str
    name: str
    site_ids: tuple[str, ...] = ()
    """Each once, sorted."""
    idcard_no: bytes | None = None
    """Sealed for the person (domain.sealing, owner = person_id), and so is the phone (design rule 8)."""
    phone: bytes | None = None
    face: FaceReference | None = None
    changes: int
    """Rises with every change of name or face, and with nothing else."""
    name_version: int
    """`changes` when the name was set."""
    created_at_ms: int
    changed_at_ms: int

    @property
    def face_version(self) -> int:
        """0 where there is no face."""
        return 0 if self.face is None else self.face.version

    @property
    def versions(self) -> "PersonVersions":
        """What a terminal should hold."""
        return PersonVersions(self.name_version, self.face_version, self.changes)


class PersonVersions(msgspec.Struct, frozen=True):
    """What a terminal should hold of a person, without who that is: equal versions mean equal content, always."""

    name: int
    face: int
    """0: no face."""
    changes: int
    """The person's: where it is the same at two times, nothing was different in between. A face may have come and
    gone."""


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says of a person. What is UNSET stays as it is, of a new person empty, so that of two who change
    different members neither undoes the other's. Versions and times are made of it; a face stays as it is."""

    person_id: str
    name: str
    site_ids: tuple[str, ...] | UnsetType = UNSET
    idcard_no: bytes | UnsetType | None = UNSET
    phone: bytes | UnsetType | None = UNSET
    hashes: tuple[str, ...] = ()
    """Keyed hashes of identity number and phone, where they are given, each `<key id>:<kind>:<hex>` (design rule 8)."""
    scope: frozenset[str] | None = None
    """The sites that `site_ids` speaks of: from others the person is not taken off. None: all."""

    def sites_after(self, before: Sequence[str]) -> tuple[str, ...]:
        """The person's sites, each once, sorted."""
        if self.site_ids is UNSET:
            return tuple(before)
        others = () if self.scope is None else set(before) - self.scope
        return tuple(sorted({*self.site_ids, *others}))

    def hashes_after(self, before: Sequence[str]) -> tuple[str, ...]:
        """The person's hashes: those of what is not given stay."""
        given = {"idcard": self.idcard_no is not UNSET, "phone": self.phone is not UNSET}
        return (*self.hashes, *(one for one in before if not given[kind_of(one)]))


def put_person(before: Person | None, earlier_changes: int, new: NewPerson, now_ms: int) -> Person:
    """The person as an operator has it now. `earlier_changes`: where there is none before, the `changes` of the one
    that was deleted, else 0, so that no version is ever used twice."""
    if before is None:
        return Person(
            person_id=new.person_id,
            name=new.name,
            site_ids=new.sites_after(()),
            idcard_no=None if new.idcard_no is UNSET else new.idcard_no,
            phone=None if new.phone is UNSET else new.phone,
            changes=earlier_changes + 1,
            name_version=earlier_changes + 1,
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
        )
    changes = before.changes if new.name == before.name else before.changes + 1
    return msgspec.structs.replace(
        before,
        name=new.name,
        site_ids=new.sites_after(before.site_ids),
        idcard_no=before.idcard_no if new.idcard_no is UNSET else new.idcard_no,
        phone=before.phone if new.phone is UNSET else new.phone,
        changes=changes,
        name_version=before.name_version if new.name == before.name else changes,
        changed_at_ms=now_ms,
    )


def with_face(before: Person, sha256: str | None, size: int, now_ms: int) -> Person:
    """The person with another face, or without one (None). The same face again changes nothing."""
    if (before.face.sha256 if before.face else None) == sha256:
        return before
    changes = before.changes + 1
    face = None if sha256 is None else FaceReference(sha256=sha256, size=size, version=changes)
    return msgspec.structs.replace(before, face=face, changes=changes, changed_at_ms=now_ms)
