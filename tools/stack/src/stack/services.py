"""Which service processes a stack has, and the environment that each is given. Nothing is started here."""

from collections.abc import Mapping
from dataclasses import dataclass

from stack.certificates import Certificates
from stack.kept_secrets import KeptSecrets, SyntheticAccess
from stack.ports import free_port
from stack.process import StackError
from stack.stack_file import Addresses

HOST = "127.0.0.1"
CONNECTIONS_PER_ADDRESS = 1_000
"""The ingress's own bound: simulated terminals all come from one address, so many of them need a wider one."""

NO_NOTICE = {"NOTICE_SECONDS": "0"}
"""No load balancer has to notice here that a process leaves, and a person waits for it."""
INGRESS_GRACE_SECONDS = "8"
"""With what closing its clients takes, below the time after which the stack kills it."""


@dataclass(frozen=True)
class ServicePlan:
    """One process of a service."""

    name: str
    """Unique in the stack; names the log file."""
    service: str
    module: str
    admin_port: int
    environment: dict[str, str]


@dataclass(frozen=True)
class Ports:
    """Where the services listen: free ports, or those that the environment asks for."""

    tcp: int
    tcp_tls: int
    https: int
    console: int
    session: int

    @classmethod
    def choose(cls, environment: Mapping[str, str]) -> "Ports":
        """TCP_INGRESS_PORT, TCP_INGRESS_TLS_PORT, TASK_API_PORT and CONSOLE_PORT are kept where they are set.

        Raises StackError where one is no port number.
        """

        def chosen(name: str) -> int:
            wanted = environment.get(name)
            if not wanted:
                return free_port()
            if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
                raise StackError(f"{name} is {wanted!r}: it must be a port number")
            return int(wanted)

        return cls(
            tcp=chosen("TCP_INGRESS_PORT"),
            tcp_tls=chosen("TCP_INGRESS_TLS_PORT"),
            https=chosen("TASK_API_PORT"),
            console=chosen("CONSOLE_PORT"),
            session=free_port(),
        )


def addresses_of(
    ports: Ports, secrets: KeptSecrets, certificates: Certificates, kafka: str, redis: str, mongo: str, database: str
) -> Addresses:
    """How the stack is reached from outside."""
    return Addresses(
        tcp=f"{HOST}:{ports.tcp}",
        tcp_tls=f"{HOST}:{ports.tcp_tls}",
        https=f"https://{HOST}:{ports.https}",
        ca=certificates.ca,
        console=f"http://{HOST}:{ports.console}",
        admin_token=secrets.admin_token,
        kafka=kafka,
        redis=redis,
        mongo=mongo,
        mongo_database=database,
    )


def shared_environment(addresses: Addresses, secrets: KeptSecrets) -> dict[str, str]:
    """What every service is told: where the parts are, and the keys of what is sealed."""
    return {
        "KAFKA_BOOTSTRAP": addresses.kafka,
        "REDIS_URL": addresses.redis,
        "MONGO_URL": addresses.mongo,
        "MONGO_DATABASE": addresses.mongo_database,
        "SEALING_KEYS": secrets.sealing_keys,
    }


def service_plans(
    ports: Ports,
    addresses: Addresses,
    secrets: KeptSecrets,
    certificates: Certificates,
    *,
    ingress_processes: int,
    terminals: int,
) -> list[ServicePlan]:
    """The processes, in the order in which they stop: those that take requests first."""
    tls = {"TLS_CERT_FILE": str(certificates.certificate), "TLS_KEY_FILE": str(certificates.key)}
    session = {"SESSION_URL": f"http://{HOST}:{ports.session}", "SESSION_TOKEN": secrets.session_token}
    ingress = {
        **tls,
        **session,
        "HOST": HOST,
        "PORT": str(ports.tcp),
        "TLS_PORT": str(ports.tcp_tls),
        "GRACE_SECONDS": INGRESS_GRACE_SECONDS,
        **NO_NOTICE,
        "MAX_CONNECTIONS_PER_ADDRESS": str(max(CONNECTIONS_PER_ADDRESS, 2 * terminals)),
    }
    console = {
        **session,
        "HOST": HOST,
        "PORT": str(ports.console),
        **NO_NOTICE,
        "ADMIN_TOKEN": secrets.admin_token,
        "PUBLIC_BASE_URL": addresses.console,
        "DEVICE_BASE_URL": addresses.https,
    }
    task_api = {**tls, **NO_NOTICE, "HOST": HOST, "PORT": str(ports.https), "PUBLIC_BASE_URL": addresses.https}
    internal = {**NO_NOTICE, "HOST": HOST, "PORT": str(ports.session), "INTERNAL_TOKEN": secrets.session_token}
    plans = [
        _plan(f"tcp-ingress-{number}", "tcp-ingress", "tcp_ingress", "TCP_INGRESS_", ingress)
        for number in range(1, ingress_processes + 1)
    ]
    return [
        *plans,
        _plan("task-api", "task-api", "task_api", "TASK_API_", task_api),
        _plan("console", "console", "console_service", "CONSOLE_", console),
        _plan("session", "session", "session_service", "SESSION_", internal),
        _plan("attendance-writer", "attendance-writer", "attendance_writer", "ATTENDANCE_WRITER_", {}),
    ]


def synthetic_plan(addresses: Addresses, access: SyntheticAccess) -> ServicePlan:
    """The synthetic terminal, which is none of the services: it comes in from outside."""
    host, _, port = addresses.tcp.rpartition(":")
    settings = {
        "HOST": host,
        "PORT": port,
        "ACCESS_ID": access.access_id,
        "ACCESS_KEY": access.access_key,
        "ACCESS_SECRET": access.access_secret,
        "CONSOLE_URL": addresses.console,
        "CONSOLE_TOKEN": access.console_token,
    }
    return _plan("synthetic-terminal", "synthetic-terminal", "synthetic_terminal", "SYNTHETIC_TERMINAL_", settings)


def _plan(name: str, service: str, module: str, prefix: str, settings: Mapping[str, str]) -> ServicePlan:
    # The admin port is chosen here, and kept when the process is started again.
    admin_port = free_port()
    settings = {**settings, "ADMIN_HOST": HOST, "ADMIN_PORT": str(admin_port)}
    return ServicePlan(name, service, module, admin_port, {prefix + key: value for key, value in settings.items()})
