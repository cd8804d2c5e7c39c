"""Persons and faces in dicts: for unit tests, and for reading how their stores must behave."""

from collections.abc import Collection, Mapping, Sequence

from shared.domain.persons import NewPerson, Person, PersonVersions, put_person, with_face
from shared.runtime.unavailable import Unavailable
from shared.stores.person_interfaces import PersonQuery


class MemoryPersonStore:
    """PersonStore in dicts. `available = False` makes every call raise Unavailable."""

    def __init__(self) -> None:
        self.available = True
        self._persons: dict[str, Person] = {}
        self._hashes: dict[str, tuple[str, ...]] = {}
        self._markers: dict[str, int] = {}
        self._unerased: set[str] = set()

    async def put_many(self, persons: Sequence[NewPerson], now_ms: int) -> Mapping[str, Person | None]:
        self._reach()
        if any(new.person_id in self._unerased for new in persons):
            raise Unavailable("MemoryPersonStore: one is still being erased")
        before = {new.person_id: self._persons.get(new.person_id) for new in persons}
        for new in persons:
            person_id = new.person_id
            changes = self._markers.pop(person_id, 0)
            self._persons[person_id] = put_person(self._persons.get(person_id), changes, new, now_ms)
            self._hashes[person_id] = new.hashes_after(self._hashes.get(person_id, ()))
        return before

    async def set_face(self, person_id: str, sha256: str | None, size: int, now_ms: int) -> Person | None:
        self._reach()
        if person_id not in self._persons:
            return None
        self._persons[person_id] = with_face(self._persons[person_id], sha256, size, now_ms)
        return self._persons[person_id]

    async def find(self, person_ids: Sequence[str]) -> dict[str, Person]:
        self._reach()
        return {person_id: self._persons[person_id] for person_id in person_ids if person_id in self._persons}

    async def find_by_hash(self, hashes: Sequence[str], limit: int) -> Sequence[Person]:
        self._reach()
        wanted = set(hashes)
        found = [person_id for person_id, own in sorted(self._hashes.items()) if wanted.intersection(own)]
        return [self._persons[person_id] for person_id in found[:limit]]

    async def page(self, query: PersonQuery) -> Sequence[Person]:
        self._reach()
        found = [
            person
            for person_id, person in sorted(self._persons.items())
            if person_id > (query.after or "")
            and (query.site_ids is None or set(query.site_ids).intersection(person.site_ids))
        ]
        return found[: query.limit]

    async def at_site(self, site_id: str) -> dict[str, PersonVersions]:
        self._reach()
        return {person_id: person.versions for person_id, person in self._persons.items() if site_id in person.site_ids}

    async def delete(self, person_id: str, now_ms: int) -> Person | None:
        self._reach()
        person = self._persons.pop(person_id, None)
        if person is not None:
            self._hashes.pop(person_id)
            self._markers[person_id] = person.changes
            self._unerased.add(person_id)
        return person

    async def unerased(self, limit: int) -> Sequence[str]:
        self._reach()
        return sorted(self._unerased)[:limit]

    async def erased(self, person_id: str) -> None:
        self._reach()
        self._unerased.discard(person_id)

    async def deleted(self, person_ids: Collection[str]) -> frozenset[str]:
        self._reach()
        return frozenset(person_ids) & self._markers.keys()

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryPersonStore: away")


class MemoryFaceStore:
    """FaceStore in a dict."""

    def __init__(self) -> None:
        self._faces: dict[str, tuple[bytes, str]] = {}

    async def put(self, person_id: str, data: bytes, sha256: str) -> None:
        self._faces[person_id] = (data, sha256)

    async def find(self, person_id: str) -> tuple[bytes, str] | None:
        return self._faces.get(person_id)

    async def delete(self, person_id: str) -> None:
        self._faces.pop(person_id, None)
