"""The manifests of deploy/k8s as they stand in their files: nothing is built, kustomize is not needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.k8s_check.rendering import DEPLOY

COMPOSE = DEPLOY.parent / "docker" / "compose.yaml"
SERVICES = ("session", "attendance-writer", "console", "task-api", "tcp-ingress")


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]


def base_objects() -> list[dict[str, Any]]:
    """What the base renders, near enough for our own rules: its objects, its ConfigMap, its common label."""
    kustomization = documents(DEPLOY / "base" / "kustomization.yaml")[0]
    objects = [each for name in kustomization["resources"] for each in documents(DEPLOY / "base" / name)]
    generated = kustomization["configMapGenerator"][0]
    labels = dict(generated["options"]["labels"])
    data = dict(literals(kustomization, "configMapGenerator"))
    objects.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "platform", "labels": labels}, "data": data}
    )
    for each in objects:
        each["metadata"]["labels"]["app.kubernetes.io/part-of"] = "site-access"
        if "template" in each.get("spec", {}):
            each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] = "site-access"
    return objects


def literals(kustomization: dict[str, Any], generator: str) -> Iterator[tuple[str, str]]:
    """What generators named platform are given."""
    for each in kustomization.get(generator, []):
        if each["name"] == "platform":
            for literal in each.get("literals", []):
                key, _, value = literal.partition("=")
                yield key, value


def deployment(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(each for each in objects if each["kind"] == "Deployment" and each["metadata"]["name"] == name)


def container(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    first: dict[str, Any] = deployment(objects, name)["spec"]["template"]["spec"]["containers"][0]
    return first


def plain_variables(of: dict[str, Any]) -> dict[str, str]:
    """Variables of a container that say their value."""
    return {each["name"]: each["value"] for each in of.get("env", []) if "value" in each}


def secret_variables(of: dict[str, Any]) -> dict[str, str]:
    """Variables of a container that a Secret gives, with the Secret's key."""
    return {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in of.get("env", []) if "valueFrom" in each}
