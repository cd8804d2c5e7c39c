"""The synthetic terminal beside the whole platform: what it measures, and what it says where the platform fails."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from shared.runtime.settings import KafkaSettings
from stack.guard import Guard
from stack.http_client import get, metric_total
from tests.fixtures.stack import RunningStack
from tests.support.topics import read_topic

WAIT_SECONDS = 60.0
TERMINAL = "synthetic-terminal"
# Short enough for a test to see each outcome; long enough for a sign-in on a busy machine to be stored in time.
TIMES = {
    "SYNTHETIC_TERMINAL_INTERVAL_SECONDS": "0.5",
    "SYNTHETIC_TERMINAL_ANSWER_TIMEOUT_SECONDS": "3",
    "SYNTHETIC_TERMINAL_STORED_TIMEOUT_SECONDS": "5",
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[RunningStack]:
    stack = RunningStack(
        tmp_path_factory.mktemp("synthetic") / "run", guard, ["up", "--synthetic", "--ingress", "1"], **TIMES
    )
    stack.start()
    yield stack
    stack.process.stop(60)


def counted(stack: RunningStack, outcome: str) -> float:
    """How many sign-ins ended so; those of before a restart are forgotten."""
    (url,) = stack.admin(TERMINAL)
    total = metric_total(
        get(f"{url}/metrics", timeout_seconds=10), f'synthetic_terminal_sign_ins_total{{outcome="{outcome}"}}'
    )
    assert total is not None, outcome
    return total


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def wait_for_successes(stack: RunningStack, more: int = 2) -> None:
    before = counted(stack, "success")
    wait_until(lambda: counted(stack, "success") >= before + more, "no further success")


def test_it_signs_in_again_and_again_and_measures_until_each_is_stored(stack: RunningStack) -> None:
    assert len(stack.pids(TERMINAL)) == 1
    wait_for_successes(stack, 3)
    (url,) = stack.admin(TERMINAL)
    assert '"ready": true' in get(f"{url}/readyz", timeout_seconds=10)
    text = get(f"{url}/metrics", timeout_seconds=10)
    assert (metric_total(text, "synthetic_terminal_answer_seconds_count") or 0) >= 3
    stored = metric_total(text, "synthetic_terminal_stored_seconds_count")
    assert stored is not None
    assert stored >= 3
    assert 0 < (metric_total(text, "synthetic_terminal_stored_seconds_sum") or 0) < 5 * stored
    last = metric_total(text, "synthetic_terminal_last_success_timestamp_seconds")
    assert last is not None
    assert abs(time.time() - last) < WAIT_SECONDS


def test_whoever_computes_wages_never_sees_it(stack: RunningStack) -> None:
    wait_for_successes(stack)
    described = stack.description
    with MongoClient[dict[str, object]](described["mongo"]) as client:
        database = client[described["mongoDatabase"]]
        assert database["synthetic_attendance"].count_documents({}) >= 2
        assert database["attendance"].count_documents({}) == 0
        assert database["pictures"].count_documents({}) == 0
    kafka = KafkaSettings(bootstrap=described["kafka"])
    assert asyncio.run(read_topic(kafka, "attendance.sign-in.v1")) == []
    assert asyncio.run(read_topic(kafka, "attendance.sensitive.v1")) == []
    assert len(asyncio.run(read_topic(kafka, "attendance.synthetic.v1"))) >= 2
    assert asyncio.run(read_topic(kafka, "attendance.dead-letter.v1")) == []
    api = f"{stack.console}/api/v1"
    assert '"items":[]' in get(f"{api}/attendance", token=stack.admin_token, timeout_seconds=10)
    export = get(f"{api}/attendance/export", token=stack.admin_token, timeout_seconds=10)
    assert len(export.splitlines()) == 1, "the names of the columns alone"
    assert "SYNTHETIC0001" in get(f"{api}/devices", token=stack.admin_token, timeout_seconds=10)


def test_it_is_told_nothing_that_only_services_may_know(stack: RunningStack) -> None:
    (pid,) = stack.pids(TERMINAL)
    given = Path(f"/proc/{pid}/environ").read_bytes()
    names = {entry.partition(b"=")[0].decode() for entry in given.split(b"\0")}
    assert "SYNTHETIC_TERMINAL_ACCESS_SECRET" in names
    assert names & {"SEALING_KEYS", "MONGO_URL", "CONSOLE_ADMIN_TOKEN", "SESSION_INTERNAL_TOKEN"} == set()


def test_a_writer_that_stands_still_is_seen_as_not_stored_and_its_recovery_too(stack: RunningStack) -> None:
    wait_for_successes(stack)
    before = counted(stack, "not_stored")
    (writer,) = stack.pids("attendance-writer")
    os.kill(writer, signal.SIGSTOP)
    try:
        wait_until(lambda: counted(stack, "not_stored") > before, "a writer that stands still is not seen")
    finally:
        os.kill(writer, signal.SIGCONT)
    wait_for_successes(stack)


def test_a_killed_front_door_is_seen_and_its_recovery_too(stack: RunningStack) -> None:
    def lost() -> float:
        return counted(stack, "refused_connection") + counted(stack, "unanswered")

    wait_for_successes(stack)
    before = lost()

    def is_seen() -> bool:
        if lost() > before:
            return True
        stack.kill("tcp-ingress")  # it is started again within two seconds
        return False

    wait_until(is_seen, "a killed front door is not seen")
    stack.wait_ready()
    wait_for_successes(stack)


def test_a_front_door_that_hangs_is_unanswered(stack: RunningStack) -> None:
    wait_for_successes(stack)
    before = counted(stack, "unanswered")
    (ingress,) = stack.pids("tcp-ingress")
    os.kill(ingress, signal.SIGSTOP)
    try:
        wait_until(lambda: counted(stack, "unanswered") > before, "a front door that hangs is not seen")
    finally:
        os.kill(ingress, signal.SIGCONT)
    wait_for_successes(stack)


def test_it_is_started_again_where_it_dies_and_leaves_in_good_order_with_the_stack(stack: RunningStack) -> None:
    (before,) = stack.kill(TERMINAL)
    wait_until(lambda: stack.pids(TERMINAL) != [before], "it was not started again")
    stack.wait_ready()
    wait_for_successes(stack)
    assert stack.stop() == 0
    assert '"message": "synthetic-terminal stopped"' in stack.log(TERMINAL).splitlines()[-1]
    assert "Traceback" not in stack.log(TERMINAL)
