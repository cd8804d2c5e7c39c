"""Every overlay and combination of deploy/k8s builds and is valid; the schemas find what is there to find.

What the check runs with is fetched once into .cache.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import base_objects, deployment
from tools.k8s_check.__main__ import main
from tools.k8s_check.fetched import Fetched, fetch
from tools.k8s_check.rendering import DEPLOY, BuildError, build, kustomizations
from tools.k8s_check.schemas import faults_by_schema

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def fetched() -> Fetched:
    return fetch(print)


def test_every_overlay_and_combination_builds_and_is_valid(
    fetched: Fetched, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main()
    said = capsys.readouterr()
    assert code == 0, said.err
    names = {f"{folder.parent.name}/{folder.name}" for folder in kustomizations()}
    assert {"overlays/local", "overlays/staging", "overlays/production"} < names
    assert {line.partition(": ")[0] for line in said.out.splitlines()} >= names


def test_a_fault_of_a_combination_is_said_and_is_the_exit_code(
    fetched: Fetched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(DEPLOY, tmp_path / "k8s")
    service = tmp_path / "k8s" / "base" / "session.yaml"
    service.write_text(service.read_text(encoding="utf-8").replace(":0.1.0", ":latest"), encoding="utf-8")
    monkeypatch.setattr("tools.k8s_check.__main__.kustomizations", lambda: [tmp_path / "k8s" / "tests" / "bare"])
    assert main() == 1
    assert "tests/bare: Deployment session: image site-access/session:latest has no tag" in capsys.readouterr().err


def test_every_component_stands_in_an_overlay_or_a_combination() -> None:
    used = "".join((folder / "kustomization.yaml").read_text(encoding="utf-8") for folder in kustomizations())
    unused = [folder.name for folder in (DEPLOY / "components").iterdir() if f"components/{folder.name}\n" not in used]
    assert unused == []


def test_a_patch_of_something_that_is_not_there_is_refused(fetched: Fetched, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "k8s")
    patch = tmp_path / "k8s" / "components" / "tls" / "tcp-ingress.yaml"
    patch.write_text(patch.read_text(encoding="utf-8").replace("name: tcp-ingress", "name: ingress"), encoding="utf-8")
    with pytest.raises(BuildError, match="ingress"):
        build(fetched.kustomize, tmp_path / "k8s" / "overlays" / "production")


def with_labels(api_version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}, "spec": spec}


SCALED = {"scaleTargetRef": {"name": "w"}, "triggers": [{"type": "kafka", "metadata": {"topic": "t"}}]}
USER = {"authentication": {"type": "scram-sha-512"}}


WRONG = [
    (with_labels("keda.sh/v1alpha1", "ScaledObject", {**SCALED, "minReplicas": 2}), "minReplicas"),
    (with_labels("keda.sh/v1alpha1", "ScaledObject", {**SCALED, "minReplicaCount": "2"}), "string"),
    (
        with_labels(
            "gateway.networking.k8s.io/v1alpha2",
            "TCPRoute",
            {"rules": [{"backendRefs": [{"name": "a", "port": 70000}]}]},
        ),
        "65535",
    ),
    (with_labels("gateway.networking.k8s.io/v1", "HTTPRoute", {"hostnames": ["A_B"]}), "hostnames"),
    (
        with_labels("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", {"proxyProtocol": {"version": "V3"}}),
        "V3",
    ),
    (with_labels("cert-manager.io/v1", "Certificate", {"secretName": "s"}), "issuerRef"),
    (with_labels("external-secrets.io/v1", "ExternalSecret", {"datas": []}), "datas"),
    (
        with_labels("monitoring.coreos.com/v1", "PodMonitor", {"selector": {}, "podMetricsEndpoints": [{"prt": "a"}]}),
        "prt",
    ),
    (with_labels("kafka.strimzi.io/v1", "KafkaTopic", {"partitions": 0}), "minimum"),
    (with_labels("kafka.strimzi.io/v1", "KafkaUser", {**USER, "acls": []}), "acls"),
    (with_labels("kafka.strimzi.io/v1", "KafkaConnector", {}), "no schema"),
    (with_labels("argoproj.io/v1alpha1", "Rollout", {}), "no schema"),
    (with_labels("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "policytypes": []}), "policytypes"),
    (with_labels("policy/v1beta1", "PodDisruptionBudget", {}), "no schema"),
]
"""An object, and what must be said of it."""


@pytest.fixture(scope="module")
def said_of_wrong(fetched: Fetched) -> list[str]:
    """What is said of all of them; at once, because the compiler takes its time each time."""
    return faults_by_schema([(f"wrong {number}", each) for number, (each, _) in enumerate(WRONG)], fetched)


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[f"{each['kind']}-{fault}" for each, fault in WRONG])
def test_a_field_that_a_schema_does_not_have_and_a_value_that_it_refuses_are_found(
    said_of_wrong: list[str], number: int
) -> None:
    found = [line for line in said_of_wrong if line.startswith(f"wrong {number}: ")]
    assert any(WRONG[number][1] in line for line in found), said_of_wrong


def test_every_fault_says_where_it_is(said_of_wrong: list[str]) -> None:
    assert {line.partition(": ")[0] for line in said_of_wrong} == {f"wrong {number}" for number in range(len(WRONG))}


def test_a_misspelt_field_deep_in_a_pod_is_found_for_every_version_of_kubernetes(fetched: Fetched) -> None:
    each = deployment(base_objects(), "console")
    assert faults_by_schema([("here", each)], fetched) == []
    probe = each["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    probe["timoutSeconds"] = probe.pop("timeoutSeconds")
    found = faults_by_schema([("here", each)], fetched)
    assert len(found) == 2
    assert all("timoutSeconds" in line for line in found)
