"""The sweep finds whom nobody told of, and nobody else (T2, design rules 3, 6)."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from session_service.metrics import SessionMetrics
from session_service.sweep import MARGIN_MS, PAGE, PresenceSweep
from shared.domain.presence import OfflineReason, Presence, PresenceEvent, PresenceState
from shared.runtime.clock import ManualClock
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from tests.support.session_values import NOW_MS


def device(sn: str, epoch: int = 7) -> Presence:
    """A device as either side knows it."""
    return Presence(sn=sn, vendor_id="v1", online=True, epoch=epoch, last_seen_ms=NOW_MS - 90_000, address="192.0.2.1")


class Bench:
    """Both stores, the lock and the events of a sweep."""

    def __init__(self) -> None:
        self.silent: list[Presence] = []
        self.online_in_redis: set[str] = set()
        self.online_in_mongo: list[Presence] = []
        self.whole = True
        self.holds = True
        self.available = True
        self.asked_silent_ms: list[int] = []
        self.events: list[PresenceEvent] = []
        self.metrics = SessionMetrics()
        self.sweep = PresenceSweep(
            self,  # type: ignore[arg-type]  # what is asked of each stands below
            self,  # type: ignore[arg-type]  # as above
            self,  # type: ignore[arg-type]  # as above
            self,
            ManualClock(NOW_MS),
            self.metrics,
            silent_ms=70_000,
        )

    async def hold(self) -> bool:
        if not self.available:
            raise Unavailable("Redis: TimeoutError")
        return self.holds

    async def take_silent(self, longer_than_ms: int, limit: int) -> Sequence[Presence]:
        self.asked_silent_ms.append(longer_than_ms)
        taken, self.silent = self.silent[:limit], self.silent[limit:]
        return taken

    async def last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(self.online_in_redis.intersection(sns), NOW_MS)

    async def is_whole(self, for_ms: int) -> bool:
        assert for_ms == 70_000 + MARGIN_MS
        return self.whole

    async def online_page(self, after: str | None, limit: int) -> Sequence[Presence]:
        return [one for one in self.online_in_mongo if one.sn > (after or "")][:limit]

    def put(self, event: PresenceEvent) -> None:
        self.events.append(event)

    def told(self) -> list[str]:
        """Whose events there were since the last look."""
        sns = [event.sn for event in self.events]
        self.events.clear()
        return sns


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_t2_all_that_were_silent_past_a_minute_the_grace_and_the_margin_are_told(bench: Bench) -> None:
    bench.silent = [device(f"sn-{number}") for number in range(PAGE + 1)]
    await bench.sweep.sweep()
    assert set(bench.asked_silent_ms) == {73_000}
    assert len(bench.events) == PAGE + 1
    assert bench.metrics.swept == PAGE + 1
    expected = PresenceEvent(
        sn="sn-0",
        vendor_id="v1",
        state=PresenceState.OFFLINE,
        epoch=7,
        at="2026-11-24T06:00:00.000Z",
        last_seen_at="2026-11-24T05:58:30.000Z",
        address="192.0.2.1",
        reason=OfflineReason.INGRESS_LOST,
    )
    assert bench.events[0] == expected


async def test_only_the_holder_of_the_lock_sweeps(bench: Bench) -> None:
    bench.holds = False
    bench.silent = [device("sn-0")]
    await bench.sweep.sweep()
    assert bench.told() == []


async def test_whom_mongodb_has_online_and_redis_has_not_is_told_with_the_epoch_that_is_known(bench: Bench) -> None:
    bench.online_in_mongo = [device("alive"), device("lost", epoch=9)]
    bench.online_in_redis = {"alive"}
    await bench.sweep.sweep()
    assert [(event.sn, event.epoch) for event in bench.events] == [("lost", 9)]


async def test_design_3_after_a_flush_nobody_is_called_lost_until_all_could_beat_again(bench: Bench) -> None:
    bench.online_in_mongo = [device("beats-within-a-minute")]
    bench.whole = False
    await bench.sweep.sweep()
    assert bench.told() == []
    bench.whole = True
    await bench.sweep.sweep()
    assert bench.told() == ["beats-within-a-minute"]


async def test_a_flush_between_reading_and_judging_calls_nobody_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.online_in_mongo = [device("alive")]
    bench.online_in_redis = {"alive"}

    async def flushed(_sns: Sequence[str]) -> dict[str, int]:
        bench.whole = False
        return {}

    monkeypatch.setattr(bench, "last_seen", flushed)
    await bench.sweep.sweep()
    assert bench.told() == []


async def test_mongodb_is_compared_a_page_a_round_and_then_from_the_start(bench: Bench) -> None:
    sns = [f"sn-{number:05}" for number in range(2 * PAGE + 1)]
    bench.online_in_mongo = [device(sn) for sn in sns]
    rounds = []
    for _ in range(4):
        await bench.sweep.sweep()
        rounds.append(bench.told())
    assert rounds == [sns[:PAGE], sns[PAGE : 2 * PAGE], sns[2 * PAGE :], sns[:PAGE]]


async def test_design_6_after_redis_was_away_ingress_has_time_to_tell_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_service.sweep.PAUSE_SECONDS", 0.2)
    bench.available = False
    task = spawn(bench.sweep.run(0.01), "sweep")
    await asyncio.sleep(0.05)
    bench.available = True
    bench.silent = [msgspec.structs.replace(device("told-at-last"), epoch=8)]
    await asyncio.sleep(0.05)
    assert bench.told() == []
    bench.silent = []  # ingress told Redis in time
    await asyncio.sleep(0.2)
    bench.silent = [device("silent")]
    await asyncio.sleep(0.05)
    task.cancel()
    assert bench.told() == ["silent"]


async def test_who_holds_the_lock_leads_until_it_is_told_otherwise(bench: Bench) -> None:
    assert not bench.sweep.leads.is_set()
    await bench.sweep.sweep()
    assert bench.sweep.leads.is_set()
    bench.holds = False
    await bench.sweep.sweep()
    assert not bench.sweep.leads.is_set()
