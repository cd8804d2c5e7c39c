"""PURE: what the terminals' ledger says against what the platform has. Each sentence it returns is a broken promise."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.ledger import ACKNOWLEDGED, REFUSED, UNANSWERED, Entry

ENDED = {"done", "failed", "unsupported", "cancelled", "expired"}
GROWN_SHARE, GROWN_BYTES = 1.3, 30 * 1024 * 1024
MANAGED = ("kafka-", "mongo", "redis")
"""Their memory is not ours to judge: a heap and a cache grow into the bound that they were given."""
NAMED = 5
"""So many of a kind are named."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An attendance as MongoDB has it."""

    event_id: str
    sn: str
    person_id: str
    record_time: int
    type: int
    has_image: bool
    image_sha256: str | None


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as MongoDB has it, its states in their order."""

    task_id: str
    state: str
    states: Sequence[str]


@dataclass(frozen=True)
class Kept:
    """What the platform has at the end."""

    attendances: Sequence[Stored]
    pictures: Mapping[str, str]
    """Event id to the sha-256 of the bytes that are stored."""
    published: frozenset[str]
    """Event ids in attendance.sign-in.v1."""
    tasks: Sequence[StoredTask] = ()
    dead_letters: int = 0


@dataclass
class Reckoning:
    """Sums, and what is wrong."""

    sums: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, whom: Iterable[str]) -> None:
        """Adds a fault where there is anyone whom it befell."""
        named = sorted(whom)
        if named:
            more = f" … and {len(named) - NAMED} more" if len(named) > NAMED else ""
            self.faults.append(f"{len(named)} {what}: {', '.join(named[:NAMED])}{more}")

    def lines(self) -> list[str]:
        """The sums, then every broken promise."""
        sums = [f"  {name:<34} {count}" for name, count in self.sums.items()]
        broken = [f"BROKEN: {fault}" for fault in self.faults]
        well = "everything that was acknowledged is stored, once, with its picture; nothing else is wrong"
        return ["the ledger's sums:", *sums, *(broken or [well])]


def reckon(entries: Sequence[Entry], kept: Kept) -> Reckoning:
    """Acknowledged is stored, once, with its picture, and published; nothing is stored that was never sent."""
    result = Reckoning()
    outcomes = Counter(entry.outcome for entry in entries)
    result.sums.update({name: outcomes[name] for name in (ACKNOWLEDGED, REFUSED, UNANSWERED)})
    result.sums["stored"] = len(kept.attendances)
    result.sums["pictures stored"] = len(kept.pictures)
    result.sums["published"] = len(kept.published)
    result.sums["dead letters"] = kept.dead_letters
    acknowledged = {entry.event_id: entry for entry in entries if entry.outcome == ACKNOWLEDGED}
    sent = {entry.event_id for entry in entries if entry.was_sent}
    stored = {one.event_id: one for one in kept.attendances}
    result.sums["stored though not acknowledged"] = len(stored.keys() - acknowledged.keys())

    result.fault("acknowledged and not stored", acknowledged.keys() - stored.keys())
    named = Counter((one.sn, one.person_id, one.record_time, one.type) for one in kept.attendances)
    result.fault("stored more than once", [f"{key[0]} {key[2]}" for key, count in named.items() if count > 1])
    result.fault("stored under an id that is not theirs", [one.event_id for one in kept.attendances if not _owns(one)])
    result.fault("stored and never sent", stored.keys() - sent)
    result.fault("acknowledged and not published", acknowledged.keys() - kept.published)
    with_picture = {event_id: entry for event_id, entry in acknowledged.items() if entry.picture_sha256}
    result.sums["acknowledged with a picture"] = len(with_picture)
    result.fault(
        "with a lost picture",
        [key for key, one in with_picture.items() if kept.pictures.get(key) != one.picture_sha256],
    )
    result.fault(
        "with a lost link to their picture",
        [
            key
            for key, one in with_picture.items()
            if key in stored and not (stored[key].has_image and stored[key].image_sha256 == one.picture_sha256)
        ],
    )
    if kept.dead_letters:
        result.faults.append(f"{kept.dead_letters} records are dead letters")
    return result


def _owns(one: Stored) -> bool:
    return Entry(one.sn, one.person_id, one.record_time, one.type, UNANSWERED).event_id == one.event_id


def reckon_tasks(result: Reckoning, made: Iterable[str], tasks: Sequence[StoredTask]) -> None:
    """Every task that was promised is there, and every one has ended, once."""
    known = {task.task_id: task for task in tasks}
    result.sums["tasks"] = len(tasks)
    result.fault("tasks were promised and are not there", set(made) - known.keys())
    result.fault("tasks have not ended", [task.task_id for task in tasks if task.state not in ENDED])
    twice = [task.task_id for task in tasks if sum(state in ENDED for state in task.states) > 1]
    result.fault("tasks have ended more than once", twice)


def reckon_memory(result: Reckoning, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Resident bytes by process: none of a service stays far above what it had."""
    grown = [
        f"{name} from {before[name] >> 20} to {size >> 20} MiB"
        for name, size in after.items()
        if name in before and not name.startswith(MANAGED) and size > before[name] * GROWN_SHARE + GROWN_BYTES
    ]
    result.fault("processes have grown", grown)


def reckon_presence(result: Reckoning, told: Mapping[str, bool], expected: Mapping[str, bool]) -> None:
    """Who is on line as the console has it, against who is."""
    wrong = [sn for sn, is_online in expected.items() if told.get(sn) is not is_online]
    result.fault("terminals are shown as on line or off line wrongly", wrong)
