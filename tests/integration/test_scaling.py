"""docs/runbook/scaling.md: its table follows from its figures, and the production overlay is its last row."""

import math
import re
from typing import Any

import pytest

from shared.runtime.settings import KafkaSettings
from tcp_ingress.settings import IngressSettings
from tools.k8s_check.fetched import fetch
from tools.k8s_check.rendering import DEPLOY, Object, build, find

PAGE = (DEPLOY.parents[1] / "docs" / "runbook" / "scaling.md").read_text(encoding="utf-8")
DAY_SIGN_INS = 72
AT_PEAK = 2000 / 100_000
"""Sign-ins a second of a terminal: the design's."""


def figures(row: str) -> list[float]:
    """The numbers of a row of the first table; 0 where a cell is empty."""
    (cells,) = re.findall(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.MULTILINE)
    return [float(cell.strip() or 0) for cell in cells.split("|")]


def table() -> dict[int, list[int]]:
    """The rows of the second table, by terminals."""
    rows = re.findall(r"^\| ([\d,]+) \|((?: [\d,]+ \|){8})$", PAGE, re.MULTILINE)
    return {
        int(terminals.replace(",", "")): [int(cell.replace(",", "")) for cell in cells.split("|")[:-1]]
        for terminals, cells in rows
    }


def computed(terminals: int) -> list[int]:
    """A row, from what the page says of its columns."""
    session_us = figures("C_AUTH, µs")[1]
    writer_us = figures("sign-in with a picture of 30 kB, µs")[2]
    redis_kb = figures("a terminal that is connected, kB")[3]
    peak = terminals * AT_PEAK
    per_pod = IngressSettings.model_fields["max_connections"].default / 2
    redis_mb = 2 * redis_kb * terminals / 1000
    return [
        round(peak),
        max(2, math.ceil(terminals / per_pod) + (terminals >= per_pod)),
        max(2, math.ceil(terminals * session_us / 1e6 / 15 / 0.7)),
        max(2, math.ceil(peak * writer_us / 1e6 / 0.7) + 1),
        KafkaSettings.model_fields["partitions"].default,
        max(64, 2 ** math.ceil(math.log2(redis_mb))),
        round(terminals * DAY_SIGN_INS * (0.85 + 30.2) / 1e6),
        round(terminals * DAY_SIGN_INS * (1 + 30.2) / 1e6),
    ]


def test_the_table_has_the_three_sizes_and_follows_from_the_figures() -> None:
    assert table() == {terminals: computed(terminals) for terminals in (1_000, 10_000, 100_000)}


def test_the_example_is_computed_from_the_figures() -> None:
    ingress_us, heartbeat_us = figures("sign-in with a picture of 30 kB, µs")[0], figures("heartbeat, µs")[0]
    signing, beating = 2000 * ingress_us / 1e6, 100_000 / 60 * heartbeat_us / 1e6
    assert f"{signing:.2f} cores" in PAGE
    assert f"{beating:.2f} cores of heartbeats" in PAGE
    pods = table()[100_000][1]
    assert (
        f"{signing + beating:.2f} cores for the\n  province, {(signing + beating) / pods:.2f} a pod of {pods}" in PAGE
    )
    assert f"10,000 terminals take {(signing + beating) / 10:.2f} cores at the peak" in PAGE
    assert f"20,000 terminals at the peak takes {(signing + beating) / 5:.2f} cores" in PAGE


def cores(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def container(objects: list[Object], name: str) -> dict[str, Any]:
    found = find(objects, "Deployment", name)
    assert found is not None
    first: dict[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
    return first


@pytest.mark.timeout(900)
def test_the_production_overlay_is_the_last_row() -> None:
    objects = build(fetch(print).kustomize, DEPLOY / "overlays" / "production")
    _, ingress, session, writer, partitions, *_ = table()[100_000]
    scalers = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]
        for each in objects
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    assert scalers["tcp-ingress"]["minReplicas"] == ingress
    assert scalers["tcp-ingress"]["maxReplicas"] >= 2 * ingress
    assert scalers["session"]["minReplicas"] == session
    assert scalers["session"]["maxReplicas"] >= 2 * session
    assert scalers["attendance-writer"]["minReplicaCount"] == writer
    assert scalers["attendance-writer"]["maxReplicaCount"] == partitions
    for service in ("console", "task-api"):
        assert scalers[service]["minReplicas"] == 2
    assert scalers["task-api"]["maxReplicas"] == 8
    (connections,) = [each["pods"] for each in scalers["tcp-ingress"]["metrics"] if each["type"] == "Pods"]
    assert int(connections["target"]["averageValue"]) * 2 == IngressSettings.model_fields["max_connections"].default


@pytest.mark.timeout(900)
def test_what_is_requested_is_enough_for_the_peak_of_a_pod() -> None:
    objects = build(fetch(print).kustomize, DEPLOY / "overlays" / "production")
    _, ingress, _, writer, *_ = table()[100_000]
    per_sign_in = figures("sign-in with a picture of 30 kB, µs")
    requested = {
        name: container(objects, name)["resources"]["requests"] for name in ("tcp-ingress", "attendance-writer")
    }
    assert cores(requested["tcp-ingress"]["cpu"]) >= 2 * 2000 * per_sign_in[0] / 1e6 / ingress
    assert cores(requested["attendance-writer"]["cpu"]) >= 2000 * per_sign_in[2] / 1e6 / writer
    at_rest, per_terminal = figures("a process at rest, MB")[0], figures("a terminal that is connected, kB")[0]
    megabytes = int(requested["tcp-ingress"]["memory"].removesuffix("Mi")) * 2**20 / 1e6
    assert megabytes > at_rest + 100_000 / ingress * per_terminal / 1000
