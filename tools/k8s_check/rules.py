"""Our own rules on what one kustomization renders. A rule is a function from its objects to its faults."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tools.k8s_check.doors import console_apart, proxied, routed
from tools.k8s_check.drain import drain_faults
from tools.k8s_check.rendering import Object, find, label, name_of, workloads

OURS = "site-access/"
"""In the name of every image that this project builds."""
LABELS = ("name", "component", "part-of")
GIVEN_SECRETS = ("platform", "device-tls", "site-access-cluster-ca-cert", "kafka-", "synthetic-terminal")
"""Secrets that come from outside: by hand, External Secrets, cert-manager, Strimzi."""


def faults_by_rules(objects: Sequence[Object]) -> list[str]:
    """Every fault of every rule, each with the name of its object."""
    return [fault for rule in RULES for fault in rule(list(objects))]


def labelled(objects: list[Object]) -> Iterator[str]:
    """Everything carries app.kubernetes.io/name, component and part-of; pods too."""
    for each in objects:
        missing = [key for key in LABELS if label(each, key) is None]
        if missing:
            yield f"{name_of(each)}: no label app.kubernetes.io/{', '.join(missing)}"
    for each, template in workloads(objects):
        missing = [key for key in LABELS if label(template, key) is None]
        if missing:
            yield f"{name_of(each)}: its pods have no label app.kubernetes.io/{', '.join(missing)}"


def tagged(objects: list[Object]) -> Iterator[str]:
    """Images have a tag or a digest, and never latest."""
    for each, container in _containers(objects):
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest"):
            yield f"{name_of(each)}: image {container['image']} has no tag that stays"


def probed(objects: list[Object]) -> Iterator[str]:
    """What runs for long is asked whether it is alive and ready; liveness never asks for readiness (design rule 12)."""
    for each, container in _containers(objects):
        if each["kind"] == "Job":
            continue
        for probe in ("livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{name_of(each)}: no {probe}"
        alive = container.get("livenessProbe", {}).get("httpGet", {})
        if alive.get("path") == "/readyz":
            yield f"{name_of(each)}: its liveness asks for readiness"
        names = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            how = container.get(probe, {})
            port = (how.get("httpGet") or how.get("tcpSocket") or {}).get("port")
            if port is not None and port not in names:
                yield f"{name_of(each)}: {probe} asks port {port}, which it does not have"


def bounded(objects: list[Object]) -> Iterator[str]:
    """Every container has requests and limits of CPU, memory and disk; what it may write has a size."""
    for each, container in _containers(objects):
        for side in ("requests", "limits"):
            missing = {"cpu", "memory", "ephemeral-storage"} - set(container.get("resources", {}).get(side, {}))
            if missing:
                yield f"{name_of(each)}: no {side} of {', '.join(sorted(missing))}"
    for each, template in workloads(objects):
        for volume in template["spec"].get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name_of(each)}: volume {volume['name']} has no sizeLimit"


def restricted(objects: list[Object]) -> Iterator[str]:
    """Kubernetes' restricted profile, and a read-only root for images of ours."""
    for each, template in workloads(objects):
        context = template["spec"].get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name_of(each)}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name_of(each)}: no seccomp profile"
        if template["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name_of(each)}: is given a token of the cluster"
        if template["spec"].get("enableServiceLinks") is not False:
            # A Service tcp-ingress would set TCP_INGRESS_PORT=tcp://…, and kafka KAFKA_PORT.
            yield f"{name_of(each)}: variables of Services would be taken for settings (enableServiceLinks)"
    for each, container in _containers(objects):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name_of(each)}: may gain privileges"
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{name_of(each)}: keeps capabilities"
        if OURS in container["image"] and context.get("readOnlyRootFilesystem") is not True:
            yield f"{name_of(each)}: may write its root file system"


