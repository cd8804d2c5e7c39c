"""What deploy/ says agrees with the settings classes, the topics and the documents. Whether manifests are valid:
tests/integration/test_k8s_check.py. Images: test_images.py."""

import importlib
import inspect
import re
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from console_service.settings import ConsoleSettings
from tests.support.manifests import (
    COMPOSE,
    SERVICES,
    base_objects,
    container,
    deployment,
    documents,
    literals,
    plain_variables,
    secret_variables,
)
from tools.k8s_check.drain import LEAVING
from tools.k8s_check.rendering import DEPLOY

ROOT = DEPLOY.parents[1]
README = DEPLOY / "README.md"
POLICIES = DEPLOY / "components" / "network-policies"
PACKAGES = {
    "session": "session_service",
    "attendance-writer": "attendance_writer",
    "console": "console_service",
    "task-api": "task_api",
    "tcp-ingress": "tcp_ingress",
}
LONG_TOKEN = "t" * 32
SECRETS = {
    "MONGO_URL": "mongodb://m",
    "REDIS_URL": "redis://r",
    "SEALING_KEYS": "k1:" + "A" * 43 + "=",
    "SESSION_TOKEN": LONG_TOKEN,
    "CONSOLE_ADMIN_TOKEN": LONG_TOKEN,
}


def settings_of(service: str) -> list[type[BaseSettings]]:
    """The classes that the service's process reads: those that its entry names."""
    entry = importlib.import_module(f"{PACKAGES[service]}.__main__")
    found = [member for _, member in inspect.getmembers(entry, inspect.isclass) if issubclass(member, BaseSettings)]
    wiring = importlib.import_module(f"{PACKAGES[service]}.wiring")
    return found + [
        member
        for _, member in inspect.getmembers(wiring, inspect.isclass)
        if issubclass(member, BaseSettings) and member not in found
    ]


def names(settings: type[BaseSettings]) -> dict[str, Any]:
    """Its variables, with their fields."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name.upper()}": field for name, field in settings.model_fields.items()}


def known(service: str) -> dict[str, Any]:
    return {name: field for settings in settings_of(service) for name, field in names(settings).items()}


def all_literals() -> dict[str, dict[str, str]]:
    """What each kustomization puts into the ConfigMap platform."""
    files = sorted(DEPLOY.rglob("kustomization.yaml"))
    return {
        str(file.parent.relative_to(DEPLOY)): dict(literals(documents(file)[0], "configMapGenerator")) for file in files
    }


def is_secret(field: Any) -> bool:
    return SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


# Settings


@pytest.mark.parametrize("service", SERVICES)
def test_the_pods_variables_are_settings_of_their_process_and_are_accepted(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = container(base_objects(), service)
    variables = plain_variables(of) | {name: SECRETS[key] for name, key in secret_variables(of).items()}
    assert set(variables) <= set(known(service))
    for name, value in (all_literals()["base"] | all_literals()["overlays/production"] | variables).items():
        monkeypatch.setenv(name, value)
    for settings in settings_of(service):
        settings()


@pytest.mark.parametrize("service", SERVICES)
def test_the_pods_are_given_every_secret_that_their_process_reads_and_no_other(service: str) -> None:
    given = set(secret_variables(container(base_objects(), service)))
    # Kafka's password: components/kafka-sasl.
    wanted = {name for name, field in known(service).items() if is_secret(field)} - {"KAFKA_SASL_PASSWORD"}
    assert given == wanted


def test_the_config_map_holds_settings_alone_and_no_secret() -> None:
    everything = {name: field for service in SERVICES for name, field in known(service).items()}
    for where, given in all_literals().items():
        assert set(given) <= set(everything), where
        assert not [name for name in given if is_secret(everything[name])], where


def test_a_pod_listens_on_the_ports_that_it_is_said_to_have() -> None:
    objects = base_objects()
    for service in SERVICES:
        of = container(objects, service)
        ports = {value for name, value in plain_variables(of).items() if name.endswith("_PORT")}
        assert ports == {str(port["containerPort"]) for port in of["ports"]}, service
        hosts = {value for name, value in plain_variables(of).items() if name.endswith("_HOST")}
        assert hosts == {"0.0.0.0"}, f"{service}: a pod that listens on 127.0.0.1 is reached by nobody"  # noqa: S104 (in the pod)


def test_compose_gives_each_service_the_settings_of_the_local_overlay() -> None:
    local = documents(DEPLOY / "overlays" / "local" / "kustomization.yaml")[0]
    platform = all_literals()["base"] | all_literals()["overlays/local"]
    secrets = dict(literals(local, "secretGenerator"))
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    objects = base_objects()
    for service in SERVICES:
        of = container(objects, service)
        expected = platform | plain_variables(of) | {name: secrets[key] for name, key in secret_variables(of).items()}
        assert compose[service]["environment"] == expected, service
        grace = deployment(objects, service)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert compose[service]["stop_grace_period"] == f"{grace}s", service


# Leaving


@pytest.mark.parametrize("service", SERVICES)
def test_the_checks_defaults_are_those_of_the_settings(service: str) -> None:
    leaving = LEAVING[service]
    assert known(service)[leaving.setting].default == leaving.default_seconds
    if leaving.notice is not None:
        assert known(service)[leaving.notice].default == 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_given_the_time_that_degraded_modes_demands(service: str) -> None:
    text = (ROOT / "docs" / "degraded-modes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z, -]+) \|.*\| at least (\d+) \|$", text, re.MULTILINE)
    demanded = {process: int(seconds) for processes, seconds in rows for process in processes.split(", ")}
    leaving = LEAVING[service]
    assert demanded[service] > leaving.default_seconds + leaving.then_seconds
    pod = deployment(base_objects(), service)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= demanded[service]


def test_the_console_has_room_for_two_uploads_of_firmware() -> None:
    pod = deployment(base_objects(), "console")["spec"]["template"]["spec"]
    size = int(pod["volumes"][0]["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20
    assert size >= 2 * ConsoleSettings.model_fields["max_firmware_bytes"].default
    ephemeral = pod["containers"][0]["resources"]["limits"]["ephemeral-storage"]
    assert int(ephemeral.removesuffix("Mi")) * 2**20 > size
    assert pod["containers"][0]["volumeMounts"] == [{"name": "temporary", "mountPath": "/tmp"}]  # noqa: S108 (in the pod)
