"""What a terminal holds: whom it lets pass, and which firmware it runs. Kept in memory: a simulated terminal that is
started anew is as one fresh from the factory."""

from dataclasses import dataclass, field
from random import Random

FACTORY_VERSION = "simulator-1.0"
FIRST_STRANGER = 9_000_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Face:
    """A picture as it was downloaded, without its bytes: a large site's would fill the memory."""

    etag: str
    sha256: str


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """A worker who may pass."""

    name: str
    face: Face | None


@dataclass(slots=True)
class Holdings:
    """Of one terminal; persons by personId."""

    persons: dict[str, HeldPerson] = field(default_factory=dict)
    device_version: str = FACTORY_VERSION

    @property
    def face_count(self) -> int:
        """How many of the persons have a face."""
        return sum(person.face is not None for person in self.persons.values())

    def stray(self, random: Random) -> bool:
        """Forgets one person, calls another by a wrong name, and lets a stranger pass, as after a bad repair on site;
        False where it holds too few for that."""
        if len(self.persons) < 2:
            return False
        forgotten, misnamed = random.sample(sorted(self.persons), 2)
        del self.persons[forgotten]
        held = self.persons[misnamed]
        self.persons[misnamed] = HeldPerson(f"{held.name}*", held.face)
        self.persons[str(FIRST_STRANGER + random.getrandbits(32))] = HeldPerson("stranger", None)
        return True
