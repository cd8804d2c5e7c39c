""".run/stack.json: how to reach a running stack, for tests, benches and people. It is there only while all runs.

Beside it, admin.json names the admin ports of every service's processes (/healthz, /readyz, /metrics).
"""

from dataclasses import dataclass
from pathlib import Path

from stack.run_directory import write_private_json


@dataclass(frozen=True)
class Addresses:
    """What of a stack does not change while it runs."""

    tcp: str
    tcp_tls: str
    https: str
    ca: Path
    console: str
    admin_token: str
    kafka: str
    redis: str
    mongo: str
    mongo_database: str


def write_stack_file(path: Path, addresses: Addresses, pids: dict[str, list[int]]) -> None:
    """Writes the file whole; a reader sees the old one or the new one."""
    content = {
        "tcp": addresses.tcp,
        "tcpTls": addresses.tcp_tls,
        "https": addresses.https,
        "ca": str(addresses.ca),
        "console": addresses.console,
        "adminToken": addresses.admin_token,
        "kafka": addresses.kafka,
        "redis": addresses.redis,
        "mongo": addresses.mongo,
        "mongoDatabase": addresses.mongo_database,
        "pids": pids,
    }
    write_private_json(path, content)
