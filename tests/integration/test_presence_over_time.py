"""Minutes of a thousand terminals at two ingress processes, over real Redis whose time is the test's: who beats exactly
once a minute never flaps, and who does not goes off line (T2, design rule 6)."""

from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from session_service.metrics import SessionMetrics
from session_service.sweep import PresenceSweep
from shared.domain.presence import OfflineReason, Presence, PresenceEvent, PresenceState
from shared.runtime.clock import ManualClock
from shared.runtime.settings import PresenceSettings, RedisSettings
from shared.stores.memory_tasks import MemoryLock
from shared.stores.redis import presence
from shared.stores.redis.client import PRESENCE_SEEN_KEY, open_redis
from shared.stores.redis.presence import RedisPresenceStore
from tcp_ingress.presence_batches import PresenceBatches, PresenceRules
from tests.support.session_values import NOW_MS, make_session

TERMINALS, BEAT_SECONDS, MINUTES = 1000, 60, 4
SWEEP_SECONDS = 2
SILENT_MS = PresenceSettings().silent_ms
CLOCK_KEY = "clock-of-the-test"
ONLINE, OFFLINE = PresenceState.ONLINE, PresenceState.OFFLINE


class Line:
    """A connection that stays open."""

    address = "192.0.2.1"
    lost = False

    def push(self, message: bytes) -> bool:
        raise AssertionError(f"presence pushes nothing: {message!r}")


class Told:
    """The events of all processes in their order, and who is on line by them, as MongoDB has it."""

    def __init__(self) -> None:
        self.events: list[PresenceEvent] = []
        self._online: dict[str, PresenceEvent] = {}

    def put(self, event: PresenceEvent, _cause: object = None) -> None:
        self.events.append(event)
        if event.state is OFFLINE:
            self._online.pop(event.sn, None)
        else:
            self._online[event.sn] = event

    def of(self, sn: str) -> list[tuple[PresenceState, OfflineReason | None]]:
        return [(event.state, event.reason) for event in self.events if event.sn == sn]

    async def apply(self, events: Sequence[PresenceEvent]) -> None:
        raise AssertionError(f"a sweep records nothing: {events}")

    async def find(self, sns: Sequence[str]) -> dict[str, Presence]:
        raise AssertionError(f"a sweep looks nobody up: {sns}")

    async def online_page(self, after: str | None, limit: int) -> Sequence[Presence]:
        page = sorted(sn for sn in self._online if sn > (after or ""))[:limit]
        return [
            Presence(sn=sn, vendor_id="v1", online=True, epoch=self._online[sn].epoch, last_seen_ms=NOW_MS)
            for sn in page
        ]


class World:
    """Two ingress processes and a sweep over one Redis, and the one clock of all."""

    def __init__(self, redis: Redis) -> None:
        self.clock = ManualClock(NOW_MS)
        self.told = Told()
        self._redis = redis
        rules = PresenceRules(
            interval_seconds=1,
            silent_ms=SILENT_MS,
            skew_ms=5_000,
            skew_alert_ms=60_000,
            refresh_ms=3_600_000,
            max_held=TERMINALS,
        )
        self.ingresses = [PresenceBatches(RedisPresenceStore(redis), self.told, self.clock, rules) for _ in range(2)]
        self._sweep = PresenceSweep(
            RedisPresenceStore(redis),
            self.told,
            MemoryLock(),
            self.told,
            self.clock,
            SessionMetrics(),
            silent_ms=SILENT_MS,
        )
        self._lines = [Line() for _ in range(TERMINALS)]

    async def run(self, minutes: int, *, silent: Sequence[int] = (), killed: int | None = None) -> None:
        """Every terminal beats once a minute, but for the silent ones; a killed ingress tells nothing any more."""
        for second in range(minutes * BEAT_SECONDS + 1):
            micros = self.clock.now_ms() * 1000
            now = {"s": micros // 1_000_000, "us": micros % 1_000_000}
            await self._redis.hset(CLOCK_KEY, mapping=now)  # type: ignore[misc]  # redis-py's type is of both its clients
            for number in range(second % BEAT_SECONDS, TERMINALS, BEAT_SECONDS):
                if number not in silent and number % 2 != killed:
                    self._beat(number)
            for number, ingress in enumerate(self.ingresses):
                if number != killed:
                    await ingress.flush()
            if second % SWEEP_SECONDS == 0:
                await self._sweep.sweep()
            self.clock.advance(1)

    def _beat(self, number: int) -> None:
        now_ms = self.clock.now_ms()
        session = make_session(f"{number:032x}", f"sn-{number}")
        self.ingresses[number % 2].accepted(self._lines[number], session, now_ms, now_ms)


@pytest.fixture
async def world(redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    time_of_the_test = f"{{redis.call('HGET', '{CLOCK_KEY}', 's'), redis.call('HGET', '{CLOCK_KEY}', 'us')}}"
    for name in ("_TOUCH_MANY", "_TAKE_SILENT", "_IS_WHOLE"):
        script = str(getattr(presence, name))
        assert "redis.call('TIME')" in script
        monkeypatch.setattr(presence, name, script.replace("redis.call('TIME')", time_of_the_test))
    async with open_redis(redis_settings) as redis:
        yield World(redis)
        assert await redis.exists(PRESENCE_SEEN_KEY)


async def test_t2_a_thousand_terminals_that_beat_exactly_once_a_minute_never_flap(world: World) -> None:
    await world.run(MINUTES)
    assert len({event.sn for event in world.told.events}) == TERMINALS
    assert [event.state for event in world.told.events] == [ONLINE] * TERMINALS


async def test_t2_of_a_thousand_terminals_those_that_fall_silent_go_off_line_once_and_no_others(world: World) -> None:
    await world.run(1)
    silent = range(0, TERMINALS, 100)
    await world.run(2, silent=silent)
    for number in range(TERMINALS):
        expected = [(ONLINE, None), (OFFLINE, OfflineReason.SILENT)] if number in silent else [(ONLINE, None)]
        assert world.told.of(f"sn-{number}") == expected


async def test_design_6_terminals_of_a_killed_ingress_go_off_line_by_the_sweep_and_no_others(world: World) -> None:
    await world.run(1)
    await world.run(2, killed=1)
    for number in range(TERMINALS):
        lost = [(ONLINE, None), (OFFLINE, OfflineReason.INGRESS_LOST)]
        assert world.told.of(f"sn-{number}") == (lost if number % 2 else [(ONLINE, None)])
