"""The committed corpus: of the seeds and of what the fuzzer learned the smallest inputs that together take every branch
between lines that all of them take."""

import hashlib
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import CORPUS, UNDER_TEST, Check, check_of

MAX_KEPT_BYTES = 2048

Branch = tuple[str, int, int]
_PATHS = tuple(f"/src/{name.replace('.', '/')}" for name in UNDER_TEST)


def minimize(target: str, learned: Path, committed: Path = CORPUS) -> int:
    """Rewrites the target's corpus; what is in it already stays a candidate. Gives its size."""
    folder = committed / target
    folder.mkdir(parents=True, exist_ok=True)
    known = [file.read_bytes() for place in (folder, learned) if place.is_dir() for file in place.iterdir()]
    candidates = sorted({*seeds_of(target), *known}, key=lambda data: (len(data), data))
    check = check_of(target)
    taken: set[Branch] = set()
    kept: list[bytes] = []
    for data in candidates:
        if len(data) > MAX_KEPT_BYTES:
            continue
        new = branches(check, data) - taken
        if new:
            taken |= new
            kept.append(data)
    for file in folder.iterdir():
        file.unlink()
    for data in kept:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(kept)


def branches(check: Check, data: bytes) -> set[Branch]:
    """The steps from line to line in the code under test."""
    found: set[Branch] = set()

    def called(frame: FrameType, _event: str, _argument: Any) -> Any:
        path = frame.f_code.co_filename
        if not any(part in path for part in _PATHS):
            return None
        before = frame.f_lineno

        def stepped(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal before
            if event == "line":
                found.add((path, before, frame.f_lineno))
                before = frame.f_lineno
            return stepped

        return stepped

    sys.settrace(called)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return found
