"""What the runbook has people do: the order of a roll-out, by a kubectl that only writes down what it is told, and the
two steps of a new sealing key."""

import os
import subprocess
from pathlib import Path

import pytest

from shared.domain.sealing import Sealer, UnsealError
from tests.support.manifests import SERVICES, documents
from tools.k8s_check.fetched import Fetched, fetch
from tools.k8s_check.rendering import DEPLOY, build

KUBECTL = """#!/bin/sh
if [ "$1" = kustomize ]; then exec "$KUSTOMIZE_BINARY" build "$2"; fi
echo "$*" >> "$CALLS"
case "$*" in *"$FAIL_AT"*) exit 1;; esac
"""


@pytest.fixture(scope="module")
def fetched() -> Fetched:
    return fetch(print)


def roll_out(fetched: Fetched, folder: Path, overlay: str, fail_at: str = "nothing") -> tuple[int, list[str]]:
    kubectl, calls = folder / "kubectl", folder / "calls"
    kubectl.write_text(KUBECTL, encoding="utf-8")
    kubectl.chmod(0o700)
    environment = {"KUBECTL": str(kubectl), "KUSTOMIZE_BINARY": str(fetched.kustomize), "CALLS": str(calls)}
    ended = subprocess.run(
        [DEPLOY / "roll-out.sh", overlay],
        env={**os.environ, **environment, "FAIL_AT": fail_at},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, calls.read_text(encoding="utf-8").splitlines()


@pytest.mark.timeout(900)
def test_a_roll_out_makes_topics_and_indexes_before_any_service_and_ingress_last(
    fetched: Fetched, tmp_path: Path
) -> None:
    code, calls = roll_out(fetched, tmp_path, "local")
    assert code == 0
    at = {wanted: next(i for i, call in enumerate(calls) if wanted in call) for wanted in ("delete job", "wait job")}
    statuses = [call.split()[4] for call in calls if "rollout status" in call]
    assert statuses == [f"deployment/{name}" for name in SERVICES]
    assert at["delete job"] < at["wait job"] < next(i for i, call in enumerate(calls) if "rollout status" in call)
    assert SERVICES[-1] == "tcp-ingress"


@pytest.mark.timeout(900)
def test_a_roll_out_stops_where_a_service_does_not_become_ready(fetched: Fetched, tmp_path: Path) -> None:
    code, calls = roll_out(fetched, tmp_path, "production", fail_at="rollout status deployment/console")
    assert code != 0
    assert not [call for call in calls if "tcp-ingress" in call]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("overlay", ["local", "staging", "production"])
def test_what_the_jobs_and_the_services_need_is_applied_before_them(fetched: Fetched, overlay: str) -> None:
    script = (DEPLOY / "roll-out.sh").read_text(encoding="utf-8")
    first = script.partition("component in (")[2].partition(")")[0].split(", ")
    labels = {
        each["kind"]: each["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in build(fetched.kustomize, DEPLOY / "overlays" / overlay)
        if each["kind"] in ("Namespace", "ConfigMap", "Secret", "ExternalSecret", "NetworkPolicy", "KafkaTopic")
        and each["metadata"]["name"] != "otel-collector"
        and not each["metadata"]["name"].startswith("otel-collector-")
    }
    assert set(labels.values()) <= set(first), labels


OLD, NEW = bytes(32), bytes(range(32))


def test_a_new_sealing_key_opens_everywhere_before_it_seals_anywhere() -> None:
    before, opens, seals = Sealer({"k1": OLD}), Sealer({"k1": OLD, "k2": NEW}), Sealer({"k2": NEW, "k1": OLD})
    # While step 2 rolls, old and new pods are side by side; so they are in step 3.
    for one, other in [(before, opens), (opens, seals)]:
        assert other.open(one.seal("secret", "owner"), "owner") == "secret"
        assert one.open(other.seal("secret", "owner"), "owner") == "secret"
    # In one step, pods that roll later could not open what the first ones seal.
    with pytest.raises(UnsealError):
        before.open(seals.seal("secret", "owner"), "owner")


def test_the_pages_name_scripts_that_are_there() -> None:
    page = (DEPLOY.parents[1] / "docs" / "runbook" / "roll-out.md").read_text(encoding="utf-8")
    assert "deploy/k8s/roll-out.sh OVERLAY" in page
    assert os.access(DEPLOY / "roll-out.sh", os.X_OK)
    script = (DEPLOY / "roll-out.sh").read_text(encoding="utf-8")
    for overlay in ("local", "staging", "production"):
        namespace = documents(DEPLOY / "overlays" / overlay / "namespace.yaml")[0]["metadata"]["name"]
        assert f"namespace={namespace}\n" in script
