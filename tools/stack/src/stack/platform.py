"""The whole platform as processes of this machine: parts, topics and indexes, services; their start, watch and end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from stack.cache import kafka_files
from stack.certificates import load_certificates
from stack.given_parts import wait_for_given_parts
from stack.guard import Guard
from stack.http_client import RequestFailed, get
from stack.kafka_part import KafkaPart
from stack.kept_secrets import keep_synthetic, load_secrets
from stack.mongo_part import MongoPart
from stack.preparations import PREPARATIONS, running, wait_until_done
from stack.process import Process, wait_until_exits
from stack.redis_part import RedisPart
from stack.run_directory import RunDirectory, write_private_json
from stack.server import Server, wait_ready
from stack.services import Ports, ServicePlan, addresses_of, service_plans, shared_environment, synthetic_plan
from stack.stack_file import Addresses, write_stack_file
from stack.supervisor import Supervisor
from stack.synthetic_access import synthetic_access

SERVICE_GRACE_SECONDS = 20.0
PART_GRACE_SECONDS = 10.0
DEFAULT_DATABASE = "site_access"

Say = Callable[[str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Options:
    """What a person chooses of a stack."""

    ingress_processes: int = 2
    terminals: int = 0
    fresh: bool = False
    synthetic: bool = False


class ServiceServer(Server):
    """One process of a service; it answers when its admin port says ready."""

    def __init__(self, plan: ServicePlan, process: Process) -> None:
        super().__init__(process)
        self.service = plan.service
        self.admin_url = f"http://127.0.0.1:{plan.admin_port}"

    def answers(self) -> bool:
        try:
            get(f"{self.admin_url}/readyz")
        except RequestFailed:
            return False
        return True


@contextmanager
def open_platform(
    directory: RunDirectory, options: Options, environment: Mapping[str, str], say: Say, check: Check
) -> Iterator["Platform"]:
    """The running platform; everything that was started has ended when the context is left, also by a failure.

    `check` is called between steps and may raise to give up. Raises StackError where the start fails.
    """
    with directory.locked():
        directory.prepare(fresh=options.fresh)
        guard = Guard()
        platform = Platform(directory, options, environment, guard, say, check)
        try:
            platform.start()
            yield platform
        finally:
            platform.stop()
            guard.close()
            directory.say_down()


class Platform:
    """Everything that one stack started. Made by `open_platform`."""

    def __init__(
        self,
        directory: RunDirectory,
        options: Options,
        environment: Mapping[str, str],
        guard: Guard,
        say: Say,
        check: Check,
    ) -> None:
        self.directory = directory
        self._options = options
        self._environment = environment
        self._guard = guard
        self._say = say
        self._check = check
        self.secrets = load_secrets(directory.secrets_file)
        self.services: list[ServiceServer] = []
        self._parts: list[Server] = []
        self._supervisor: Supervisor | None = None
        self.addresses: Addresses

    def start(self) -> None:
        """Parts first, then topics and indexes, then the services; returns when all are ready."""
        began = time.monotonic()
        certificates = load_certificates(self.directory.certificates)
        wait_for_given_parts(self._environment, self._check)
        kafka, redis, mongo = self._start_parts()
        ports = Ports.choose(self._environment)
        database = self._environment.get("MONGO_DATABASE") or DEFAULT_DATABASE
        self.addresses = addresses_of(ports, self.secrets, certificates, kafka, redis, mongo, database)
        shared = {**self._environment, **shared_environment(self.addresses, self.secrets)}
        preparations = [self._process(name, module, shared) for name, module in PREPARATIONS.items()]
        with running(preparations):
            wait_ready(self._parts, self._check)
            self._tell(began, "Kafka, Redis and MongoDB answer")
            wait_until_done(preparations, self._check)
        self._tell(began, "topics and indexes are there")
        plans = service_plans(
            ports,
            self.addresses,
            self.secrets,
            certificates,
            ingress_processes=self._options.ingress_processes,
            terminals=self._options.terminals,
        )
        for plan in plans:
            process = self._process(plan.name, plan.module, {**shared, **plan.environment})
            self.services.append(ServiceServer(plan, process))
            process.start()
        wait_ready(self.services, self._check)
        self._tell(began, "all services are ready")
        if self._options.synthetic:
            self._start_synthetic_terminal()
            self._tell(began, "the synthetic terminal is at work")
        servers = [*self._parts, *self.services]
        self._supervisor = Supervisor([server.process for server in servers], self._write_stack_file, self._say)
        admin_urls = {server.service: self.admin_urls(server.service) for server in self.services}
        write_private_json(self.directory.admin_file, admin_urls)
        self._write_stack_file()

    def tick(self) -> None:
        """Starts again what died; to be called several times a second."""
        if self._supervisor is not None:
            self._supervisor.tick()

    @property
    def restarts(self) -> int:
        """How often a process was started again."""
        return self._supervisor.restarts if self._supervisor is not None else 0

    def admin_urls(self, service: str) -> list[str]:
        """The admin addresses of a service's processes."""
        return [server.admin_url for server in self.services if server.service == service]

    def stop(self) -> None:
        """Ends the services, those that take requests first, then the parts."""
        self._supervisor = None
        at_the_front = {"synthetic-terminal", "tcp-ingress", "task-api", "console"}
        front = [server.process for server in self.services if server.service in at_the_front]
        behind = [server.process for server in self.services if server.service not in at_the_front]
        _stop_all(front, SERVICE_GRACE_SECONDS)
        _stop_all(behind, SERVICE_GRACE_SECONDS)
        _stop_all([part.process for part in self._parts], PART_GRACE_SECONDS)

    def start_terminals(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        """Starts the simulator; the caller ends it."""
        process = self._process(name, "terminal_simulator", {**self._environment, **environment}, arguments)
        process.start()
        return process

    def _start_synthetic_terminal(self) -> None:
        access = synthetic_access(self.addresses.console, self.addresses.admin_token, self.secrets.synthetic)
        if access != self.secrets.synthetic:
            self.secrets = keep_synthetic(self.directory.secrets_file, self.secrets, access)
        plan = synthetic_plan(self.addresses, access)
        # It is given its own settings alone: what only services may know would be out of place at the front door.
        process = self._process(plan.name, plan.module, {**self._environment, **plan.environment})
        server = ServiceServer(plan, process)
        self.services.append(server)
        process.start()
        wait_ready([server], self._check)

    def _start_parts(self) -> tuple[str, str, str]:
        """Starts what the environment does not name; returns the addresses of Kafka, Redis and MongoDB."""
        kafka = self._environment.get("KAFKA_BOOTSTRAP")
        redis = self._environment.get("REDIS_URL")
        mongo = self._environment.get("MONGO_URL")
        data, logs = self.directory.data, self.directory.logs
        # Kafka last: its files may have to be fetched, and the others start meanwhile.
        if not redis:
            redis_part = RedisPart(logs, self._guard)
            redis = redis_part.url
            self._start_part(redis_part)
        if not mongo:
            mongo_part = MongoPart(data, logs, self._guard)
            mongo = mongo_part.url
            self._start_part(mongo_part)
        if not kafka:
            kafka_part = KafkaPart(kafka_files(self._say, self._check), data, logs, self._guard)
            kafka = kafka_part.bootstrap
            self._start_part(kafka_part)
        return kafka, redis, mongo

    def _start_part(self, part: Server) -> None:
        self._parts.append(part)
        part.start()

    def _process(
        self, name: str, module: str, environment: Mapping[str, str], arguments: list[str] | None = None
    ) -> Process:
        return Process(
            name,
            [sys.executable, "-m", module, *(arguments or [])],
            log_file=self.directory.logs / f"{name}.log",
            guard=self._guard,
            environment=environment,
        )

    def _write_stack_file(self) -> None:
        pids: dict[str, list[int]] = {}
        for server in self.services:
            pids.setdefault(server.service, []).append(server.pid)
        for part in self._parts:
            pids[part.process.name] = [part.pid]
        write_stack_file(self.directory.stack_file, self.addresses, pids)

    def _tell(self, began: float, what: str) -> None:
        self._say(f"[{time.monotonic() - began:5.1f} s] {what}")


def _stop_all(processes: list[Process], grace_seconds: float) -> None:
    for process in processes:
        process.ask_to_stop()
    wait_until_exits(processes, grace_seconds)
    for process in processes:
        process.kill()
