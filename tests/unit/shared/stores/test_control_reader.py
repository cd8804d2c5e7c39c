"""The reader of the control stream, over the stores' twins and over a script (design rules 3, 4, 5)."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.domain.control import ControlEntry, CredentialRevoked, DeviceDisabled, SessionReplaced
from shared.domain.sessions import Ended
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.control_reader import ControlReader
from shared.stores.ended_view import EndedView
from shared.stores.memory import MemoryControlStream, MemoryEndedStore
from tests.support.session_values import NOW_MS, make_session
from tests.support.waiting import eventually

SESSION = make_session("t1", device_disabled_at_ms=NOW_MS - 1000)


class Followed:
    """A reader with the store and the stream that it follows, and its view."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.store = MemoryEndedStore(self.clock, self.control)
        self.view = EndedView(60_000)
        self.reader = ControlReader(self.control, self.store, self.view, self.clock)


async def test_design_5_what_was_ended_before_the_reader_began_is_known() -> None:
    followed = Followed()
    await followed.store.end_credential("a1")
    await followed.reader.read_once()
    assert followed.view.covers(SESSION)


async def test_design_5_what_is_ended_later_comes_through_the_stream() -> None:
    followed = Followed()
    await followed.reader.read_once()
    assert not followed.view.covers(SESSION)
    await followed.store.end_device("1388186", NOW_MS)
    await followed.reader.read_once()
    assert followed.view.covers(SESSION)


async def test_t1_a_session_of_after_the_disabling_counts() -> None:
    followed = Followed()
    await followed.store.end_device("1388186", NOW_MS - 1000)
    await followed.reader.read_once()
    assert not followed.view.covers(SESSION)


async def test_design_4_after_a_loss_the_set_is_read_anew_and_what_was_known_stays() -> None:
    followed = Followed()
    await followed.store.end_credential("a1")
    await followed.reader.read_once()
    followed.store.flush()
    followed.control.lose()
    await followed.store.end_credential("a2")
    await followed.reader.read_once()
    assert followed.reader.losses == 2
    assert followed.view.covers(SESSION)
    assert followed.view.covers(make_session("t2", access_id="a2"))


async def test_design_4_a_set_that_could_not_be_read_after_a_loss_is_read_at_the_next_turn() -> None:
    followed = Followed()
    await followed.reader.read_once()
    followed.control.lose()
    await followed.store.end_credential("a1")
    followed.store.available = False
    with pytest.raises(Unavailable):
        await followed.reader.read_once()
    followed.store.available = True
    await followed.reader.read_once()
    assert followed.view.covers(SESSION)


async def test_design_3_past_the_grace_nobody_is_judged() -> None:
    followed = Followed()
    await followed.reader.read_once()
    followed.view.check_trusted(followed.clock.now_ms() + 60_000)
    followed.clock.advance(30)
    await followed.reader.read_once()
    followed.view.check_trusted(followed.clock.now_ms() + 60_000)
    with pytest.raises(Unavailable):
        followed.view.check_trusted(followed.clock.now_ms() + 60_001)


async def test_design_3_the_reader_waits_for_redis_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stores.control_reader.RETRY_SECONDS", 0.01)
    followed = Followed()
    followed.control.available = False
    running = asyncio.ensure_future(followed.reader.run())
    await asyncio.sleep(0.03)
    followed.control.available = True
    await followed.store.end_credential("a1")

    def known() -> bool:
        return followed.reader.losses == 1 and followed.view.covers(SESSION)

    await eventually(known)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# ── what else a process holds ─────────────────────────────────────────────────────────────────────────────────────


class NotedHolder:
    """What the reader tells, in order, with what the view knows meanwhile."""

    def __init__(self, view: EndedView) -> None:
        self.told: list[object] = []
        self._view = view

    def empty(self) -> None:
        self.told.append("empty")

    def apply(self, entry: ControlEntry) -> None:
        self.told.append(entry)

    async def act(self, entries: Sequence[ControlEntry]) -> None:
        self._view.check_trusted(NOW_MS)
        self.told.append(list(entries))


class Script:
    """A control stream and an ended store that answer as the test wrote it."""

    malformed = 0

    def __init__(self, *reads: Sequence[ControlEntry] | None) -> None:
        self._reads = list(reads)
        self.ended: Ended | None = Ended({"a1": NOW_MS}, {})
        self.loads = 0

    async def publish(self, entry: ControlEntry) -> None:
        raise AssertionError("a reader writes nothing")

    async def read(self, block_ms: int) -> Sequence[ControlEntry] | None:
        assert block_ms > 0
        return self._reads.pop(0)

    async def end_credential(self, access_id: str) -> None:
        raise AssertionError("a reader ends nothing")

    async def end_device(self, sn: str, disabled_at_ms: int) -> None:
        raise AssertionError("a reader ends nothing")

    async def load(self) -> Ended:
        self.loads += 1
        if self.ended is None:
            raise Unavailable("Redis: TimeoutError")
        return self.ended


def make_reader(script: Script) -> tuple[ControlReader, NotedHolder, EndedView]:
    view = EndedView(60_000)
    holder = NotedHolder(view)
    return ControlReader(script, script, view, ManualClock(NOW_MS), holder), holder, view


REPLACED = SessionReplaced("sn", "t")


async def test_design_4_the_first_read_and_every_loss_empty_what_is_held_and_load_the_ended_set() -> None:
    revoked, disabled = CredentialRevoked("a2", 2), DeviceDisabled("sn", 3)
    script = Script(None, [revoked, REPLACED], None, [disabled])
    reader, holder, _ = make_reader(script)
    loads = []
    for _ in range(4):
        await reader.read_once()
        loads.append(script.loads)
    assert holder.told == ["empty", [], revoked, REPLACED, [revoked, REPLACED], "empty", [], disabled, [disabled]]
    assert (loads, reader.losses) == ([1, 1, 2, 2], 2)


async def test_design_5_while_the_ended_set_cannot_be_loaded_nothing_is_trusted_and_nothing_is_done() -> None:
    script = Script(None, [REPLACED], [])
    script.ended = None
    reader, holder, view = make_reader(script)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await reader.read_once()
        with pytest.raises(Unavailable):
            view.check_trusted(NOW_MS)
    assert holder.told == ["empty", REPLACED]  # read while the set could not be loaded, and not lost
    script.ended = Ended({}, {})
    await reader.read_once()
    view.check_trusted(NOW_MS)
    assert holder.told == ["empty", REPLACED, []]
