"""The ledger as the terminals keep it, outside the platform: what became of each sign-in."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

EVENT_NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")
ACKNOWLEDGED, REFUSED, UNANSWERED = "acknowledged", "refused", "unanswered"


@dataclass(frozen=True, slots=True)
class Entry:
    """One sign-in, and what its terminal was last told of it."""

    sn: str
    person_id: str
    record_time: int
    type: int
    outcome: str
    was_sent: bool = True
    picture_sha256: str | None = None

    @property
    def event_id(self) -> str:
        """UUIDv5 as design rule 2 defines it, computed without the platform's code."""
        name = f"{self.sn}\x1f{self.person_id}\x1f{self.record_time}\x1f{self.type}"
        return str(uuid.uuid5(EVENT_NAMESPACE, name))


def read_entry(line: str) -> Entry:
    """A line of the simulator's ledger."""
    told = json.loads(line)
    return Entry(
        told["sn"],
        told["personId"],
        told["recordTime"],
        told["type"],
        told["outcome"],
        told["wasSent"],
        told.get("pictureSha256"),
    )


class LedgerFile:
    """A ledger that is being written; `take_new` reads on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._path = path
        self._read_bytes = 0

    def take_new(self) -> list[Entry]:
        """The whole lines that were added since the last look."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        new = [read_entry(line) for line in whole.decode().splitlines()]
        self.entries += new
        return new


def newest_acknowledged(entries: Iterable[Entry]) -> dict[str, Entry]:
    """By terminal, what was acknowledged last."""
    return {entry.sn: entry for entry in entries if entry.outcome == ACKNOWLEDGED}


def acknowledged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Those that were answered with success."""
    return (entry for entry in entries if entry.outcome == ACKNOWLEDGED)


def sha256(picture: bytes) -> str:
    """As the ledger has it."""
    return hashlib.sha256(picture).hexdigest()
