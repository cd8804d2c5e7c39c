"""Which devices an ingress process holds, and what it tells of them and when (T1, T2, F7, design rules 4, 6)."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from opentelemetry.trace import SpanKind

from shared.domain.presence import OfflineReason, PresenceEvent, PresenceState
from shared.runtime.clock import ManualClock
from shared.runtime.tasks import spawn
from shared.runtime.tracing import SampledSpan
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import Touch
from tcp_ingress.presence_batches import MAX_A_CALL, PresenceBatches, PresenceRules
from tests.support.session_values import NOW_MS, make_session
from tests.support.spans import KeptSpans

SN = "1388186"
ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED


@dataclass(eq=False)
class Line:
    """A connection."""

    address: str = "192.0.2.1"
    lost: bool = False

    def push(self, message: bytes) -> bool:
        raise AssertionError(f"presence pushes nothing: {message!r}")


class Redis:
    """Gives each takeover the next epoch, and does what the test wants of it."""

    def __init__(self) -> None:
        self.touches: list[list[Touch]] = []
        self.leaves: list[list[tuple[str, int]]] = []
        self.available = True
        self.supersedes = False
        self.fenced = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._epoch = 0

    async def touch_many(self, touches: Sequence[Touch]) -> Sequence[int]:
        self._reach()
        self.touches.append(list(touches))
        return [self._touch(one) for one in touches]

    def _touch(self, touch: Touch) -> int:
        if self.supersedes or not touch.carried:
            return 0
        if touch.epoch and not touch.takes_over:
            return touch.epoch
        self._epoch += 1
        return self._epoch

    async def leave_many(self, held: Sequence[tuple[str, int]]) -> Sequence[bool]:
        if not held:
            return []
        self._reach()
        self.leaves.append(list(held))
        return [not self.fenced] * len(held)

    def _reach(self) -> None:
        self.meanwhile()
        if not self.available:
            raise Unavailable("Redis: TimeoutError")


class Bench:
    """The devices of a process, and everything around them."""

    def __init__(self, *, max_held: int = 1000) -> None:
        self.clock = ManualClock(NOW_MS)
        self.redis = Redis()
        self.events: list[PresenceEvent] = []
        self.causes: list[SampledSpan | None] = []
        rules = PresenceRules(
            interval_seconds=0.01,
            silent_ms=70_000,
            skew_ms=5_000,
            skew_alert_ms=60_000,
            refresh_ms=300_000,
            max_held=max_held,
        )
        self.batches = PresenceBatches(self.redis, self, self.clock, rules)  # type: ignore[arg-type]  # two of its methods are called
        self.line = Line()

    def put(self, event: PresenceEvent, cause: SampledSpan | None = None) -> None:
        self.events.append(event)
        self.causes.append(cause)

    def accept(
        self,
        sn: str = SN,
        line: Line | None = None,
        *,
        skew_ms: int = 0,
        version: str | None = None,
        ip: str | None = None,
        span: SampledSpan | None = None,
    ) -> None:
        """A request of the device is accepted now."""
        now_ms = self.clock.now_ms()
        session = make_session(f"token of {sn}", sn)
        self.batches.accepted(line or self.line, session, now_ms + skew_ms, now_ms, version, ip, span)

    async def told(self) -> list[tuple[str, PresenceState, int]]:
        """The events of a flush: sn, state, epoch."""
        self.events.clear()
        await self.batches.flush()
        return [(event.sn, event.state, event.epoch) for event in self.events]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_t2_the_first_accepted_request_brings_a_device_on_line_and_later_ones_cost_no_event(bench: Bench) -> None:
    bench.accept(version="v14", ip="10.0.0.2")
    assert await bench.told() == [(SN, ONLINE, 1)]
    (event,) = bench.events
    assert (event.address, event.device_version, event.device_ip) == ("192.0.2.1", "v14", "10.0.0.2")
    assert (event.at, event.last_seen_at) == ("2026-11-24T06:00:00.000Z", "2026-11-24T06:00:00.000Z")
    for _ in range(4):
        bench.clock.advance(60)
        bench.accept(version="v14", ip="10.0.0.2")
        assert await bench.told() == []
    assert [touch.takes_over for call in bench.redis.touches for touch in call] == [True, False, False, False, False]


async def test_design_4_all_requests_of_an_interval_are_one_call_with_each_device_once(bench: Bench) -> None:
    for number in (1, 2, 1, 2, 1):
        bench.accept(f"sn-{number}")
        bench.clock.advance(0.1)
    await bench.batches.flush()
    (call,) = bench.redis.touches
    assert [(touch.sn, touch.age_ms, touch.token) for touch in call] == [
        ("sn-1", 100, "token of sn-1"),
        ("sn-2", 200, "token of sn-2"),
    ]
    await bench.batches.flush()
    assert len(bench.redis.touches) == 1


async def test_a_call_is_bounded_in_size(bench: Bench) -> None:
    bench = Bench(max_held=MAX_A_CALL + 10)
    for number in range(MAX_A_CALL + 1):
        bench.accept(f"sn-{number}")
    bench.batches.left(bench.line, was_told_to=False)
    await bench.batches.flush()
    assert [len(call) for call in bench.redis.touches] == [MAX_A_CALL, 1]
    assert [len(call) for call in bench.redis.leaves] == [MAX_A_CALL, 1]
    assert len(bench.batches) == 0


async def test_t2_a_device_goes_off_line_when_its_connection_closes(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.clock.advance(7)
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == [(SN, OFFLINE, 1)]
    (event,) = bench.events
    assert event.reason is OfflineReason.CLOSED
    assert (event.at, event.last_seen_at) == ("2026-11-24T06:00:07.000Z", "2026-11-24T06:00:00.000Z")
    assert await bench.told() == []
    assert len(bench.batches) == 0
    assert bench.batches.carrier_of(SN) is None


async def test_t2_a_device_that_came_and_went_between_two_calls_is_told_whole(bench: Bench) -> None:
    bench.accept()
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == [(SN, ONLINE, 1), (SN, OFFLINE, 1)]


async def test_t2_a_device_that_is_back_before_the_next_call_has_not_left(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.batches.left(bench.line, was_told_to=False)
    bench.accept(line=Line("192.0.2.2"))
    assert await bench.told() == [(SN, ONLINE, 2)]
    assert bench.redis.leaves == []
    assert bench.events[0].address == "192.0.2.2"


async def test_c1_a_device_is_being_taken_over_until_redis_was_told_of_its_new_connection(bench: Bench) -> None:
    assert not bench.batches.is_taking_over(SN)
    assert bench.batches.token_of(SN) == ""
    bench.accept()
    assert bench.batches.is_taking_over(SN)
    assert bench.batches.token_of(SN) == f"token of {SN}"
    await bench.batches.flush()
    assert not bench.batches.is_taking_over(SN)
    bench.accept(line=Line("192.0.2.2"))
    assert bench.batches.is_taking_over(SN)


async def test_t2_a_device_that_another_connection_carries_does_not_leave(bench: Bench) -> None:
    first, second = Line("192.0.2.1"), Line("192.0.2.2")
    for line in (first, second):
        bench.accept(line=line)
        await bench.batches.flush()
    assert bench.batches.carrier_of(SN) is second
    bench.batches.left(second, was_told_to=False)
    assert await bench.told() == []
    assert bench.batches.carrier_of(SN) is first
    bench.batches.left(first, was_told_to=False)
    assert await bench.told() == [(SN, OFFLINE, 2)]


async def test_design_6_a_connection_that_takes_over_gets_an_epoch_and_one_that_goes_on_does_not(bench: Bench) -> None:
    first, second = Line(), Line()
    epochs = []
    for line in (first, second, first, second):
        bench.accept(line=line)
        await bench.batches.flush()
        epochs.append(bench.redis.touches[-1][0].takes_over)
    assert epochs == [True, True, False, False]


async def test_f7_a_gateways_connection_carries_each_of_its_devices(bench: Bench) -> None:
    for sn in ("sn-1", "sn-2"):
        bench.accept(sn)
    assert await bench.told() == [("sn-1", ONLINE, 1), ("sn-2", ONLINE, 2)]
    bench.clock.advance(60)
    bench.accept("sn-1")
    await bench.batches.flush()
    bench.clock.advance(11)
    assert await bench.told() == [("sn-2", OFFLINE, 2)]
    assert bench.events[0].reason is OfflineReason.SILENT
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == [("sn-1", OFFLINE, 1)]


async def test_t2_a_silent_device_goes_off_line_after_a_minute_and_the_grace_and_not_before(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.clock.advance(69.999)
    assert await bench.told() == []
    bench.clock.advance(0.001)
    assert await bench.told() == [(SN, OFFLINE, 1)]
    assert len(bench.batches) == 0
    bench.accept()
    assert await bench.told() == [(SN, ONLINE, 2)]


async def test_a_thousand_devices_that_beat_exactly_once_a_minute_never_flap() -> None:
    bench = Bench()
    lines = [Line() for _ in range(1000)]
    for second in range(4 * 60 + 1):
        for number in range(second % 60, 1000, 60):
            bench.accept(f"sn-{number}", lines[number])
        await bench.batches.flush()
        bench.clock.advance(1)
    assert len(bench.events) == 1000
    assert {event.state for event in bench.events} == {ONLINE}


async def test_hono_2244_a_leave_that_redis_fences_is_no_event(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.redis.fenced = True
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == []
    assert len(bench.batches) == 0


async def test_a_superseded_device_is_forgotten_until_its_connection_carries_a_request_again(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.redis.supersedes = True
    bench.accept()
    assert await bench.told() == []
    assert bench.batches.carrier_of(SN) is None
    bench.redis.supersedes = False
    bench.accept()
    assert await bench.told() == [(SN, ONLINE, 2)]
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == [(SN, OFFLINE, 2)]


async def test_a_request_that_came_while_redis_said_superseded_takes_over(bench: Bench) -> None:
    bench.accept()
    bench.redis.supersedes = True

    def another_request() -> None:
        bench.clock.advance(0.5)
        bench.accept()
        bench.redis.meanwhile = lambda: setattr(bench.redis, "supersedes", False)

    bench.redis.meanwhile = another_request
    assert await bench.told() == [(SN, ONLINE, 1)]
    assert bench.batches.carrier_of(SN) is bench.line


async def test_a_device_that_is_back_while_redis_is_told_that_it_left_comes_on_line_again(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.batches.left(bench.line, was_told_to=False)
    bench.redis.meanwhile = lambda: bench.accept(line=Line("192.0.2.2"))
    assert await bench.told() == [(SN, OFFLINE, 1)]
    bench.redis.meanwhile = lambda: None
    assert await bench.told() == [(SN, ONLINE, 2)]
    assert len(bench.batches) == 1


async def test_a_device_that_is_back_and_gone_while_redis_is_told_leaves_once_more(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.batches.left(bench.line, was_told_to=False)
    second = Line()

    def back_and_gone() -> None:
        bench.accept(line=second)
        bench.batches.left(second, was_told_to=False)

    bench.redis.meanwhile = back_and_gone
    assert await bench.told() == [(SN, OFFLINE, 1)]
    bench.redis.meanwhile = lambda: None
    assert await bench.told() == [(SN, ONLINE, 2), (SN, OFFLINE, 2)]
    assert len(bench.batches) == 0


async def test_design_13_a_connection_that_was_told_to_go_hands_its_devices_over(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.accept()
    bench.batches.left(bench.line, was_told_to=True)
    assert await bench.told() == []
    assert len(bench.redis.touches) == 2
    assert bench.redis.leaves == []
    assert len(bench.batches) == 0


async def test_design_3_while_redis_is_away_the_newest_of_each_device_waits(bench: Bench) -> None:
    bench.redis.available = False
    for _ in range(3):
        bench.accept("sn-1")
        bench.accept("sn-2", gone := Line())
        with pytest.raises(Unavailable):
            await bench.batches.flush()
        bench.clock.advance(1)
        bench.batches.left(gone, was_told_to=False)
    assert bench.batches.waiting == 3
    bench.redis.available = True
    assert await bench.told() == [("sn-1", ONLINE, 1), ("sn-2", ONLINE, 2), ("sn-2", OFFLINE, 2)]
    assert [[(one.sn, one.age_ms, one.takes_over) for one in call] for call in bench.redis.touches] == [
        [("sn-1", 1000, True), ("sn-2", 1000, True)]
    ]
    assert bench.batches.waiting == 0


async def test_a_leave_that_redis_did_not_take_is_tried_again(bench: Bench) -> None:
    bench.accept()
    await bench.batches.flush()
    bench.batches.left(bench.line, was_told_to=False)
    bench.redis.available = False
    with pytest.raises(Unavailable):
        await bench.batches.flush()
    bench.redis.available = True
    assert await bench.told() == [(SN, OFFLINE, 1)]


async def test_t1_a_request_whose_connection_is_lost_prolongs_its_token_and_no_more(bench: Bench) -> None:
    bench.accept(line=Line(lost=True))
    assert await bench.told() == []
    ((touch,),) = bench.redis.touches
    assert (touch.token, touch.carried) == (f"token of {SN}", False)
    assert len(bench.batches) == 0
    assert bench.batches.waiting == 0


async def test_design_7_past_the_bound_no_further_device_is_held_and_its_token_lives_on() -> None:
    bench = Bench(max_held=1)
    bench.accept("sn-1")
    bench.accept("sn-2")
    assert await bench.told() == [("sn-1", ONLINE, 1)]
    assert bench.batches.not_held == 1
    assert {(touch.sn, touch.carried) for call in bench.redis.touches for touch in call} == {
        ("sn-1", True),
        ("sn-2", False),
    }


@pytest.mark.parametrize(("version", "ip"), [("v15", "10.0.0.2"), ("v14", "10.0.0.3")])
async def test_what_a_device_tells_of_itself_is_told_when_it_changes(bench: Bench, version: str, ip: str) -> None:
    bench.accept(version="v14", ip="10.0.0.2")
    await bench.batches.flush()
    bench.accept()  # a sign-in says nothing of it
    assert await bench.told() == []
    bench.accept(version=version, ip=ip)
    assert await bench.told() == [(SN, CHANGED, 1)]
    assert (bench.events[0].device_version, bench.events[0].device_ip) == (version, ip)


async def test_what_a_device_tells_of_itself_is_cut(bench: Bench) -> None:
    bench.accept(version="v" * 60_000)
    await bench.batches.flush()
    assert bench.events[0].device_version == "v" * 128


async def test_design_14_a_clock_that_drifts_is_told_once_it_moved_by_more_than_the_bound(bench: Bench) -> None:
    told = []
    for skew_ms in (2_000, 7_000, 7_001, 2_500):
        bench.accept(skew_ms=skew_ms)
        await bench.batches.flush()
        told.append([event.clock_skew_seconds for event in bench.events])
        bench.events.clear()
        bench.clock.advance(60)
    assert told == [[2], [], [7], []]


async def test_a_clock_that_jumps_with_every_request_is_not_told_with_every_request(bench: Bench) -> None:
    for number in range(120):
        bench.accept(skew_ms=60_000 * (number % 2))
        await bench.batches.flush()
        bench.clock.advance(1)
    assert len(bench.events) <= 3


async def test_what_has_not_changed_is_told_again_every_few_minutes(bench: Bench) -> None:
    for _ in range(11):
        bench.accept()
        await bench.batches.flush()
        bench.clock.advance(60)
    assert [(event.state, event.last_seen_at[11:19]) for event in bench.events] == [
        (ONLINE, "06:00:00"),
        (CHANGED, "06:05:00"),
        (CHANGED, "06:10:00"),
    ]


async def test_the_process_goes_on_telling_after_redis_was_away(bench: Bench) -> None:
    task = spawn(bench.batches.run(), "presence")
    bench.redis.available = False
    bench.accept()
    await asyncio.sleep(0.05)
    assert bench.events == []
    bench.redis.available = True
    await asyncio.sleep(0.05)
    task.cancel()
    assert [event.state for event in bench.events] == [ONLINE]


async def test_a_call_that_was_cut_off_is_repeated_by_the_last_one(bench: Bench) -> None:
    bench.accept()

    def cut_off() -> None:
        raise asyncio.CancelledError

    bench.redis.meanwhile = cut_off
    with pytest.raises(asyncio.CancelledError):
        await bench.batches.flush()
    bench.redis.meanwhile = lambda: None
    assert await bench.told() == [(SN, ONLINE, 1)]


# ── the trace of the request by which a device came ───────────────────────────────────────────────────────────────


@pytest.fixture
def span() -> SampledSpan:
    return KeptSpans().tracing.start("a frame", SpanKind.SERVER)


async def test_an_online_event_follows_from_the_sampled_request_by_which_it_came_and_later_events_from_none(
    bench: Bench, span: SampledSpan
) -> None:
    bench.accept(span=span)
    bench.accept()
    assert await bench.told() == [(SN, ONLINE, 1)]
    bench.accept(version="v15", span=span)
    assert await bench.told() == [(SN, CHANGED, 1)]
    bench.batches.left(bench.line, was_told_to=False)
    assert await bench.told() == [(SN, OFFLINE, 1)]
    assert bench.causes == [span, None, None]


async def test_an_online_event_of_an_unsampled_takeover_follows_from_no_later_request(
    bench: Bench, span: SampledSpan
) -> None:
    bench.accept()
    bench.accept(span=span)
    await bench.batches.flush()
    bench.accept(line=Line(), span=span)
    bench.accept(line=Line())
    assert await bench.told() == [(SN, ONLINE, 2)]
    assert bench.causes == [None, None]


async def test_design_3_what_was_sampled_before_redis_was_away_is_so_afterwards(
    bench: Bench, span: SampledSpan
) -> None:
    bench.accept(span=span)
    bench.redis.available = False
    with pytest.raises(Unavailable):
        await bench.batches.flush()
    bench.redis.available = True
    assert await bench.told() == [(SN, ONLINE, 1)]
    assert bench.causes == [span]


async def test_design_14_devices_whose_clock_is_off_are_counted_by_vendor_as_of_their_last_request(
    bench: Bench,
) -> None:
    bench.accept("right", skew_ms=60_000)
    bench.accept("late", skew_ms=-60_001)
    bench.accept("early", skew_ms=60_001)
    assert bench.batches.skewed == {"v1": 2}
    bench.accept("late", skew_ms=-70_000)
    assert bench.batches.skewed == {"v1": 2}
    bench.accept("late", skew_ms=-1_000)
    assert bench.batches.skewed == {"v1": 1}


async def test_a_device_that_left_is_not_counted_as_skewed_and_its_vendor_stays_with_0(bench: Bench) -> None:
    bench.accept(skew_ms=99_000)
    await bench.batches.flush()
    bench.batches.left(bench.line, was_told_to=False)
    await bench.batches.flush()
    assert len(bench.batches) == 0
    assert bench.batches.skewed == {"v1": 0}