def one_owner_of_replicas(objects: list[Object]) -> Iterator[str]:
    """What is scaled says no number itself, and is scaled by one alone."""
    targets = [
        (each["spec"]["scaleTargetRef"]["name"], name_of(each))
        for each in objects
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    for target, scaler in targets:
        deployment = find(objects, "Deployment", target)
        if deployment is None:
            yield f"{scaler}: scales {target}, which is not there"
        elif "replicas" in deployment["spec"]:
            yield f"{name_of(deployment)}: says replicas, which {scaler} decides"
    for target in {target for target, _ in targets}:
        if sum(name == target for name, _ in targets) > 1:
            yield f"Deployment {target}: is scaled by two"


def connected(objects: list[Object]) -> Iterator[str]:
    """Services lead to pods that have the port; PodDisruptionBudgets select some; HTTP routes lead to Services."""
    pods = [template for _, template in workloads(objects)]
    for each in objects:
        if each["kind"] == "Service":
            selected = [pod for pod in pods if _selects(each["spec"]["selector"], pod)]
            names = {p["name"] for pod in selected for c in pod["spec"]["containers"] for p in c.get("ports", [])}
            for port in each["spec"]["ports"]:
                if port["targetPort"] not in names:
                    yield f"{name_of(each)}: no pod has its port {port['targetPort']}"
        elif each["kind"] == "PodDisruptionBudget":
            if not any(_selects(each["spec"]["selector"]["matchLabels"], pod) for pod in pods):
                yield f"{name_of(each)}: selects no pod"
        elif each["kind"].endswith("Route"):
            for rule in each["spec"]["rules"]:
                for backend in rule["backendRefs"]:
                    service = find(objects, "Service", backend["name"])
                    if service is None or backend["port"] not in {p["port"] for p in service["spec"]["ports"]}:
                        yield f"{name_of(each)}: leads to {backend['name']}:{backend['port']}, which is not there"


def given(objects: list[Object]) -> Iterator[str]:
    """ConfigMaps, Secrets and their keys that pods name are rendered, or known to come from outside."""
    for each, container in _containers(objects):
        for source in container.get("envFrom", []):
            if find(objects, "ConfigMap", source["configMapRef"]["name"]) is None:
                yield f"{name_of(each)}: ConfigMap {source['configMapRef']['name']} is not there"
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is None:
                continue
            secret = find(objects, "Secret", reference["name"])
            if secret is None and not reference["name"].startswith(GIVEN_SECRETS):
                yield f"{name_of(each)}: Secret {reference['name']} is not there"
            elif secret is not None and reference["key"] not in secret.get("data", {}):
                yield f"{name_of(each)}: Secret {reference['name']} has no {reference['key']}"
    external = find(objects, "ExternalSecret", "platform")
    if external is not None:
        known = {entry["secretKey"] for entry in external["spec"]["data"]}
        used = {
            variable["valueFrom"]["secretKeyRef"]["key"]
            for _, container in _containers(objects)
            for variable in container.get("env", [])
            if variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "platform"
        }
        for key in sorted(used ^ known):
            yield f"ExternalSecret platform: {key} is {'not fetched' if key in used else 'used by nobody'}"


def kafka_is_let_through(objects: list[Object]) -> Iterator[str]:
    """Where there are policies, to-kafka has the port of KAFKA_BOOTSTRAP."""
    policy = find(objects, "NetworkPolicy", "to-kafka")
    settings = next(
        (each for each in objects if each["kind"] == "ConfigMap" and label(each, "name") == "platform"), None
    )
    if policy is None or settings is None:
        return
    ports = {str(port["port"]) for rule in policy["spec"]["egress"] for port in rule["ports"]}
    for server in settings["data"]["KAFKA_BOOTSTRAP"].split(","):
        if server.rpartition(":")[2] not in ports:
            yield f"{name_of(policy)}: lets nobody reach {server}"


def _containers(objects: list[Object]) -> Iterator[tuple[Object, dict[str, Any]]]:
    for each, template in workloads(objects):
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            yield each, container


def _selects(selector: Object, pod: Object) -> bool:
    labels = pod["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())


Rule = Callable[[list[Object]], Iterator[str]]
RULES: tuple[Rule, ...] = (
    labelled,
    tagged,
    probed,
    bounded,
    restricted,
    one_owner_of_replicas,
    connected,
    given,
    kafka_is_let_through,
    routed,
    console_apart,
    proxied,
    drain_faults,
)
