"""The local stack as a person uses it: its start, its file, its supervision, its end, and the ends that go wrong."""

import os
import re
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.runtime.settings import MongoSettings, RedisSettings
from stack.cache import kafka_files
from stack.guard import Guard
from stack.http_client import get, metric_total, post_json
from stack.kafka_part import KafkaPart
from stack.mongo_part import MongoPart
from stack.redis_part import RedisPart
from tests.fixtures.stack import RunningStack
from tests.support.processes import is_running

SERVICES = {"tcp-ingress", "task-api", "attendance-writer", "session", "console"}
PARTS = {"kafka", "redis", "mongo"}
NewStack = Callable[..., RunningStack]


@pytest.fixture
def new_stack(tmp_path: Path, guard: Guard) -> Iterator[NewStack]:
    """Makes stacks that are not started yet, for tests that end them or change their environment."""
    made: list[RunningStack] = []

    def new(arguments: list[str] | None = None, **environment: str) -> RunningStack:
        made.append(RunningStack(tmp_path / "run", guard, arguments, **environment))
        return made[-1]

    yield new
    for stack in made:
        stack.process.stop(30)


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[KafkaPart]:
    """A broker whose topics hold nothing of other tests: the writer would read that, too."""
    directory = tmp_path_factory.mktemp("own-kafka")
    kafka = KafkaPart(kafka_files(print), directory, directory, guard)
    kafka.restart()
    yield kafka
    kafka.kill()


@pytest.fixture
def given_parts(redis_settings: RedisSettings, mongo_settings: MongoSettings, own_kafka: KafkaPart) -> dict[str, str]:
    """The environment that names parts which run already, with a database of the test's own."""
    return {
        "REDIS_URL": redis_settings.url.get_secret_value(),
        "MONGO_URL": mongo_settings.url.get_secret_value(),
        "MONGO_DATABASE": mongo_settings.database,
        "KAFKA_BOOTSTRAP": own_kafka.bootstrap,
    }


def test_stack_json_says_how_to_reach_everything(platform_stack: RunningStack) -> None:
    described = platform_stack.description
    assert set(described) == {
        "tcp", "tcpTls", "https", "ca", "console", "adminToken", "kafka", "redis", "mongo", "mongoDatabase", "pids",
    }  # fmt: skip
    assert described["https"].startswith("https://127.0.0.1:")
    assert described["console"].startswith("http://127.0.0.1:")
    assert set(described["pids"]) == SERVICES | PARTS
    assert len(platform_stack.pids("tcp-ingress")) == 2
    assert all(is_running(pid) for pid in platform_stack.all_pids())
    for host, port in (platform_stack.tcp, platform_stack.tcp_tls):
        socket.create_connection((host, port), timeout=5).close()


def test_what_holds_secrets_is_readable_by_its_owner_alone(platform_stack: RunningStack) -> None:
    for file in ("stack.json", "secrets.json", "certificates/server.key"):
        assert stat.S_IMODE((platform_stack.directory / file).stat().st_mode) == 0o600, file


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_killed_service_runs_again_within_two_seconds_and_is_named(
    platform_stack: RunningStack, service: str
) -> None:
    before = platform_stack.kill(service)
    deadline = time.monotonic() + 2
    while set(platform_stack.pids(service)) & set(before):
        assert time.monotonic() < deadline, f"{service} still has {before}"
        time.sleep(0.02)
    after = platform_stack.pids(service)
    assert len(after) == len(before)
    platform_stack.wait_ready()
    assert platform_stack.pids(service) == after


def test_a_second_stack_in_the_same_folder_is_refused(platform_stack: RunningStack, guard: Guard) -> None:
    second = RunningStack(platform_stack.directory, guard)
    second.process.log_file = platform_stack.directory.with_name("second.log")
    second.process.start()
    assert second.wait(20) == 1
    assert f"already (pid {platform_stack.process.pid})" in second.output()
    assert platform_stack.stack_file.exists()
    assert all(is_running(pid) for pid in platform_stack.all_pids())


