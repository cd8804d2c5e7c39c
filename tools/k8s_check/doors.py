"""Whether what comes in by the Gateway API gets where it should, and to the console only by a door of its own."""

from collections.abc import Iterator
from typing import Any

from tools.k8s_check.rendering import Object, find, label, name_of

CONSOLE = "console"
TRUSTED_NETWORKS = "TCP_INGRESS_PROXY_TRUSTED_NETWORKS"


def routed(objects: list[Object]) -> Iterator[str]:
    """Routes hang on listeners that are there and take their kind; listeners are unlike, and each has a route."""
    used: set[tuple[str, str]] = set()
    for route in _routes(objects):
        for parent in route["spec"]["parentRefs"]:
            name, section = parent["name"], parent.get("sectionName")
            listener = next((each for each in _listeners(objects, name) if each["name"] == section), None)
            if listener is None:
                yield f"{name_of(route)}: hangs on {name}/{section}, which is not there"
            elif route["kind"] not in {kind["kind"] for kind in listener["allowedRoutes"]["kinds"]}:
                yield f"{name_of(route)}: hangs on {name}/{section}, which takes no {route['kind']}"
            else:
                used.add((name, listener["name"]))
    for gateway in objects:
        if gateway["kind"] != "Gateway":
            continue
        listeners = gateway["spec"]["listeners"]
        for member in ("name", "port"):
            if len({each[member] for each in listeners}) < len(listeners):
                yield f"{name_of(gateway)}: two listeners have one {member}"
        for each in listeners:
            if (gateway["metadata"]["name"], each["name"]) not in used:
                yield f"{name_of(gateway)}: listener {each['name']} leads nowhere"


def console_apart(objects: list[Object]) -> Iterator[str]:
    """The console is not reachable from the device network: no Gateway and no class leads there and to devices' too."""
    classes: dict[bool, set[str]] = {True: set(), False: set()}
    gateways: dict[bool, set[str]] = {True: set(), False: set()}
    for route in _routes(objects):
        backends = {backend["name"] for rule in route["spec"]["rules"] for backend in rule["backendRefs"]}
        for parent in route["spec"]["parentRefs"]:
            gateway = find(objects, "Gateway", parent["name"])
            for backend in backends:
                gateways[backend == CONSOLE].add(parent["name"])
                if gateway is not None:
                    classes[backend == CONSOLE].add(gateway["spec"]["gatewayClassName"])
    for shared in sorted(gateways[True] & gateways[False]):
        yield f"Gateway {shared}: leads to the console and to what is for terminals"
    for shared in sorted(classes[True] & classes[False]):
        yield f"GatewayClass {shared}: serves the console's door and the terminals'"
    service = find(objects, "Service", CONSOLE)
    if service is not None and service["spec"].get("type", "ClusterIP") != "ClusterIP":
        yield f"{name_of(service)}: is reached from outside without the operators' Gateway"


def proxied(objects: list[Object]) -> Iterator[str]:
    """A gateway that sends the PROXY protocol is trusted, or its headers are broken frames; and the other way round,
    its connections are closed for want of one."""
    sends = find(objects, "BackendTrafficPolicy", "proxy-protocol") is not None
    comes_by_gateway = find(objects, "TCPRoute", "tcp-ingress") is not None
    for config in objects:
        if config["kind"] != "ConfigMap" or label(config, "name") != "platform":
            continue
        trusted = config["data"].get(TRUSTED_NETWORKS, "")
        if sends and not trusted:
            yield f"{name_of(config)}: trusts nobody with the PROXY protocol, which the gateway sends"
        if trusted and comes_by_gateway and not sends:
            yield f"{name_of(config)}: waits for the PROXY protocol, which the gateway does not send"


def _routes(objects: list[Object]) -> Iterator[Object]:
    return (each for each in objects if each["kind"].endswith("Route") and "parentRefs" in each["spec"])


def _listeners(objects: list[Object], gateway: str) -> list[dict[str, Any]]:
    found = find(objects, "Gateway", gateway)
    return list(found["spec"]["listeners"]) if found else []
