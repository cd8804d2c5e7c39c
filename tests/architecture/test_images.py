"""What the Dockerfiles and the compose file say. Whether images hold it: tests/images, which needs docker or podman.

compose-spec.json is the Compose Specification's own schema (Apache-2.0), as of 2026-06.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.support.manifests import (
    COMPOSE,
    SERVICES,
    base_objects,
    container,
    deployment,
    documents,
    plain_variables,
    secret_variables,
)
from tools.k8s_check.rendering import DEPLOY

ROOT = DEPLOY.parents[1]
SYNTHETIC = "synthetic-terminal"


@dataclass(frozen=True)
class Image:
    """A Dockerfile, and what is to be in it."""

    folder: str
    package: str
    requirements: str
    shares: tuple[str, ...] = ("shared",)


IMAGES = {
    "session": Image("services/session", "session_service", "session-service"),
    "attendance-writer": Image("services/attendance-writer", "attendance_writer", "attendance-writer"),
    "console": Image("services/console", "console_service", "console-service"),
    "task-api": Image("services/task-api", "task_api", "task-api"),
    "tcp-ingress": Image("services/tcp-ingress", "tcp_ingress", "tcp-ingress"),
    SYNTHETIC: Image(
        "tools/synthetic_terminal", "synthetic_terminal", SYNTHETIC, ("shared", "tools/terminal_simulator")
    ),
}


def dockerfile(name: str) -> str:
    return (ROOT / IMAGES[name].folder / "Dockerfile").read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return found


def objects_with_the_synthetic_terminal() -> list[dict[str, Any]]:
    return base_objects() + documents(DEPLOY / "components" / SYNTHETIC / f"{SYNTHETIC}.yaml")


def faults(of: dict[str, Any]) -> list[str]:
    """Where a compose file breaks the Compose Specification."""
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(of)]


# Images


def test_every_service_has_its_image_and_no_dockerfile_is_left_out() -> None:
    found = {
        str(file.parent.relative_to(ROOT))
        for file in [*ROOT.glob("services/*/Dockerfile"), *ROOT.glob("tools/*/Dockerfile")]
    }
    assert found == {image.folder for image in IMAGES.values()}
    assert set(SERVICES) <= set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_its_own_program_and_requirements_and_no_root(name: str) -> None:
    text, image = dockerfile(name), IMAGES[name]
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    own = f"requirements/{image.requirements}.txt"
    assert copied == ["requirements/release.txt", own, *image.shares, image.folder]
    assert all((ROOT / path).exists() for path in copied)
    # Of the builder, what is in /app alone: neither pip nor what builds wheels and the SBOM.
    assert set(re.findall(r"^COPY --from=builder (\S+) ", text, re.MULTILINE)) == {
        "/app/packages",
        "/app/src",
        "/app/sbom.cdx.json",
    }
    pod = deployment(objects_with_the_synthetic_terminal(), name)["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}" in text
    assert f'CMD ["python", "-m", "{image.package}"]' in text
    exposed = re.search(r"^EXPOSE (.*)$", text, re.MULTILINE)
    assert exposed is not None
    ports = {str(port["containerPort"]) for port in container(objects_with_the_synthetic_terminal(), name)["ports"]}
    assert set(exposed[1].split()) - {"7001"} == ports


@pytest.mark.parametrize("name", IMAGES)
def test_the_base_is_an_argument_with_a_pinned_python_and_packages_are_checked_by_hash(name: str) -> None:
    text = dockerfile(name)
    base = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert base is not None
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert re.fullmatch(rf"python:{re.escape(version)}-slim-\w+", base[1])
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == ["${BUILDER} AS builder", "${BASE}"]
    from_files = re.findall(r"^RUN python -m pip install (.*) -r \S+$", text, re.MULTILINE)
    assert len(from_files) == 2
    assert all("--require-hashes --only-binary=:all:" in options for options in from_files)
    # Our own: nothing is fetched for them.
    assert len(re.findall(r"^RUN python -m pip install .*--no-index --no-build-isolation", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", IMAGES)
def test_the_label_points_to_the_sbom_that_is_made_as_make_sbom_makes_it(name: str) -> None:
    text = dockerfile(name)
    label = re.search(r'site-access\.sbom="(\S+)"', text)
    assert label is not None
    assert f"-o {label[1]} /build/{IMAGES[name].requirements}.txt" in text
    command = "-m cyclonedx_py requirements --output-reproducible"
    assert command in text
    assert command in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_hosts_of_registries_stand_in_no_image() -> None:
    files = [COMPOSE, COMPOSE.with_name("base.sh"), *(ROOT / image.folder / "Dockerfile" for image in IMAGES.values())]
    for file in files:
        assert "https://" not in file.read_text(encoding="utf-8"), file


# The compose file; its settings: test_manifests.py


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    assert faults(compose()) == []


def test_what_compose_would_refuse_is_found() -> None:
    wrong = compose()
    wrong["services"]["session"]["reed_only"] = True
    wrong["services"]["console"]["ports"] = "8080"
    assert len(faults(wrong)) == 2


def test_each_of_our_containers_has_no_more_rights_than_its_pod() -> None:
    ours = {name: each for name, each in compose()["services"].items() if each["image"].startswith("site-access/")}
    assert set(ours) == {*IMAGES, "topics", "indexes"}
    for name, each in ours.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert (ROOT / each["build"]["dockerfile"]).exists(), name
        assert not [port for port in each.get("ports", []) if not port.startswith("127.0.0.1:")], name


def test_compose_gives_the_synthetic_terminal_what_its_pod_is_given_but_its_secrets() -> None:
    said = compose()["services"][SYNTHETIC]
    of = container(objects_with_the_synthetic_terminal(), SYNTHETIC)
    # A vendor and a token are made by whoever starts it.
    secrets = {name: f"${{{name}:-}}" for name in secret_variables(of)}
    assert said["environment"] == plain_variables(of) | secrets
    assert said["profiles"] == ["synthetic"]
