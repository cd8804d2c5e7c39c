"""Twice what the platform can carry: answers keep coming, nothing grows past its bound, soon after all is normal."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.http_client import RequestFailed, get, metric_total
from tests.chaos.errands import Operator
from tests.chaos.evidence import Evidence, resident_bytes
from tests.chaos.ledger import ACKNOWLEDGED, Entry, LedgerFile
from tests.chaos.platform import ChaosPlatform
from tests.chaos.probe import Probe
from tests.chaos.reckoning import Reckoning, reckon
from tests.support.builders import Vendor

MEASURE_SECONDS = 15.0
TIMES = 2.0
BACK_SECONDS = 10.0
DEADLINE_SECONDS = 5.0  # TCP_INGRESS_REQUEST_DEADLINE_SECONDS
LATE_SECONDS = 1.0
STORED_SECONDS = 600.0
LOOK_SECONDS = 1.0
BOUNDS = {
    "tcp_ingress_sign_ins_in_flight": 10_000,  # TCP_INGRESS_MAX_IN_FLIGHT_SIGN_INS
    "tcp_ingress_commit_bytes_in_flight": 64 * 1024 * 1024,  # TCP_INGRESS_MAX_IN_FLIGHT_BYTES
    "tcp_ingress_held_bytes": 256 * 1024 * 1024 + 4 * 1024 * 1024,  # TCP_INGRESS_MAX_HELD_BYTES, and a frame
}
MOST_RESIDENT_BYTES = 600 * 1024 * 1024
"""Of an ingress process: what its bounds let it hold, with what Python and its caches take."""


@dataclass
class Overload:
    """What was measured."""

    capacity: float = 0.0
    """Sign-ins a second, as fast as answers came."""
    offered: float = 0.0
    """Sent, or kept back by terminals of which eight are unanswered already, a second."""
    acknowledged: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    held_back: int = 0
    silent_seconds: float = 0.0
    """The longest time without any answer."""
    highest: dict[str, float] = field(default_factory=dict)
    """Of each gauge of an ingress process."""
    back: float = 0.0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"capacity: {self.capacity:.0f} sign-ins/s; offered {self.offered:.0f}/s, acknowledged "
            f"{self.acknowledged:.0f}/s",
            f"answers: {dict(self.outcomes)}; kept back by terminals that wait for answers: {self.held_back}",
            f"longest time without an answer: {self.silent_seconds:.1f} s",
            *[f"highest {name}: {value:.0f} of at most {_bound(name)}" for name, value in self.highest.items()],
            f"back to normal after {self.back:.1f} s",
        ]


async def overload(platform: ChaosPlatform, seconds: float, patience: float) -> tuple[Overload, Reckoning]:
    """Measures what the platform can carry, offers twice that, and reckons."""
    operator = Operator(platform)
    evidence = Evidence(platform)
    result = Overload()
    try:
        vendor = await operator.make_vendor()
        closed = await _burst(platform, vendor, "CAP-", MEASURE_SECONDS, [], result)
        result.capacity = closed.reports[-1][1]["outcomes"].get(ACKNOWLEDGED, 0) / MEASURE_SECONDS
        platform.say(f"it carries {result.capacity:.0f} sign-ins/s; offering {TIMES * result.capacity:.0f}/s")
        probe = Probe(platform.addresses.tcp, vendor, "OVERP-")
        probing = asyncio.ensure_future(probe.run())
        rate = ["--rate", str(TIMES * result.capacity)]
        opened = await _burst(platform, vendor, "OVER-", seconds, rate, result)
        ended = opened.ended
        await asyncio.sleep(max(0.0, ended + BACK_SECONDS * patience + 3 - time.monotonic()))
        result.back = probe.back_after(ended)
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        _judge(result, opened, seconds, patience)
        entries = [*closed.entries(), *opened.entries(), *probe.entries]
        await _wait_stored(platform, evidence, entries, STORED_SECONDS * patience)
        kept = await asyncio.to_thread(evidence.stored, ("CAP-", "OVER-", "OVERP-"))
        told = reckon(entries, type(kept)(kept.attendances, kept.pictures, await evidence.published()))
        told.faults += result.faults
        told.fault("processes died by themselves", [death.name for death in platform.deaths])
        return result, told
    finally:
        await operator.close()
        evidence.close()


@dataclass
class _Ran:
    """A burst that has ended."""

    reports: list[tuple[float, dict[str, Any]]]
    ended: float
    """When it stopped to send."""
    ledger: LedgerFile

    def entries(self) -> list[Entry]:
        self.ledger.take_new()
        return self.ledger.entries


async def _burst(
    platform: ChaosPlatform, vendor: Vendor, prefix: str, seconds: float, options: list[str], result: Overload
) -> _Ran:
    path = platform.directory / f"burst-{prefix}.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.burst", *_ways_in(platform),
        "--access-id", vendor.access_id, "--access-key", vendor.access_key, "--sn-prefix", prefix,
        "--ledger", str(path), "--seconds", str(seconds), *options,
        env={**os.environ, "TERMINAL_SIMULATOR_ACCESS_SECRET": vendor.access_secret},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    watching = asyncio.ensure_future(_watch(platform, result))
    reports: list[tuple[float, dict[str, Any]]] = []
    try:
        async for line in process.stdout:
            reports.append((time.monotonic(), json.loads(line)))
            if len(reports) % 10 == 0:
                platform.say(f"  {line.decode().strip()}")
        assert await process.wait() == 0
    finally:
        watching.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    # The last report is that of the last answer; the one before it was still sending.
    return _Ran(reports, reports[0][0] + seconds, LedgerFile(path))


def _ways_in(platform: ChaosPlatform) -> list[str]:
    """Not by way of a link, which carries less than the platform."""
    ports = [platform.plans[name].environment["TCP_INGRESS_PORT"] for name in platform.names("tcp-ingress")]
    return [part for port in ports for part in ("--tcp", f"127.0.0.1:{port}")]


async def _watch(platform: ChaosPlatform, result: Overload) -> None:
    """The highest value of each gauge that has a bound."""
    while True:
        sizes = await asyncio.to_thread(resident_bytes, platform)
        for name in platform.names("tcp-ingress"):
            _raise(result, "resident bytes", sizes.get(name, 0))
            try:
                text = await asyncio.to_thread(get, f"http://127.0.0.1:{platform.plans[name].admin_port}/metrics")
            except RequestFailed:
                continue  # it has more to do than to tell of itself
            for gauge in BOUNDS:
                _raise(result, gauge, metric_total(text, gauge) or 0)
        await asyncio.sleep(LOOK_SECONDS)


def _raise(result: Overload, name: str, value: float) -> None:
    result.highest[name] = max(result.highest.get(name, 0), value)


def _bound(name: str) -> int:
    return BOUNDS.get(name, MOST_RESIDENT_BYTES)


def _judge(result: Overload, ran: _Ran, seconds: float, patience: float) -> None:
    last = ran.reports[-1][1]
    result.outcomes, result.held_back = last["outcomes"], last["heldBack"]
    result.offered = (last["sent"] + last["heldBack"]) / seconds
    while_sending = [report for at, report in ran.reports if at <= ran.ended]
    result.acknowledged = while_sending[-1]["outcomes"].get(ACKNOWLEDGED, 0) / seconds
    answered, since = 0, ran.reports[0][0]
    for at, report in ran.reports:
        total = sum(report["outcomes"].values())
        if total > answered:
            answered, since = total, at
        result.silent_seconds = max(result.silent_seconds, at - since)
    others = last["outcomes"].keys() - {ACKNOWLEDGED, "500_01"}
    if others:
        result.faults.append(f"answers that are neither success nor 500_01: {sorted(others)}")
    if result.offered < 0.9 * TIMES * result.capacity:
        result.faults.append(f"only {result.offered:.0f} sign-ins/s were offered: the sender was too slow")
    if result.silent_seconds > (DEADLINE_SECONDS + LATE_SECONDS) * patience:
        result.faults.append(f"no answer for {result.silent_seconds:.1f} s")
    if last["lost"] or last["waiting"]:
        result.faults.append(f"{last['lost']} connections were lost, {last['waiting']} sign-ins never answered")
    for name, value in result.highest.items():
        if value > _bound(name):
            result.faults.append(f"{name} reached {value:.0f}, bound {_bound(name)}")
    if result.back > BACK_SECONDS * patience:
        result.faults.append(f"back to normal only after {result.back:.1f} s")


async def _wait_stored(platform: ChaosPlatform, evidence: Evidence, entries: list[Entry], seconds: float) -> None:
    """The writers read on after the ingress is at rest; the last of each terminal tells when they have caught up."""
    newest = {entry.sn: entry.event_id for entry in entries if entry.outcome == ACKNOWLEDGED}
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if await asyncio.to_thread(evidence.are_stored, list(newest.values())):
            platform.say(f"all is stored {time.monotonic() - began:.0f} s later")
            return
        await asyncio.sleep(2.0)
