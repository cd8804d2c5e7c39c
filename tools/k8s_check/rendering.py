"""Builds a kustomization into the objects that it renders. Nothing is judged here."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = Mapping[str, Any]

DEPLOY = Path(__file__).parents[2] / "deploy" / "k8s"


class BuildError(Exception):
    """kustomize refused; the text is its own."""


def kustomizations(deploy: Path = DEPLOY) -> list[Path]:
    """Every overlay and every combination."""
    return sorted(file.parent for part in ("overlays", "tests") for file in deploy.glob(f"{part}/*/kustomization.yaml"))


def build(kustomize: Path, folder: Path) -> list[Object]:
    """What a folder renders. Raises BuildError."""
    ended = subprocess.run(
        [kustomize, "build", folder], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        raise BuildError(f"{folder.name}: {ended.stderr.strip()}")
    if ended.stderr:
        # Deprecations: they become refusals.
        raise BuildError(f"{folder.name}: {ended.stderr.strip()}")
    return [document for document in yaml.safe_load_all(ended.stdout) if document]


def name_of(each: Object) -> str:
    """How faults name an object."""
    return f"{each['kind']} {each['metadata']['name']}"


def label(each: Object, key: str) -> str | None:
    """One of the app.kubernetes.io labels."""
    value = (each["metadata"].get("labels") or {}).get(f"app.kubernetes.io/{key}")
    return None if value is None else str(value)


def workloads(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Objects that make pods, each with its pod template."""
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield each, each["spec"]["template"]


def find(objects: list[Object], kind: str, name: str) -> Object | None:
    """The object of that kind and name, where it is rendered."""
    return next((each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name), None)
