"""Which processes a stack has, and what they are told."""

import socket
from pathlib import Path

import pytest

from stack.certificates import Certificates
from stack.kept_secrets import KeptSecrets
from stack.ports import free_port
from stack.process import StackError
from stack.services import Ports, ServicePlan, addresses_of, service_plans, shared_environment

SECRETS = KeptSecrets(sealing_keys="k1:key", admin_token="admin", session_token="internal")
CERTIFICATES = Certificates(Path("/ca.pem"), Path("/server.pem"), Path("/server.key"))
PORTS = Ports(tcp=1, tcp_tls=2, https=3, console=4, session=5)
ADDRESSES = addresses_of(PORTS, SECRETS, CERTIFICATES, "kafka:9", "redis://r", "mongodb://m", "db")


def plans(ingress_processes: int = 2, terminals: int = 0) -> dict[str, ServicePlan]:
    made = service_plans(
        PORTS, ADDRESSES, SECRETS, CERTIFICATES, ingress_processes=ingress_processes, terminals=terminals
    )
    return {plan.name: plan for plan in made}


def test_ingress_processes_share_their_ports_and_have_an_admin_port_each() -> None:
    ingresses = [plan for plan in plans(3).values() if plan.service == "tcp-ingress"]
    assert [plan.environment["TCP_INGRESS_PORT"] for plan in ingresses] == ["1"] * 3
    assert [plan.environment["TCP_INGRESS_TLS_PORT"] for plan in ingresses] == ["2"] * 3
    assert len({plan.environment["TCP_INGRESS_ADMIN_PORT"] for plan in ingresses}) == 3
    assert all(plan.environment["TCP_INGRESS_ADMIN_PORT"] == str(plan.admin_port) for plan in ingresses)


def test_session_and_those_that_call_it_hold_the_same_token_and_address() -> None:
    made = plans()
    assert made["session"].environment["SESSION_INTERNAL_TOKEN"] == "internal"
    assert made["session"].environment["SESSION_PORT"] == "5"
    for name, prefix in (("tcp-ingress-1", "TCP_INGRESS_"), ("console", "CONSOLE_")):
        assert made[name].environment[f"{prefix}SESSION_TOKEN"] == "internal"
        assert made[name].environment[f"{prefix}SESSION_URL"] == "http://127.0.0.1:5"


def test_only_the_console_is_told_the_admin_token() -> None:
    told = {name for name, plan in plans().items() if "admin" in plan.environment.values()}
    assert told == {"console"}


def test_every_process_is_told_only_settings_of_its_own_service() -> None:
    prefixes = {
        "tcp-ingress": "TCP_INGRESS_", "task-api": "TASK_API_", "console": "CONSOLE_", "session": "SESSION_",
        "attendance-writer": "ATTENDANCE_WRITER_",
    }  # fmt: skip
    for plan in plans().values():
        assert all(name.startswith(prefixes[plan.service]) for name in plan.environment), plan.name


def test_many_terminals_of_one_address_get_room_and_few_leave_the_bound_as_it_is() -> None:
    name = "TCP_INGRESS_MAX_CONNECTIONS_PER_ADDRESS"
    assert plans(terminals=50)["tcp-ingress-1"].environment[name] == "1000"
    assert plans(terminals=5000)["tcp-ingress-1"].environment[name] == "10000"


def test_all_services_are_told_where_the_parts_are() -> None:
    assert shared_environment(ADDRESSES, SECRETS) == {
        "KAFKA_BOOTSTRAP": "kafka:9",
        "REDIS_URL": "redis://r",
        "MONGO_URL": "mongodb://m",
        "MONGO_DATABASE": "db",
        "SEALING_KEYS": "k1:key",
    }


def test_a_port_of_the_environment_is_kept_and_the_others_are_free() -> None:
    ports = Ports.choose({"TCP_INGRESS_PORT": "9700", "CONSOLE_PORT": ""})
    assert ports.tcp == 9700
    assert len({ports.tcp, ports.tcp_tls, ports.https, ports.console, ports.session}) == 5


@pytest.mark.parametrize("wrong", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_told(wrong: str) -> None:
    with pytest.raises(StackError, match="CONSOLE_PORT"):
        Ports.choose({"CONSOLE_PORT": wrong})


def test_free_ports_are_free_and_never_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_listened_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    monkeypatch.setattr("stack.ports._given", set())
    wanted = iter([taken, free])
    monkeypatch.setattr("random.randint", lambda _first, _last: next(wanted))
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port() == free