def test_a_second_run_beside_another_stack_starts_where_the_first_one_ended(
    platform_stack: RunningStack, new_stack: NewStack
) -> None:
    stack = new_stack(["up", "--ingress", "1"])
    stack.start()
    pids = stack.all_pids()
    assert not set(pids) & set(platform_stack.all_pids())
    vendors = f"{stack.console}/api/v1/vendors"
    made = post_json(vendors, {"name": "kept"}, token=stack.admin_token)
    assert stack.stop(signal.SIGTERM) == 0
    assert [pid for pid in pids if is_running(pid)] == []
    assert not stack.stack_file.exists()

    stack.start()
    assert made["vendorId"] in get(f"{stack.console}/api/v1/vendors", token=stack.admin_token)
    assert made["vendorId"] not in get(f"{platform_stack.console}/api/v1/vendors", token=platform_stack.admin_token)
    pids = stack.all_pids()
    os.kill(stack.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "kill -9 of the stack left processes behind"
        time.sleep(0.05)


def test_a_signal_during_the_start_leaves_no_process_behind(new_stack: NewStack) -> None:
    stack = new_stack()
    stack.process.start()
    deadline = time.monotonic() + 60
    while not (started := processes_of(stack.directory)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert stack.stop(signal.SIGINT) == 0
    assert [pid for pid in started if is_running(pid)] == []
    assert processes_of(stack.directory) == []
    assert "Traceback" not in stack.output()


def test_a_service_that_cannot_start_ends_all_and_says_why(new_stack: NewStack) -> None:
    stack = new_stack(SESSION_TIME_WINDOW_SECONDS="ten")
    stack.process.start()
    assert stack.wait() == 1
    assert "session ended with exit code" in stack.output()
    assert "time_window_seconds" in stack.output().lower()
    assert processes_of(stack.directory) == []


def test_a_port_in_use_ends_all_and_says_which(new_stack: NewStack, given_parts: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        stack = new_stack(TCP_INGRESS_PORT=port, **given_parts)
        stack.process.start()
        assert stack.wait() == 1
    assert "tcp-ingress-" in stack.output()
    assert port in stack.output()
    assert processes_of(stack.directory) == []


def test_a_named_part_that_cannot_be_asked_ends_the_start_before_anything_runs(new_stack: NewStack) -> None:
    stack = new_stack(REDIS_URL="redis://somebody:s3cret/more@127.0.0.1:1/0")
    stack.process.start()
    assert stack.wait() == 1
    assert "error: REDIS_URL holds no address" in stack.output()
    assert "s3cret" not in stack.output()
    assert list((stack.directory / "logs").iterdir()) == []
    assert processes_of(stack.directory) == []


def test_parts_that_the_environment_names_are_used_and_left_running(
    new_stack: NewStack,
    given_parts: dict[str, str],
    redis_part: RedisPart,
    mongo_part: MongoPart,
    own_kafka: KafkaPart,
) -> None:
    stack = new_stack(["up", "--ingress", "1"], **given_parts)
    stack.start()
    assert set(stack.description["pids"]) == SERVICES
    assert stack.description["mongoDatabase"] == given_parts["MONGO_DATABASE"]
    assert stack.stop(signal.SIGHUP) == 0
    assert redis_part.answers()
    assert mongo_part.answers()
    assert own_kafka.answers()


def test_make_run_shows_sign_ins_stored_and_ends_clean_by_ctrl_c(
    new_stack: NewStack, given_parts: dict[str, str]
) -> None:
    stack = new_stack(["run", "--ingress", "1", "--terminals", "20"], **given_parts)
    stack.start()
    deadline = time.monotonic() + 30
    while "the first sign-in is stored" not in stack.output():
        assert time.monotonic() < deadline, stack.output()
        time.sleep(0.1)
    while not re.search(r"[1-9]\d* made, [1-9]\d* pushed, \d+ fetched, [1-9]\d* reported", stack.output()):
        assert time.monotonic() < deadline, stack.output()
        time.sleep(0.1)
    deadline = time.monotonic() + 60
    while "site story told" not in stack.output():
        assert "left out" not in stack.output(), stack.output()
        assert time.monotonic() < deadline, stack.output()
        time.sleep(0.1)
    shown = re.findall(r"workers 40 with faces at 5 terminals: (\d+) loaded.* rosters (\d+) reported", stack.output())
    loaded, reported = map(int, shown[-1])
    assert loaded >= 2 * 40  # of five times 40: a few fail, and rarely a terminal, until it is tried again
    assert reported >= 3
    stored = metric_total(get(f"{stack.admin('attendance-writer')[0]}/metrics"), "attendance_writer_stored_total")
    assert stored is not None
    assert stored > 0
    assert stack.stop(signal.SIGINT) == 0
    assert processes_of(stack.directory) == []
    totals = dict(line.split()[:2] for line in stack.output().splitlines() if line.startswith("  "))
    assert int(totals["stored"]) >= stored
    assert "Traceback" not in stack.output()


def processes_of(directory: Path) -> list[int]:
    """Processes whose command line or environment names a stack's folder, but for the stack itself."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and is_running(int(process.name)):
            try:
                command = (process / "cmdline").read_bytes()
                environment = (process / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            named = os.fsencode(directory) in command + environment
            if named and b"-m\0stack\0" not in command:
                found.append(int(process.name))
    return found
