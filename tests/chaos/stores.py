"""Where brokers and MongoDB keep their data: folders, or small file systems that a fault can fill up (root alone)."""

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

from tests.chaos.brokers import NODES

SIZES_MEGABYTES = {"mongo": 1_500, **{f"kafka-{node}": 700 for node in NODES}}
MOUNTS = Path("/proc/mounts")
BALLAST = "ballast"
PIECE = b"\0" * 1_048_576
LAST_PIECE = b"\0" * 4_096


class Stores:
    """One folder a part, under `data`."""

    def __init__(self, directory: Path, *, enabled: bool) -> None:
        self._root = directory / "data"
        self._enabled = enabled
        self._mounted: list[Path] = []

    @property
    def why_not_full(self) -> str:
        """Why no disk can be filled up here; empty where it can."""
        return "" if self._mounted else "a small file system of its own needs root, and a kernel that lets it mount"

    def prepare(self) -> dict[str, Path]:
        """The folders, empty, and mounted where that is possible."""
        self._mounted = self._left_mounted()
        self.drop()
        shutil.rmtree(self._root, ignore_errors=True)
        folders = {part: self._root / part for part in SIZES_MEGABYTES}
        for part, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            if self._enabled and os.geteuid() == 0:
                size = f"size={SIZES_MEGABYTES[part]}m"
                command = ["mount", "-t", "tmpfs", "-o", size, "chaos", str(folder)]
                if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                    self._mounted.append(folder)
        return folders

    def _left_mounted(self) -> list[Path]:
        """By a run that was killed."""
        if not MOUNTS.exists():
            return []
        mounted = [Path(line.split()[1]) for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
        return [folder for folder in mounted if folder.is_relative_to(self._root)]

    def fill(self, part: str) -> None:
        """Writes until nothing fits any more."""
        with (self._root / part / BALLAST).open("wb", buffering=0) as ballast:
            for piece in (PIECE, LAST_PIECE):
                try:
                    while True:
                        ballast.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self, part: str) -> None:
        """Takes what `fill` wrote away."""
        (self._root / part / BALLAST).unlink(missing_ok=True)

    def drop(self) -> None:
        """Unmounts; the data is gone then."""
        for folder in self._mounted:
            with contextlib.suppress(subprocess.CalledProcessError):  # a process that is slow to die still holds it
                subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
        self._mounted.clear()
