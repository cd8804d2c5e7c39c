"""Which links there are, and what each service is told so that it goes through them."""

from collections.abc import Mapping, Sequence
from random import Random
from urllib.parse import urlsplit

from stack.ports import free_port
from stack.services import HOST, Ports
from tests.chaos.brokers import NODES, BrokerPlan, Listener, bootstrap, new_cluster_id
from tests.chaos.proxy import Link, Target

_PARTS_OF = {
    "tcp-ingress": ("kafka", "redis", "session"),
    "session": ("kafka", "redis", "mongo"),
    "task-api": ("kafka", "redis", "mongo"),
    "console": ("kafka", "redis", "mongo", "session"),
    "attendance-writer": ("kafka", "mongo"),
}
"""Who asks whom (shared/design.md's table of clients and servers)."""
FRONT = {"tcp-ingress": "terminals/tcp-ingress", "task-api": "terminals/task-api", "console": "operators/console"}


def service_links() -> Mapping[str, Sequence[str]]:
    """Each service and what it asks."""
    return _PARTS_OF


class Wires:
    """All links by name: `tcp-ingress/kafka-1`, `session/mongo`, `kafka-1/kafka-2`, `terminals/tcp-ingress` …"""

    def __init__(self, random: Random) -> None:
        self.links: dict[str, Link] = {}
        self._random = random
        self._session: dict[str, int] = {}

    def between(self, client: str, server: str) -> list[Link]:
        """The links of a client to a part; `kafka` means all brokers."""
        return [
            link
            for name, link in self.links.items()
            if name == f"{client}/{server}" or (server == "kafka" and name.startswith(f"{client}/kafka-"))
        ]

    def around_broker(self, node: int) -> list[Link]:
        """What leads from the other brokers to this one, and from this one to the others' controllers."""
        other_nodes = [other for other in NODES if other != node]
        names = [f"kafka-{other}/kafka-{node}" for other in other_nodes]
        names += [f"kafka-{node}/kafka-{other}" for other in other_nodes]
        return [self.links[name] for name in [*names, f"kafka/kafka-{node}"]]

    def plan_brokers(self) -> list[BrokerPlan]:
        """Three nodes whose ways to one another are links."""
        controllers = {node: free_port() for node in NODES}
        cluster_id = new_cluster_id()
        return [self._plan_broker(node, controllers, cluster_id) for node in NODES]

    def _plan_broker(self, node: int, controllers: Mapping[int, int], cluster_id: str) -> BrokerPlan:
        voters = {
            other: port if other == node else self._link(f"kafka-{node}/kafka-{other}", port)
            for other, port in controllers.items()
        }
        direct = free_port()
        listeners = {"DIRECT": Listener(direct, direct)}
        internal = free_port()
        listeners["INTERNAL"] = Listener(internal, self._link(f"kafka/kafka-{node}", internal))
        for service in _PARTS_OF:
            port = free_port()
            listeners[_listener(service)] = Listener(port, self._link(f"{service}/kafka-{node}", port))
        return BrokerPlan(node, cluster_id, controllers[node], voters, listeners)

    def plan_service(self, service: str, brokers: Sequence[BrokerPlan], redis: str, mongo: str) -> dict[str, str]:
        """The environment of a service whose ways are links."""
        parts = _PARTS_OF[service]
        told = {"KAFKA_BOOTSTRAP": bootstrap(brokers, _listener(service))}
        if "redis" in parts:
            told["REDIS_URL"] = self._url(redis, f"{service}/redis")
        if "mongo" in parts:
            told["MONGO_URL"] = self._url(mongo, f"{service}/mongo")
        if "session" in parts:
            # Its targets are known later; the port is the link's.
            prefix = service.replace("-", "_").upper()
            told[f"{prefix}_SESSION_URL"] = f"http://{HOST}:{self._session_ports(service)}"
        return told

    def plan_front(self, front: Ports, behind: Mapping[str, Sequence[Target]]) -> None:
        """What stands before the services, with both processes of each behind it."""
        ports = {"tcp-ingress": front.tcp, "task-api": front.https, "console": front.console}
        for service, port in ports.items():
            self._add(FRONT[service], port, behind[service])
        for service, parts in _PARTS_OF.items():
            if "session" in parts:
                self._add(f"{service}/session", self._session_ports(service), behind["session"])

    async def open(self) -> None:
        """Every link listens."""
        for link in self.links.values():
            await link.open()

    async def close(self) -> None:
        """None listens any more."""
        for link in self.links.values():
            await link.close()

    def _session_ports(self, service: str) -> int:
        return self._session.setdefault(service, free_port())

    def _link(self, name: str, target: int) -> int:
        port = free_port()
        self._add(name, port, [Target(target)])
        return port

    def _add(self, name: str, port: int, targets: Sequence[Target]) -> None:
        self.links[name] = Link(name, port, targets, Random(self._random.getrandbits(64)))

    def _url(self, url: str, name: str) -> str:
        """The same URL by way of a link."""
        port = urlsplit(url).port
        assert port is not None
        return url.replace(f":{port}", f":{self._link(name, port)}", 1)


def _listener(service: str) -> str:
    return service.replace("-", "_").upper()
