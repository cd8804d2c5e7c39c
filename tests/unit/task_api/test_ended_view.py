"""The copy of the ended set follows the control stream, and judges nobody once it is too old (design rules 3, 5)."""

import asyncio

import pytest

from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.memory import MemoryControlStream, MemoryEndedStore
from task_api.ended_view import EndedView
from tests.support.session_values import NOW_MS, make_session
from tests.support.waiting import eventually

SESSION = make_session("t1", device_disabled_at_ms=NOW_MS - 1000)


class Followed:
    """A view with the store and the stream that it follows."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.store = MemoryEndedStore(self.clock, self.control)
        self.view = EndedView(self.control, self.store, self.clock, grace_ms=60_000)


async def test_design_5_what_was_ended_before_the_view_began_is_known() -> None:
    followed = Followed()
    await followed.store.end_credential("a1")
    await followed.view.read_once()
    assert followed.view.covers(SESSION)


async def test_design_5_what_is_ended_later_comes_through_the_stream() -> None:
    followed = Followed()
    await followed.view.read_once()
    assert not followed.view.covers(SESSION)
    await followed.store.end_device("1388186", NOW_MS)
    await followed.view.read_once()
    assert followed.view.covers(SESSION)


async def test_t1_a_session_of_after_the_disabling_counts() -> None:
    followed = Followed()
    await followed.store.end_device("1388186", NOW_MS - 1000)
    await followed.view.read_once()
    assert not followed.view.covers(SESSION)


async def test_design_4_after_a_loss_the_set_is_read_anew() -> None:
    followed = Followed()
    await followed.store.end_credential("a1")
    await followed.view.read_once()
    followed.store.flush()
    followed.control.lose()
    await followed.view.read_once()
    assert (followed.view.losses, followed.view.covers(SESSION)) == (2, False)


async def test_design_4_a_set_that_could_not_be_read_after_a_loss_is_read_at_the_next_turn() -> None:
    followed = Followed()
    await followed.view.read_once()
    followed.control.lose()
    await followed.store.end_credential("a1")
    followed.store.available = False
    with pytest.raises(Unavailable):
        await followed.view.read_once()
    followed.store.available = True
    await followed.view.read_once()
    assert followed.view.covers(SESSION)


async def test_design_3_past_the_grace_nobody_is_judged() -> None:
    followed = Followed()
    with pytest.raises(Unavailable):
        followed.view.covers(SESSION)
    await followed.view.read_once()
    followed.clock.advance(60)
    assert not followed.view.covers(SESSION)
    followed.clock.advance(0.001)
    with pytest.raises(Unavailable):
        followed.view.covers(SESSION)


async def test_the_reader_waits_for_redis_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_api.ended_view.RETRY_SECONDS", 0.01)
    followed = Followed()
    followed.control.available = False
    running = asyncio.ensure_future(followed.view.run())
    await asyncio.sleep(0.03)
    followed.control.available = True
    await followed.store.end_credential("a1")

    def known() -> bool:
        return followed.view.losses == 1 and followed.view.covers(SESSION)

    await eventually(known)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
