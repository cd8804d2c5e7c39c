"""Whether a pod is given the time that its service takes to leave (design rule 13)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.k8s_check.rendering import Object, find, name_of


@dataclass(frozen=True)
class Leaving:
    """What a service takes to leave."""

    setting: str
    default_seconds: float
    """Of the setting; a test holds it equal to the settings class."""
    then_seconds: float
    """What follows: docs/degraded-modes.md."""
    notice: str | None
    """The setting of the notice, for those that are reached through load balancers; a default of 5 s."""


LEAVING: Mapping[str, Leaving] = {
    "tcp-ingress": Leaving("TCP_INGRESS_GRACE_SECONDS", 60, 15, "TCP_INGRESS_NOTICE_SECONDS"),
    "session": Leaving("SESSION_NOTICE_SECONDS", 5, 10 + 6, "SESSION_NOTICE_SECONDS"),
    "task-api": Leaving("TASK_API_NOTICE_SECONDS", 5, 10 + 6, "TASK_API_NOTICE_SECONDS"),
    "console": Leaving("CONSOLE_NOTICE_SECONDS", 5, 10 + 6, "CONSOLE_NOTICE_SECONDS"),
    "attendance-writer": Leaving("ATTENDANCE_WRITER_LEAVE_SECONDS", 15, 20, None),
}
KUBERNETES_DEFAULT_SECONDS = 30


def drain_faults(objects: list[Object]) -> Iterator[str]:
    """terminationGracePeriodSeconds is longer than the drain with the settings that the pod is given."""
    for service, leaving in LEAVING.items():
        deployment = find(objects, "Deployment", service)
        if deployment is None:
            yield f"Deployment {service}: is not there"
            continue
        pod = deployment["spec"]["template"]["spec"]
        settings = _settings(pod["containers"][0], objects)
        needed = float(settings.get(leaving.setting, leaving.default_seconds)) + leaving.then_seconds
        grace = pod.get("terminationGracePeriodSeconds", KUBERNETES_DEFAULT_SECONDS)
        if grace <= needed:
            yield f"{name_of(deployment)}: is killed after {grace} s, and takes up to {needed:g} s to leave"
        if leaving.notice is not None and float(settings.get(leaving.notice, 5)) < 5:
            yield f"{name_of(deployment)}: stops accepting before load balancers have noticed ({leaving.notice})"


def _settings(container: Object, objects: list[Object]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config = find(objects, "ConfigMap", source["configMapRef"]["name"])
        settings |= config["data"] if config else {}
    # A variable of its own goes before one of the ConfigMap.
    return settings | {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
