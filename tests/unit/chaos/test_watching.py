"""What the suite knows of the platform while it runs: who died, when it was back, what terminals were told."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from stack.guard import Guard
from stack.process import Process
from stack.server import Server
from tests.chaos.fleet import Report
from tests.chaos.ledger import LedgerFile, newest_acknowledged
from tests.chaos.probe import EVERY_SECONDS, Look, Probe
from tests.chaos.stores import Stores
from tests.chaos.watch import Watch
from tests.chaos.wires import Wires, service_links
from tests.support.builders import Vendor
from tests.support.waiting import eventually


class Sleeper(Server):
    """A process that does nothing."""

    def answers(self) -> bool:
        return self.process.alive


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


async def test_who_died_unasked_is_written_down_and_started_again_and_who_was_killed_is_left_alone(
    guard: Guard, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "print('last words', flush=True); import time; time.sleep(60)"]
    servers = {name: Sleeper(Process(name, command, log_file=tmp_path / name, guard=guard)) for name in ("a", "b")}
    said: list[str] = []
    watch = Watch(servers, {}, said.append)
    try:
        for server in servers.values():
            server.start()
        await eventually(lambda: all("last words" in (tmp_path / name).read_text() for name in servers))
        watch.start()
        watch.held_down.add("b")
        for server in servers.values():
            server.kill()
        await eventually(lambda: servers["a"].process.alive)
        await asyncio.sleep(0.5)
        assert not servers["b"].process.alive
        assert [(death.name, death.exit_code) for death in watch.deaths] == [("a", -9)]
        assert "last words" in watch.deaths[0].log_tail
        assert said == ["!! a died by itself, exit code -9; it is started again"]
    finally:
        await watch.stop()
        for server in servers.values():
            server.kill()


def probe(*looks: Look) -> Probe:
    made = Probe("127.0.0.1:1", Vendor("id", "key", "secret"), "P-")
    made.looks.extend(looks)
    return made


def test_the_platform_is_back_when_the_last_probe_that_failed_began() -> None:
    made = probe(Look(1, 1.1, ""), Look(8, 16, "no answer"), Look(12, 12.5, "C_AUTH 500_01"), Look(13, 13.2, ""))
    assert made.back_after(10) == pytest.approx(12 + EVERY_SECONDS - 10)
    assert made.back_after(17) == 0.0
    assert made.faults_since(10) == {"no answer": 1, "C_AUTH 500_01": 1}


def test_it_is_quiet_only_while_probes_succeed_one_after_the_other() -> None:
    assert probe().quiet_seconds(now=20, since=10) == 0.0
    assert probe(Look(11, 11.1, "no connection")).quiet_seconds(now=20, since=10) == 0.0
    assert probe(Look(9, 12, "no answer"), Look(13, 13.1, "")).quiet_seconds(now=20, since=10) == 8
    assert probe(Look(11, 11.1, "")).quiet_seconds(now=20, since=10) == 10


def test_a_report_tells_what_went_wrong_since_an_earlier_one() -> None:
    before = Report(1, {"errors": {"500_01": 2}, "reconnects": 1, "unanswered": 4})
    after = Report(2, {"errors": {"500_01": 5, "401_01": 1}, "reconnects": 3, "unanswered": 4})
    assert after.since(before) == {"500_01": 3, "401_01": 1, "connection lost": 2}
    assert Report(3).since(Report(0)) == {}


def test_a_ledger_that_is_being_written_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = LedgerFile(path)
    assert ledger.take_new() == []
    members = {"sn": "A", "personId": "1", "type": 1, "withPicture": False, "wasSent": True}
    lines = [json.dumps({**members, "recordTime": at, "outcome": outcome}) + "\n" for at, outcome in
             ((1, "acknowledged"), (2, "acknowledged"), (3, "unanswered"))]  # fmt: skip
    path.write_text(lines[0] + lines[1][:20])
    assert [entry.record_time for entry in ledger.take_new()] == [1]
    path.write_text("".join(lines))
    assert [entry.record_time for entry in ledger.take_new()] == [2, 3]
    assert newest_acknowledged(ledger.entries)["A"].record_time == 2


def test_without_small_file_systems_no_disk_is_said_to_be_filled(tmp_path: Path) -> None:
    stores = Stores(tmp_path, enabled=False)
    (tmp_path / "data" / "mongo").mkdir(parents=True)
    (tmp_path / "data" / "mongo" / "of an earlier run").touch()
    folders = stores.prepare()
    assert set(folders) == {"mongo", "kafka-1", "kafka-2", "kafka-3"}
    assert all(folder.is_dir() and not list(folder.iterdir()) for folder in folders.values())
    assert "root" in stores.why_not_full


def test_every_way_of_every_service_is_a_link_of_its_own() -> None:
    wires = Wires(Random(1))
    brokers = wires.plan_brokers()
    ports = set()
    for service, parts in service_links().items():
        told = wires.plan_service(service, brokers, "redis://127.0.0.1:1/0", "mongodb://127.0.0.1:2/?x=y")
        assert ("REDIS_URL" in told) == ("redis" in parts)
        assert ("MONGO_URL" in told) == ("mongo" in parts)
        bootstrap = told["KAFKA_BOOTSTRAP"].split(",")
        assert [f"127.0.0.1:{link.port}" for link in wires.between(service, "kafka")] == bootstrap
        ports |= {link.port for part in ("kafka", "redis", "mongo") for link in wires.between(service, part)}
    asked = [part for parts in service_links().values() for part in parts if part != "session"]
    assert len(ports) == len(asked) + 2 * asked.count("kafka")
