"""What the check runs with, fetched once into .cache by go, pip and npm. Nothing is checked here."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "k8s-check"
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
REQUIREMENTS = HERE / "requirements.txt"
CUSTOM_RESOURCES = HERE / "custom_resources"
FETCH_SECONDS = 900

Say = Callable[[str], None]


class FetchError(Exception):
    """Something could not be fetched; the text says what to do."""


@dataclass(frozen=True)
class Fetched:
    """Where everything is."""

    kustomize: Path
    builtin_schemas: Path
    """A folder a version of Kubernetes."""
    models: Path
    """Models of custom resources, under node_modules."""


def fetch(say: Say, cache: Path = CACHE) -> Fetched:
    """Fetches what is missing. Raises FetchError. KUSTOMIZE in the environment names a kustomize to use instead."""
    cache.mkdir(parents=True, exist_ok=True)
    own = os.environ.get("KUSTOMIZE")
    kustomize = Path(own) if own else _kept(cache, "kustomize", KUSTOMIZE.encode(), _build_kustomize, say) / "kustomize"
    schemas = _kept(cache, "schemas", REQUIREMENTS.read_bytes(), _install_schemas, say)
    lock = (CUSTOM_RESOURCES / "package-lock.json").read_bytes()
    models = _kept(cache, "models", lock, _install_models, say)
    return Fetched(kustomize, schemas / "kubernetes_validate" / "kubernetes-json-schema", models)


def _kept(cache: Path, name: str, key: bytes, make: Callable[[Path], None], say: Say) -> Path:
    folder = cache / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    if not folder.is_dir():
        say(f"fetching {name} (once) …")
        partial = folder.with_suffix(f".partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            make(partial)
            # Appears under its name only when all is there; another process may have been quicker.
            if not folder.is_dir():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _build_kustomize(folder: Path) -> None:
    _run("go", ["install", "-trimpath", KUSTOMIZE], {"GOBIN": str(folder), "CGO_ENABLED": "0"})


def _install_schemas(folder: Path) -> None:
    arguments = ["-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "--only-binary=:all:"]
    _run(sys.executable, [*arguments, "--require-hashes", "--target", str(folder), "-r", str(REQUIREMENTS)], {})


def _install_models(folder: Path) -> None:
    for file in ("package.json", "package-lock.json"):
        shutil.copy(CUSTOM_RESOURCES / file, folder)
    _run("npm", ["ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], {})


def _run(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    found = shutil.which(program)
    if found is None:
        raise FetchError(f"{program} is needed to fetch what the check runs with, and is not installed")
    command = [found, *arguments]
    ended = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        raise FetchError(f"{' '.join(command)} failed:\n{(ended.stdout + ended.stderr)[-2000:]}")
