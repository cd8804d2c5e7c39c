"""Devices by site: said by the process that leads and by no other, complete, bounded, and never in the sweep's way."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from session_service.site_devices import SiteDevices, labelled
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from tests.support.waiting import eventually


class Records:
    """What MongoDB says, when it does."""

    def __init__(self) -> None:
        self.found: dict[tuple[str | None, bool], int] = {("s1", True): 3}
        self.asked = 0
        self.available = True

    async def count_by_site(self) -> dict[tuple[str | None, bool], int]:
        self.asked += 1
        if not self.available:
            raise Unavailable("MongoDB: NetworkTimeout")
        return self.found


class Bench:
    """The counts of a process, and whether it leads."""

    def __init__(self) -> None:
        self.records = Records()
        self.leads = asyncio.Event()
        self.sites = SiteDevices(self.records, self.leads)

    async def asked_again(self, times: int = 2) -> None:
        asked = self.records.asked
        await eventually(lambda: self.records.asked >= asked + times)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    running = spawn(bench.sites.run(0.01), "site-devices")
    yield bench
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def counts(bench: Bench, expected: dict[tuple[str, str], int]) -> Callable[[], bool]:
    return lambda: bench.sites.counts == expected


async def test_who_does_not_lead_counts_nothing_and_says_nothing(bench: Bench) -> None:
    await asyncio.sleep(0.05)
    assert (bench.records.asked, bench.sites.counts) == (0, {})
    bench.leads.set()
    await eventually(counts(bench, {("s1", "online"): 3, ("s1", "offline"): 0}))
    bench.leads.clear()
    assert bench.sites.counts == {}


async def test_each_count_replaces_the_one_before(bench: Bench) -> None:
    bench.leads.set()
    await eventually(counts(bench, {("s1", "online"): 3, ("s1", "offline"): 0}))
    bench.records.found = {("s2", False): 1}
    await eventually(counts(bench, {("s2", "online"): 0, ("s2", "offline"): 1}))


async def test_while_mongodb_is_away_the_last_count_stands_and_it_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.leads.set()
    await eventually(counts(bench, {("s1", "online"): 3, ("s1", "offline"): 0}))
    bench.records.available = False
    await bench.asked_again(3)
    assert bench.sites.counts == {("s1", "online"): 3, ("s1", "offline"): 0}
    assert caplog.text.count("cannot be counted by site") == 1
    bench.records.available, bench.records.found = True, {}
    await eventually(counts(bench, {}))


def test_both_states_of_each_site_are_there_and_devices_without_one_have_a_name() -> None:
    assert labelled({("s1", True): 2, ("s1", False): 1, (None, False): 4}) == {
        ("s1", "online"): 2,
        ("s1", "offline"): 1,
        ("none", "online"): 0,
        ("none", "offline"): 4,
    }


def test_design_7_past_the_bound_the_sites_with_the_fewest_devices_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_service.site_devices.MAX_SITES", 2)
    devices = {("s1", True): 1, ("s2", True): 2, ("s2", False): 2, ("s3", False): 3, ("s4", False): 1}
    assert labelled(devices) == {  # type: ignore[arg-type]  # dict's keys are invariant, and these have no None
        ("s2", "online"): 2,
        ("s2", "offline"): 2,
        ("s3", "online"): 0,
        ("s3", "offline"): 3,
        ("other", "online"): 1,
        ("other", "offline"): 1,
    }
