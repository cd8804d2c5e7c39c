"""The synthetic terminal's manifest and image agree with its settings, its dependencies and the network policies."""

import re

import pytest
from pydantic import SecretStr

from synthetic_terminal.settings import SyntheticTerminalSettings
from tests.support.manifests import container, deployment, documents, plain_variables, secret_variables
from tools.k8s_check.rendering import DEPLOY
from tools.k8s_check.rules import GIVEN_SECRETS

ROOT = DEPLOY.parents[1]
NAME = "synthetic-terminal"
OBJECTS = documents(DEPLOY / "components" / NAME / f"{NAME}.yaml")
FIELDS = {f"SYNTHETIC_TERMINAL_{name.upper()}": field for name, field in SyntheticTerminalSettings.model_fields.items()}


def test_the_pods_variables_are_settings_and_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    of = container(OBJECTS, NAME)
    for name, value in (plain_variables(of) | dict.fromkeys(secret_variables(of), "given")).items():
        assert name in FIELDS
        monkeypatch.setenv(name, value)
    settings = SyntheticTerminalSettings()
    assert (settings.host, settings.port, settings.console_url) == ("tcp-ingress", 7000, "http://console:8080")


def test_the_pod_is_given_every_secret_and_every_required_setting_and_no_other_from_the_secret() -> None:
    of = container(OBJECTS, NAME)
    given = secret_variables(of)
    wanted = {name for name, field in FIELDS.items() if field.annotation is SecretStr or field.is_required()}
    assert set(given) == wanted
    assert set(given.values()) == {"ACCESS_ID", "ACCESS_KEY", "ACCESS_SECRET", "CONSOLE_TOKEN"}
    assert "envFrom" not in of
    assert NAME in GIVEN_SECRETS


def test_there_is_never_more_than_one_of_it() -> None:
    spec = deployment(OBJECTS, NAME)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_prometheus_reads_it() -> None:
    (monitor,) = documents(DEPLOY / "components" / "monitoring" / "pod-monitor.yaml")
    assert NAME in monitor["spec"]["selector"]["matchExpressions"][0]["values"]
    doors = {
        each["metadata"]["name"]: each for each in documents(DEPLOY / "components/network-policies/front-doors.yaml")
    }
    assert NAME in doors["from-prometheus"]["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert [port["name"] for port in container(OBJECTS, NAME)["ports"]] == ["admin"]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_overlays_have_it_with_an_image_of_their_registry(overlay: str) -> None:
    (kustomization,) = documents(DEPLOY / "overlays" / overlay / "kustomization.yaml")
    assert f"../../components/{NAME}" in kustomization["components"]
    images = {image["name"]: image["newName"] for image in kustomization["images"]}
    assert images[f"site-access/{NAME}"] == f"registry.example.org/site-access/{NAME}"


def test_the_image_has_the_runtime_the_simulators_protocol_and_no_root() -> None:
    text = (ROOT / "tools" / "synthetic_terminal" / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    assert all((ROOT / path).exists() for path in copied)
    wanted = ("shared", "tools/terminal_simulator", "tools/synthetic_terminal", f"requirements/{NAME}.txt")
    assert [path for path in wanted if not any(each.startswith(path) for each in copied)] == []
    assert not any(path.startswith("services") for path in copied)
    assert "--require-hashes" in text
    user = deployment(OBJECTS, NAME)["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    assert 'CMD ["python", "-m", "synthetic_terminal"]' in text
    (port,) = container(OBJECTS, NAME)["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in text
    assert "https://" not in text
