"""Each of our own rules finds what it is there to find, and finds nothing in the base."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.manifests import base_objects, container, deployment
from tools.k8s_check.rules import faults_by_rules

Objects = list[dict[str, Any]]


def pod(objects: Objects, name: str = "tcp-ingress") -> dict[str, Any]:
    spec: dict[str, Any] = deployment(objects, name)["spec"]["template"]["spec"]
    return spec


def find(objects: Objects, kind: str, name: str = "tcp-ingress") -> dict[str, Any]:
    return next(each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)


def test_the_base_has_no_fault() -> None:
    assert faults_by_rules(base_objects()) == []


def external_secret(*keys: str) -> dict[str, Any]:
    labels = {f"app.kubernetes.io/{key}": "x" for key in ("name", "component", "part-of")}
    data = [{"secretKey": key} for key in keys]
    return {"kind": "ExternalSecret", "metadata": {"name": "platform", "labels": labels}, "spec": {"data": data}}


def policy_to_kafka(port: int) -> dict[str, Any]:
    labels = {f"app.kubernetes.io/{key}": "x" for key in ("name", "component", "part-of")}
    spec = {"egress": [{"ports": [{"protocol": "TCP", "port": port}]}]}
    return {"kind": "NetworkPolicy", "metadata": {"name": "to-kafka", "labels": labels}, "spec": spec}


def route_to(service: str, port: int) -> dict[str, Any]:
    labels = {f"app.kubernetes.io/{key}": "x" for key in ("name", "component", "part-of")}
    spec = {"rules": [{"backendRefs": [{"name": service, "port": port}]}]}
    return {"kind": "TCPRoute", "metadata": {"name": "door", "labels": labels}, "spec": spec}


CASES: dict[str, tuple[Callable[[Objects], object], str]] = {
    "an object without a label": (
        lambda o: find(o, "Service")["metadata"]["labels"].pop("app.kubernetes.io/component"),
        "Service tcp-ingress: no label app.kubernetes.io/component",
    ),
    "pods without a label": (
        lambda o: deployment(o, "console")["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
        "Deployment console: its pods have no label app.kubernetes.io/part-of",
    ),
    "an image without a tag": (
        lambda o: container(o, "session").update(image="registry.example.org:5000/site-access/session"),
        "Deployment session: image registry.example.org:5000/site-access/session has no tag that stays",
    ),
    "latest": (
        lambda o: container(o, "session").update(image="site-access/session:latest"),
        "Deployment session: image site-access/session:latest has no tag that stays",
    ),
    "no liveness": (
        lambda o: container(o, "task-api").pop("livenessProbe"),
        "Deployment task-api: no livenessProbe",
    ),
    "a probe of a port that is not there": (
        lambda o: container(o, "task-api")["readinessProbe"]["httpGet"].update(port="metrics"),
        "Deployment task-api: readinessProbe asks port metrics, which it does not have",
    ),
    "liveness that asks for readiness": (
        lambda o: container(o, "task-api")["livenessProbe"]["httpGet"].update(path="/readyz"),
        "Deployment task-api: its liveness asks for readiness",
    ),
    "no limit of memory": (
        lambda o: container(o, "tcp-ingress")["resources"]["limits"].pop("memory"),
        "Deployment tcp-ingress: no limits of memory",
    ),
    "no limit of what is written": (
        lambda o: container(o, "session")["resources"]["limits"].pop("ephemeral-storage"),
        "Deployment session: no limits of ephemeral-storage",
    ),
    "a volume without a size": (
        lambda o: pod(o, "console")["volumes"][0].update(emptyDir={}),
        "Deployment console: volume temporary has no sizeLimit",
    ),
    "root": (
        lambda o: pod(o)["securityContext"].update(runAsNonRoot=False),
        "Deployment tcp-ingress: may run as root",
    ),
    "variables of Services": (
        lambda o: pod(o).pop("enableServiceLinks"),
        "Deployment tcp-ingress: variables of Services would be taken for settings (enableServiceLinks)",
    ),
    "a token of the cluster": (
        lambda o: pod(o).pop("automountServiceAccountToken"),
        "Deployment tcp-ingress: is given a token of the cluster",
    ),
    "no seccomp profile": (
        lambda o: pod(o)["securityContext"].pop("seccompProfile"),
        "Deployment tcp-ingress: no seccomp profile",
    ),
    "capabilities": (
        lambda o: container(o, "tcp-ingress")["securityContext"].pop("capabilities"),
        "Deployment tcp-ingress: keeps capabilities",
    ),
    "privileges": (
        lambda o: container(o, "tcp-ingress")["securityContext"].pop("allowPrivilegeEscalation"),
        "Deployment tcp-ingress: may gain privileges",
    ),
    "a writable root": (
        lambda o: container(o, "tcp-ingress")["securityContext"].pop("readOnlyRootFilesystem"),
        "Deployment tcp-ingress: may write its root file system",
    ),
    "replicas beside a scaler": (
        lambda o: deployment(o, "tcp-ingress")["spec"].update(replicas=3),
        "Deployment tcp-ingress: says replicas, which HorizontalPodAutoscaler tcp-ingress decides",
    ),
    "a scaler of nothing": (
        lambda o: find(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="ingress"),
        "HorizontalPodAutoscaler tcp-ingress: scales ingress, which is not there",
    ),
    "two scalers": (
        lambda o: find(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="console"),
        "Deployment console: is scaled by two",
    ),
    "a Service that leads nowhere": (
        lambda o: find(o, "Service")["spec"]["ports"][0].update(targetPort="tls"),
        "Service tcp-ingress: no pod has its port tls",
    ),
    "a budget of nothing": (
        lambda o: find(o, "PodDisruptionBudget")["spec"]["selector"].update(matchLabels={"app": "x"}),
        "PodDisruptionBudget tcp-ingress: selects no pod",
    ),
    "a route to a port that is not there": (
        lambda o: o.append(route_to("tcp-ingress", 7001)),
        "TCPRoute door: leads to tcp-ingress:7001, which is not there",
    ),
    "a ConfigMap that is not there": (
        lambda o: container(o, "console")["envFrom"][0]["configMapRef"].update(name="settings"),
        "Deployment console: ConfigMap settings is not there",
    ),
    "a Secret that is not there": (
        lambda o: container(o, "console")["env"][-1]["valueFrom"]["secretKeyRef"].update(name="tokens"),
        "Deployment console: Secret tokens is not there",
    ),
    "a secret that is not fetched": (
        lambda o: o.append(external_secret("MONGO_URL", "REDIS_URL", "SEALING_KEYS", "SESSION_TOKEN")),
        "ExternalSecret platform: CONSOLE_ADMIN_TOKEN is not fetched",
    ),
    "Kafka behind a policy that has another port": (
        lambda o: o.append(policy_to_kafka(9093)),
        "NetworkPolicy to-kafka: lets nobody reach kafka:9092",
    ),
    "too little time to leave": (
        lambda o: pod(o).update(terminationGracePeriodSeconds=75),
        "Deployment tcp-ingress: is killed after 75 s, and takes up to 75 s to leave",
    ),
    "a longer drain than the pod is given": (
        lambda o: container(o, "tcp-ingress")["env"].append({"name": "TCP_INGRESS_GRACE_SECONDS", "value": "120"}),
        "Deployment tcp-ingress: is killed after 80 s, and takes up to 135 s to leave",
    ),
    "Kubernetes' own time, where none is said": (
        lambda o: pod(o, "attendance-writer").pop("terminationGracePeriodSeconds"),
        "Deployment attendance-writer: is killed after 30 s, and takes up to 35 s to leave",
    ),
    "a drain that the ConfigMap makes longer": (
        lambda o: find(o, "ConfigMap", "platform")["data"].update(SESSION_NOTICE_SECONDS="30"),
        "Deployment session: is killed after 25 s, and takes up to 46 s to leave",
    ),
    "no notice": (
        lambda o: container(o, "console")["env"].append({"name": "CONSOLE_NOTICE_SECONDS", "value": "0"}),
        "Deployment console: stops accepting before load balancers have noticed (CONSOLE_NOTICE_SECONDS)",
    ),
    "a service that is missing": (
        lambda o: o.remove(deployment(o, "console")),
        "Deployment console: is not there",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found(case: str) -> None:
    spoil, fault = CASES[case]
    objects = base_objects()
    spoil(objects)
    assert fault in faults_by_rules(objects)
