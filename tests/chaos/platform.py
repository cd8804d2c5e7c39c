"""The platform under faults: three brokers, Redis, MongoDB, two processes of each service, a link between every two.

Everything runs on the loopback in one folder. Who died without being told to is written down.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from stack.cache import kafka_files
from stack.certificates import Certificates, load_certificates
from stack.guard import Guard
from stack.kept_secrets import load_secrets
from stack.mongo_part import MongoPart
from stack.platform import ServiceServer
from stack.ports import free_port
from stack.process import Process, wait_until_exits
from stack.redis_part import RedisPart
from stack.server import Server, wait_ready
from stack.services import Ports, ServicePlan, addresses_of, service_plans, shared_environment
from stack.stack_file import Addresses
from tests.chaos.brokers import Broker, bootstrap
from tests.chaos.preparing import prepare
from tests.chaos.proxy import Target
from tests.chaos.stores import Stores
from tests.chaos.watch import Death, Say, Watch
from tests.chaos.wires import Wires, service_links
from tests.fixtures.stack import NOT_INHERITED

DATABASE = "chaos"
COPIES = (1, 2)
SERVICE_GRACE_SECONDS = 25.0
PART_GRACE_SECONDS = 15.0
FRONT = ("tcp-ingress", "task-api", "console")
START_SECONDS = 180.0


@dataclass(frozen=True)
class Setup:
    """What one run chooses."""

    directory: Path
    seed: int = 1
    environment: Mapping[str, str] | None = None
    """Settings of services beyond the defaults."""
    with_mounts: bool = True
    """Whether stores are put on small file systems of their own, where root may do that."""


class ChaosPlatform:
    """Made by open_platform. Names: kafka-1 …, redis, mongo, tcp-ingress-1 …; links: `service/part`."""

    def __init__(self, setup: Setup, say: Say) -> None:
        self.directory = setup.directory
        self.random = Random(setup.seed)
        self.say = say
        self.servers: dict[str, Server] = {}
        self.plans: dict[str, ServicePlan] = {}
        self.watch = Watch(self.servers, self.plans, say)
        self.wires = Wires(self.random)
        self.stores = Stores(setup.directory, enabled=setup.with_mounts)
        self.secrets = load_secrets(setup.directory / "secrets.json")
        self.addresses: Addresses
        self.direct_kafka = ""
        self._setup = setup
        self._guard = Guard()
        self._shared: dict[str, dict[str, str]] = {}
        self._inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}

    # what the faults do

    def kill(self, name: str) -> None:
        """SIGKILL; it stays away until `bring_back`."""
        self.watch.held_down.add(name)
        self.watch.ready[name] = False
        self.servers[name].kill()

    def ask_to_stop(self, name: str) -> None:
        """SIGTERM; it stays away until `bring_back`."""
        self.watch.held_down.add(name)
        self.servers[name].process.ask_to_stop()

    async def wait_gone(self, name: str, seconds: float) -> bool:
        """Whether it has ended by itself within the time; it is killed where it has not."""
        process = self.servers[name].process
        await asyncio.to_thread(wait_until_exits, [process], seconds)
        ended = not process.alive
        process.kill()
        return ended

    def may_die(self, name: str) -> None:
        """From now on its end is no surprise, and nobody starts it again but `bring_back`."""
        self.watch.held_down.add(name)

    def bring_back(self, name: str) -> None:
        """Starts it where it does not run; from now on it is watched again."""
        self.watch.held_down.discard(name)
        if not self.servers[name].process.alive:
            self.watch.ready[name] = False
            self.servers[name].start()

    def add_writer(self) -> str:
        """One more attendance-writer, started at once; its name."""
        template = self.plans["attendance-writer-1"]
        number = 1 + sum(name.startswith("attendance-writer-") for name in self.servers)
        port = free_port()
        environment = {**template.environment, "ATTENDANCE_WRITER_ADMIN_PORT": str(port)}
        plan = replace(template, name=f"attendance-writer-{number}", admin_port=port, environment=environment)
        self._add_service(plan)
        self.servers[plan.name].start()
        return plan.name

    def remove(self, name: str) -> None:
        """Kills it for good."""
        self.kill(name)
        del self.servers[name], self.plans[name]
        self.watch.held_down.discard(name)

    def replace_service(self, service: str, module: str | None = None) -> None:
        """Restarts its processes as another module, or as the right one again."""
        for name in self.names(service):
            self.kill(name)
            self._add_service(self.plans[name], module)
            self.bring_back(name)

    def names(self, service: str) -> list[str]:
        """The processes of a service, or of `kafka`."""
        return [name for name in self.servers if name.rpartition("-")[0] == service]

    @property
    def deaths(self) -> list[Death]:
        """Who died without being told to."""
        return self.watch.deaths

    def is_ready(self, name: str) -> bool:
        """Whether a service's process said so when it was last asked."""
        return self.watch.is_ready(name)

    # its life

    async def start(self) -> None:
        """Returns when all is ready. Raises StackError."""
        began = time.monotonic()
        directory = self.directory
        front = Ports.choose({})
        certificates = load_certificates(directory / "certificates")
        data = await asyncio.to_thread(self.stores.prepare)
        files = await asyncio.to_thread(kafka_files, self.say)
        logs = directory / "logs"
        redis = RedisPart(logs, self._guard)
        mongo = MongoPart(data["mongo"], logs, self._guard)
        brokers = self.wires.plan_brokers()
        self.direct_kafka = bootstrap(brokers, "DIRECT")
        parts: dict[str, Server] = {
            f"kafka-{plan.node}": Broker(plan, files, data[f"kafka-{plan.node}"], logs, self._guard) for plan in brokers
        }
        parts |= {"redis": redis, "mongo": mongo}
        self.servers.update(parts)
        self.addresses = addresses_of(
            front, self.secrets, certificates, self.direct_kafka, redis.url, mongo.url, DATABASE
        )
        for service in service_links():
            self._shared[service] = self.wires.plan_service(service, brokers, redis.url, mongo.url)
        behind: dict[str, list[Target]] = {service: [] for service in service_links()}
        self.wires.plan_front(front, behind)
        await self.wires.open()
        for part in parts.values():
            part.start()
        await asyncio.to_thread(wait_ready, list(parts.values()), lambda: None, START_SECONDS)
        self.say(f"[{time.monotonic() - began:5.1f} s] three brokers, Redis and MongoDB answer")
        environment = {**self._inherited, **shared_environment(self.addresses, self.secrets)}
        await asyncio.to_thread(prepare, environment, logs, self._guard)
        self.say(f"[{time.monotonic() - began:5.1f} s] topics and indexes are there")
        # Last, so that nobody else takes their ports before they listen.
        self._plan_services(certificates, behind)
        services = [self.servers[name] for name in self.plans]
        for server in services:
            server.start()
        await asyncio.to_thread(wait_ready, services, lambda: None, START_SECONDS)
        self.say(f"[{time.monotonic() - began:5.1f} s] two processes of each service are ready")
        self.watch.start()
        await self.wait_ready(START_SECONDS)

    async def wait_ready(self, seconds: float) -> None:
        """Returns when every process of every service is ready. Raises TimeoutError with the names of those that are
        not."""
        deadline = time.monotonic() + seconds
        while missing := [name for name in self.plans if not self.is_ready(name)]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready: {', '.join(missing)}")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Ends everything, those that take requests first."""
        await self.watch.stop()
        front = [name for name in self.plans if self.plans[name].service in FRONT]
        behind = [name for name in self.plans if name not in front]
        parts = [name for name in self.servers if name not in self.plans]
        for names, grace in (
            (front, SERVICE_GRACE_SECONDS),
            (behind, SERVICE_GRACE_SECONDS),
            (parts, PART_GRACE_SECONDS),
        ):
            processes = [self.servers[name].process for name in names]
            for process in processes:
                process.ask_to_stop()
            await asyncio.to_thread(wait_until_exits, processes, grace)
            for process in processes:
                process.kill()
        await self.wires.close()
        self._guard.close()
        await asyncio.to_thread(self.stores.drop)

    def _plan_services(self, certificates: Certificates, behind: Mapping[str, list[Target]]) -> None:
        """Two of each; what they listen on is added to what is behind their links."""
        for copy in COPIES:
            ports = Ports.choose({})
            plans = service_plans(
                ports, self.addresses, self.secrets, certificates, ingress_processes=1, terminals=10_000
            )
            listens = {"tcp-ingress": ports.tcp, "task-api": ports.https, "console": ports.console}
            listens["session"] = ports.session
            for plan in plans:
                name = f"{plan.service}-{copy}"
                self._add_service(replace(plan, name=name))
                if plan.service in listens:
                    behind[plan.service].append(Target(listens[plan.service], partial(self.is_ready, name)))

    def _add_service(self, plan: ServicePlan, module: str | None = None) -> None:
        environment = {
            **self._inherited,
            **shared_environment(self.addresses, self.secrets),
            **plan.environment,
            **self._shared[plan.service],
            **(self._setup.environment or {}),
        }
        process = Process(
            plan.name,
            [sys.executable, "-m", module or plan.module],
            log_file=self.directory / "logs" / f"{plan.name}.log",
            guard=self._guard,
            environment=environment,
        )
        self.plans[plan.name] = plan
        self.servers[plan.name] = ServiceServer(plan, process)


@asynccontextmanager
async def open_platform(setup: Setup, say: Say) -> AsyncIterator[ChaosPlatform]:
    """The running platform, new; everything has ended when the context is left. Raises StackError."""
    shutil.rmtree(setup.directory / "logs", ignore_errors=True)
    setup.directory.mkdir(parents=True, exist_ok=True)
    platform = ChaosPlatform(setup, say)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()
