"""An ingress and a session service for tests, in the test's own loop or as processes, over real parts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import IO

import aiohttp
from pydantic import SecretStr

from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.kafka.topics import ensure_topics
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import (
    KafkaSettings,
    MongoSettings,
    PresenceSettings,
    RedisSettings,
    SealingSettings,
    TelemetrySettings,
)
from stack.ports import free_port
from tcp_ingress.settings import IngressSettings
from tcp_ingress.wiring import open_ingress
from tests.support.builders import Vendor
from tests.support.terminal import Terminal, connect

INTERNAL_TOKEN = "internal-token-of-the-tests-0123456789"
SEALING_KEYS = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Parts:
    """How everything behind an ingress is reached."""

    kafka: KafkaSettings
    redis: RedisSettings
    mongo: MongoSettings
    session_port: int
    vendor: Vendor
    presence: PresenceSettings

    @property
    def session_url(self) -> str:
        return f"http://{HOST}:{self.session_port}"

    async def ask_session(self, method: str, path: str, **body: object) -> dict[str, str]:
        """Calls the session service's internal interface."""
        headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, self.session_url + path, json=body or None) as answer,
        ):
            answer.raise_for_status()
            text = await answer.text()
        return dict(json.loads(text)) if text else {}

    async def new_vendor(self, **more: object) -> Vendor:
        """Admits a further vendor."""
        made = await self.ask_session("POST", "/internal/v1/vendors", name="Maker", **more)
        return Vendor(made["accessId"], made["accessKey"], made["accessSecret"])


@asynccontextmanager
async def running_parts(
    kafka: KafkaSettings, redis: RedisSettings, mongo: MongoSettings, presence: PresenceSettings | None = None
) -> AsyncIterator[Parts]:
    """Topics, a session service in this loop, and a vendor."""
    presence = presence or PresenceSettings()
    await ensure_topics(kafka, 60)
    port = free_port()
    settings = SessionSettings(host=HOST, port=port, internal_token=SecretStr(INTERNAL_TOKEN), notice_seconds=0)
    sealing = SealingSettings(keys=SecretStr(SEALING_KEYS))
    opened = open_session(settings, mongo, redis, sealing, kafka, presence)
    async with opened(Lifecycle()):
        parts = Parts(kafka, redis, mongo, port, Vendor("", "", ""), presence)
        yield replace(parts, vendor=await parts.new_vendor())


@dataclass(frozen=True)
class Ingress:
    """A running ingress."""

    port: int
    admin_port: int
    process: subprocess.Popen[bytes] | None = None
    """Where it is one of its own."""

    def signal(self, number: int) -> None:
        """Sends its process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Terminal]:
        async with connect(HOST, self.port) as terminal:
            yield terminal

    async def metrics(self) -> dict[str, float]:
        """What /metrics shows, by name and labels."""
        async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{self.admin_port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@asynccontextmanager
async def running_ingress(
    parts: Parts, lifecycle: Lifecycle | None = None, telemetry: TelemetrySettings | None = None, **changes: object
) -> AsyncIterator[Ingress]:
    """An ingress in this loop; `changes` are its settings."""
    values: dict[str, object] = {
        "host": HOST,
        "port": free_port(),
        "admin_port": free_port(),
        "session_url": parts.session_url,
        "session_token": SecretStr(INTERNAL_TOKEN),
        "notice_seconds": 0,
        **changes,
    }
    settings = IngressSettings.model_validate(values)
    sealing = SealingSettings(keys=SecretStr(SEALING_KEYS))
    opened = open_ingress(settings, parts.kafka, parts.redis, sealing, parts.presence, telemetry)
    async with opened(lifecycle or Lifecycle()):
        yield Ingress(settings.port or settings.tls_port, settings.admin_port)


@contextmanager
def ingress_process(parts: Parts, port: int, *, log: IO[bytes] | None = None, **environment: str) -> Iterator[Ingress]:
    """`python -m tcp_ingress` as its own process, killed at the end where it still runs; it logs into `log`."""
    admin_port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tcp_ingress"],
        env={
            "PATH": os.environ["PATH"],
            "TCP_INGRESS_HOST": HOST,
            "TCP_INGRESS_PORT": str(port),
            "TCP_INGRESS_ADMIN_PORT": str(admin_port),
            "TCP_INGRESS_SESSION_URL": parts.session_url,
            "TCP_INGRESS_SESSION_TOKEN": INTERNAL_TOKEN,
            "TCP_INGRESS_NOTICE_SECONDS": "0",
            "SEALING_KEYS": SEALING_KEYS,
            "KAFKA_BOOTSTRAP": parts.kafka.bootstrap,
            "REDIS_URL": parts.redis.url.get_secret_value(),
            "PRESENCE_ONLINE_SECONDS": str(parts.presence.online_seconds),
            "PRESENCE_GRACE_SECONDS": str(parts.presence.grace_seconds),
            **environment,
        },
        stderr=log,
    )
    try:
        yield Ingress(port, admin_port, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(10)


async def ready(ingress: Ingress, timeout_seconds: float = 20) -> None:
    """Waits until /readyz says so."""
    async with asyncio.timeout(timeout_seconds), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://{HOST}:{ingress.admin_port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
