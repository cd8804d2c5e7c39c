"""Routes lead where they should, and the console has a door of its own: each rule finds what it is there to find."""

from collections.abc import Callable
from typing import Any

import pytest

from tools.k8s_check.doors import console_apart, proxied, routed

Objects = list[dict[str, Any]]


def gateway(name: str, class_name: str, **listeners: str) -> dict[str, Any]:
    """Each listener's name, with the kind of route that it takes."""
    entries = [
        {"name": section, "port": 7000 + number, "allowedRoutes": {"kinds": [{"kind": kind}]}}
        for number, (section, kind) in enumerate(listeners.items())
    ]
    spec = {"gatewayClassName": class_name, "listeners": entries}
    return {"kind": "Gateway", "metadata": {"name": name}, "spec": spec}


def route(kind: str, backend: str, parent: str, section: str) -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": backend, "port": 1}]}]
    spec = {"parentRefs": [{"name": parent, "sectionName": section}], "rules": rules}
    return {"kind": kind, "metadata": {"name": backend}, "spec": spec}


def doors() -> Objects:
    return [
        gateway("devices", "outside", tcp="TCPRoute", https="HTTPRoute"),
        gateway("operators", "inside", https="HTTPRoute"),
        route("TCPRoute", "tcp-ingress", "devices", "tcp"),
        route("HTTPRoute", "task-api", "devices", "https"),
        route("HTTPRoute", "console", "operators", "https"),
        {"kind": "Service", "metadata": {"name": "console"}, "spec": {}},
        {"kind": "BackendTrafficPolicy", "metadata": {"name": "proxy-protocol"}, "spec": {}},
        {
            "kind": "ConfigMap",
            "metadata": {"name": "platform-x", "labels": {"app.kubernetes.io/name": "platform"}},
            "data": {"TCP_INGRESS_PROXY_TRUSTED_NETWORKS": "192.0.2.0/24"},
        },
    ]


def faults(objects: Objects) -> list[str]:
    return [*routed([*objects]), *console_apart([*objects]), *proxied([*objects])]


def test_doors_as_they_should_be_have_no_fault() -> None:
    assert faults(doors()) == []


CASES: dict[str, tuple[Callable[[Objects], object], str]] = {
    "a route to a listener that is not there": (
        lambda o: o[2]["spec"]["parentRefs"][0].update(sectionName="tcp-tls"),
        "TCPRoute tcp-ingress: hangs on devices/tcp-tls, which is not there",
    ),
    "a route to a Gateway that is not there": (
        lambda o: o.pop(1),
        "HTTPRoute console: hangs on operators/https, which is not there",
    ),
    "a route of another kind": (
        lambda o: o[2]["spec"]["parentRefs"][0].update(sectionName="https"),
        "TCPRoute tcp-ingress: hangs on devices/https, which takes no TCPRoute",
    ),
    "a listener without a route": (
        lambda o: o.pop(2),
        "Gateway devices: listener tcp leads nowhere",
    ),
    "two listeners of one name": (
        lambda o: o[0]["spec"]["listeners"].append({**o[0]["spec"]["listeners"][0], "port": 9}),
        "Gateway devices: two listeners have one name",
    ),
    "two listeners of one port": (
        lambda o: o[0]["spec"]["listeners"][1].update(port=7000),
        "Gateway devices: two listeners have one port",
    ),
    "the console behind the terminals' Gateway": (
        lambda o: o[4]["spec"]["parentRefs"][0].update(name="devices"),
        "Gateway devices: leads to the console and to what is for terminals",
    ),
    "one class for both": (
        lambda o: o[1]["spec"].update(gatewayClassName="outside"),
        "GatewayClass outside: serves the console's door and the terminals'",
    ),
    "the console as a load balancer": (
        lambda o: o[5]["spec"].update(type="LoadBalancer"),
        "Service console: is reached from outside without the operators' Gateway",
    ),
    "a gateway that sends the PROXY protocol and is not trusted": (
        lambda o: o[7]["data"].clear(),
        "ConfigMap platform-x: trusts nobody with the PROXY protocol, which the gateway sends",
    ),
    "a gateway that is waited for in vain": (
        lambda o: o.pop(6),
        "ConfigMap platform-x: waits for the PROXY protocol, which the gateway does not send",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found(case: str) -> None:
    spoil, fault = CASES[case]
    objects = doors()
    spoil(objects)
    assert fault in faults(objects)
