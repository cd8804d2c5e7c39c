"""The ledger: one JSON line a sign-in with what became of it, to be compared with what the platform stored."""

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self


class Outcome(StrEnum):
    """What became of a sign-in."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    """Not acknowledged when the simulator ended: the platform may have it or not."""


class Ledger:
    """Writes outcomes to a file line by line; to nothing where it has no path."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1) if path else None

    def write(
        self,
        *,
        sn: str,
        person_id: str,
        record_time: int,
        sign_in_type: int,
        picture: bytes | None,
        was_sent: bool,
        outcome: Outcome,
        errorcode: str = "",
    ) -> None:
        """Adds one line. sn, personId, recordTime and type together name the sign-in."""
        if self._file is None:
            return
        line: dict[str, object] = {
            "sn": sn,
            "personId": person_id,
            "recordTime": record_time,
            "type": sign_in_type,
            "withPicture": picture is not None,
            "outcome": outcome,
            "wasSent": was_sent,
        }
        if picture is not None:
            line["pictureSha256"] = hashlib.sha256(picture).hexdigest()
        if errorcode:
            line["errorcode"] = errorcode
        self._file.write(json.dumps(line) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
