"""Holds objects against the schemas of Kubernetes and of the CRDs. Unknown fields are faults."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tools.k8s_check.fetched import CUSTOM_RESOURCES, VERSIONS, Fetched
from tools.k8s_check.rendering import Object, name_of

STRIMZI = Path(__file__).parent / "strimzi"
"""Two of Strimzi's CRDs as JSON Schema: no package has them (README.md)."""


def faults_by_schema(entries: Sequence[tuple[str, Object]], fetched: Fetched) -> list[str]:
    """`entries` are objects with where each is from. A kind that no schema is known of is a fault."""
    faults: list[str] = []
    custom: list[tuple[str, Object]] = []
    # Kustomizations render much the same: each object once.
    for where, each in {json.dumps(each): (where, each) for where, each in entries}.values():
        group = each["apiVersion"].rpartition("/")[0]
        if group == "kafka.strimzi.io":
            faults += _strimzi_faults(where, each)
        elif _is_custom(group):
            custom.append((f"{where}: {name_of(each)}", each))
        else:
            for version in VERSIONS:
                faults += _builtin_faults(where, each, fetched.builtin_schemas / f"v{version}-local-strict")
    return faults + (_custom_faults(custom, fetched) if custom else [])


def _is_custom(group: str) -> bool:
    return group == "gateway.networking.k8s.io" or ("." in group and not group.endswith(".k8s.io"))


def _builtin_faults(where: str, each: Object, schemas: Path) -> Iterator[str]:
    group, _, version = each["apiVersion"].rpartition("/")
    parts = [each["kind"].lower(), group.partition(".")[0], version]
    file = schemas / f"{'-'.join(part for part in parts if part)}.json"
    if not file.is_file():
        yield f"{where}: {name_of(each)}: no schema of {each['apiVersion']} {each['kind']} in {schemas.name}"
        return
    validator = jsonschema.Draft202012Validator(_json(file), registry=_registry(schemas))
    for error in validator.iter_errors(each):
        yield f"{where}: {name_of(each)}: {error.json_path}: {error.message} ({schemas.name})"


@cache
def _json(file: Path) -> dict[str, object]:
    contents: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return contents


@cache
def _registry(schemas: Path) -> Registry[Any]:
    definitions = DRAFT202012.create_resource(_json(schemas / "_definitions.json"))
    # Where the schemas point to.
    registry: Registry[Any] = Registry().with_resource("/api/_definitions.json", definitions)
    return registry


def _strimzi_faults(where: str, each: Object) -> Iterator[str]:
    file = STRIMZI / f"{each['kind'].lower()}-{each['apiVersion'].rpartition('/')[2]}.json"
    if not file.is_file():
        yield f"{where}: {name_of(each)}: no schema of {each['apiVersion']} {each['kind']}"
        return
    for error in jsonschema.Draft202012Validator(_json(file)).iter_errors(each):
        yield f"{where}: {name_of(each)}: {error.json_path}: {error.message}"


def _custom_faults(entries: Sequence[tuple[str, Object]], fetched: Fetched) -> list[str]:
    ended = subprocess.run(
        [fetched.node, CUSTOM_RESOURCES / "validate.mjs"],
        input=json.dumps([{"where": where, "object": each} for where, each in entries]),
        env={**os.environ, "K8S_CHECK_MODELS": str(fetched.models)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    faults = ended.stdout.splitlines()
    if ended.returncode != 0 and not faults:
        raise RuntimeError(f"validate.mjs: {ended.stderr[-1000:]}")
    return faults
