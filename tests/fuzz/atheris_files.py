"""atheris, fetched once into .cache by uv: it has no wheel for every platform, so .venv does without it."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import ROOT

CACHE = ROOT / ".cache" / "fuzz"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class NoAtheris(Exception):
    """It could not be fetched; the text says why."""


def atheris_folder(
    cache: Path = CACHE, requirements: Path = REQUIREMENTS, options: Sequence[str] = ("--require-hashes",)
) -> Path:
    """The folder to put into PYTHONPATH. Raises NoAtheris, as where there is no wheel for this platform."""
    wanted = requirements.read_bytes() + sys.version.encode()
    folder = cache / f"atheris-{hashlib.sha256(wanted).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process fetches, others wait for it
        if not folder.is_dir():
            _fetch(folder, requirements, options)
    return folder


def _fetch(folder: Path, requirements: Path, options: Sequence[str]) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--python", sys.executable]
    # Wheels alone: the source would have a whole clang built.
    command = [*uv, "--target", str(partial), "--no-deps", "--only-binary", ":all:", *options, "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip()
        if "wheels" in reason or "no wheel" in reason:
            reason = (
                f"there is no wheel of atheris for this platform (Linux on x86_64, CPython 3.11 to 3.14):\n{reason}"
            )
        raise NoAtheris(reason)
    partial.rename(folder)
