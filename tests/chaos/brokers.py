"""Three Kafka nodes, each broker and controller, with a listener for every client that is advertised at a link's port.

So a link can be cut between one service and one broker, and between one broker and the others.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.cache import KafkaFiles
from stack.guard import Guard
from stack.kafka_part import LOG4J, MAX_MESSAGE_BYTES, ask_kafka
from stack.process import Process
from stack.server import Server

NODES = (1, 2, 3)
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Listener:
    """Where a broker listens, and the port that it tells others to come to."""

    port: int
    advertised_port: int


@dataclass(frozen=True)
class BrokerPlan:
    """What one node is told."""

    node: int
    cluster_id: str
    controller_port: int
    voters: Mapping[int, int]
    """Node to the port at which this node finds its controller."""
    listeners: Mapping[str, Listener]
    """By name in capital letters; DIRECT and INTERNAL among them."""


def new_cluster_id() -> str:
    """Sixteen random bytes as Kafka writes them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


class Broker(Server):
    """One node; its log stays in `data_dir` when it is started again."""

    def __init__(self, plan: BrokerPlan, files: KafkaFiles, data_dir: Path, log_dir: Path, guard: Guard) -> None:
        self.node = plan.node
        self._port = plan.listeners["DIRECT"].port
        name = f"kafka-{plan.node}"
        log, told = data_dir / name, log_dir / name
        log.mkdir(parents=True, exist_ok=True)
        told.mkdir(parents=True, exist_ok=True)
        meta = f"version=1\ncluster.id={plan.cluster_id}\nnode.id={plan.node}\n"
        (log / "meta.properties").write_text(meta, encoding="utf-8")
        (told / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        (told / "server.properties").write_text(node_properties(plan, log), encoding="utf-8")
        command = files.java_command(told / "log4j2.properties", told / "server.properties")
        super().__init__(Process(name, command, log_file=log_dir / f"{name}.log", guard=guard))

    def answers(self) -> bool:
        try:
            ask_kafka(HOST, self._port, 1)
        except OSError:
            return False
        return True


def bootstrap(plans: Sequence[BrokerPlan], listener: str) -> str:
    """The brokers' addresses as the clients of a listener know them."""
    return ",".join(f"{HOST}:{plan.listeners[listener].advertised_port}" for plan in plans)


def node_properties(plan: BrokerPlan, log_dir: Path) -> str:
    """server.properties of one of three: every topic on all of them, two of which must have a record."""
    own = {name: f"{name}://{HOST}:{listener.port}" for name, listener in plan.listeners.items()}
    told = [f"{name}://{HOST}:{listener.advertised_port}" for name, listener in plan.listeners.items()]
    voters = [f"{node}@{HOST}:{port}" for node, port in sorted(plan.voters.items())]
    securities = [f"{name}:PLAINTEXT" for name in (*plan.listeners, "CONTROLLER")]
    return f"""\
process.roles=broker,controller
node.id={plan.node}
controller.quorum.voters={",".join(voters)}
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
controller.quorum.election.backoff.max.ms=500
listeners={",".join([*own.values(), f"CONTROLLER://{HOST}:{plan.controller_port}"])}
advertised.listeners={",".join(told)}
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
listener.security.protocol.map={",".join(securities)}
log.dirs={log_dir}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
message.max.bytes={MAX_MESSAGE_BYTES}
replica.fetch.max.bytes={MAX_MESSAGE_BYTES}
replica.lag.time.max.ms=10000
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
leader.imbalance.check.interval.seconds=10
offsets.topic.replication.factor=3
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=2097152
log.segment.bytes=67108864
"""
