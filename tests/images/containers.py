"""The containers of deploy/docker/compose.yaml, each run by docker or podman beside the parts of the tests."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from stack.ports import free_port
from tests.support.manifests import COMPOSE, SERVICES

ROOT = COMPOSE.parents[2]
TOOL = os.environ.get("IMAGE_TOOL", "podman")
PREFIX = os.environ.get("IMAGE_PREFIX", "site-access")
TAG = os.environ.get("IMAGE_TAG", "0.1.0")
LEAVE_SECONDS = 60


def image(name: str) -> str:
    return f"{PREFIX}/{name}:{TAG}"


def run_tool(*arguments: str, timeout_seconds: float = 300) -> str:
    """What the tool printed. Raises AssertionError with its complaint where it fails."""
    ended = subprocess.run(
        [TOOL, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ended.returncode == 0, f"{TOOL} {arguments[0]}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


class Platform:
    """The compose file's services with its settings, but on this host's loopback, at free ports, with other parts."""

    def __init__(self, kafka: KafkaSettings, redis: RedisSettings, mongo: MongoSettings) -> None:
        self.services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
        self.ports = {
            name: str(free_port())
            for service in SERVICES
            for name in self.services[service]["environment"]
            if name.endswith("_PORT")
        }
        session = f"http://127.0.0.1:{self.ports['SESSION_PORT']}"
        assert redis.url is not None
        assert mongo.url is not None
        self._instead = self.ports | {
            "KAFKA_BOOTSTRAP": kafka.bootstrap,
            "REDIS_URL": redis.url.get_secret_value(),
            "MONGO_URL": mongo.url.get_secret_value(),
            "MONGO_DATABASE": mongo.database,
            "TCP_INGRESS_SESSION_URL": session,
            "CONSOLE_SESSION_URL": session,
        }

    def address(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def arguments(self, service: str) -> list[str]:
        """Of `run`: what the compose file says of the service, and then its image and command."""
        said = self.services[service]
        environment: Mapping[str, str] = said["environment"]
        given = {name: self._value(name, value) for name, value in environment.items()}
        return [
            "--network=host",
            *(["--read-only"] if said["read_only"] else []),
            *(f"--cap-drop={capability}" for capability in said["cap_drop"]),
            *(f"--security-opt={option.removesuffix(':true')}" for option in said["security_opt"]),
            *(f"--tmpfs={mount}" for mount in [*said.get("tmpfs", []), *said.get("volumes", [])]),
            *(f"--env={name}={value}" for name, value in given.items()),
            image(said["image"].rpartition("/")[2].partition(":")[0]),
            *said.get("command", []),
        ]

    def run_to_its_end(self, service: str) -> str:
        return run_tool("run", "--rm", *self.arguments(service))

    @contextmanager
    def running(self, service: str, logs: Path) -> Iterator[None]:
        """The service, told to leave at the end. Raises AssertionError where it does not end with 0 in time."""
        container = run_tool("run", "--detach", *self.arguments(service)).strip()
        try:
            yield
            run_tool("kill", "--signal=TERM", container)
            assert run_tool("wait", container, timeout_seconds=LEAVE_SECONDS).strip() == "0", service
        finally:
            said = subprocess.run([TOOL, "logs", container], capture_output=True, text=True, check=False)
            (logs / f"{service}.log").write_text(said.stdout + said.stderr, encoding="utf-8")
            run_tool("rm", "--force", container)

    def _value(self, name: str, value: str) -> str:
        return "127.0.0.1" if name.endswith("_HOST") else self._instead.get(name, value)
