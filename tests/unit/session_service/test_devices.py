"""What follows from a change of a device, and that it follows whatever happened meanwhile (design rules 5, 11, 14)."""

import asyncio

import msgspec
import pytest

from session_service.devices import SETTLE_AFTER_MS, SETTLED_AT_ONCE, Devices
from session_service.metrics import SessionMetrics
from shared.domain.control import DeviceChanged, DeviceDisabled
from shared.domain.devices import Device, DeviceChange, Direction, SiteSpan
from shared.domain.sessions import TOKEN_LIFE_MS, Session
from shared.runtime.clock import ManualClock
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from shared.stores.memory import (
    MemoryControlStream,
    MemoryCredentialStore,
    MemoryDeviceStore,
    MemoryEndedStore,
    MemorySessionStore,
)
from shared.stores.memory_attendance import MemoryAttendance
from tests.support.attendance import make_event
from tests.support.session_values import NOW_MS, make_device, make_new_session, make_vendor

SN = "1388186"
HISTORY = (SiteSpan(0, "s1", Direction.IN),)


class RacedDeviceStore(MemoryDeviceStore):
    """Before each of the first changes somebody else names the device."""

    races = 0

    async def replace(self, earlier: Device, device: Device) -> bool:
        if self.races > 0:
            self.races -= 1
            stored = (await self.find([device.sn]))[device.sn]
            other = msgspec.structs.replace(stored, name="theirs", changed_at_ms=(stored.changed_at_ms or 0) + 1)
            assert await super().replace(stored, other)
        return await super().replace(earlier, device)


class Parts:
    """Everything in memory, with a registered device that has no session yet."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.credentials = MemoryCredentialStore()
        self.device_store = RacedDeviceStore()
        self.sessions = MemorySessionStore(self.clock, self.control)
        self.ended = MemoryEndedStore(self.clock, self.control)
        self.attendance = MemoryAttendance()
        self.metrics = SessionMetrics()
        self.devices = Devices(
            self.device_store,
            self.credentials,
            self.sessions,
            self.ended,
            self.attendance.attendance_store,
            self.clock,
            self.metrics,
        )
        self.device_store.put(make_device(SN))

    async def open_session(self) -> Session:
        """A session as of the device before any change."""
        (session,) = await self.sessions.open_many([make_new_session("t1", SN)])
        assert session is not None
        return session

    async def session(self) -> Session:
        (session,) = await self.sessions.find(["t1"])
        assert session is not None
        return session


@pytest.fixture
async def parts() -> Parts:
    parts = Parts()
    await parts.control.read(1)
    return parts


async def test_a_change_is_stored_given_to_the_running_session_and_told(parts: Parts) -> None:
    opened = await parts.open_session()
    assert await parts.devices.change(SN, DeviceChange(site_id="s1", direction=Direction.IN, time_window_seconds=3600))
    stored = (await parts.device_store.find([SN]))[SN]
    assert (stored.site_history, stored.time_window_seconds) == (HISTORY, 3600)
    assert await parts.session() == msgspec.structs.replace(opened, site_history=HISTORY, time_window_seconds=3600)
    assert await parts.control.read(1) == [DeviceChanged(SN)]


async def test_a_name_is_nothing_that_a_session_knows(parts: Parts) -> None:
    await parts.open_session()
    await parts.devices.change(SN, DeviceChange(name="Gate"))
    assert await parts.control.read(1) == []


async def test_an_unknown_device_is_not_made(parts: Parts) -> None:
    assert not await parts.devices.change("nobody", DeviceChange(name="Gate"))
    assert await parts.device_store.find(["nobody"]) == {}


async def test_rule_14_a_window_that_is_cleared_is_its_vendors_again(parts: Parts) -> None:
    await parts.credentials.add_vendor(make_vendor("v1", time_window_seconds=1200))
    await parts.open_session()
    await parts.devices.change(SN, DeviceChange(time_window_seconds=60))
    assert (await parts.session()).time_window_seconds == 60
    await parts.devices.change(SN, DeviceChange(time_window_seconds=None))
    assert (await parts.session()).time_window_seconds == 1200


async def test_t1_a_disabled_device_has_no_session_any_more_and_a_later_c_auth_counts(parts: Parts) -> None:
    before = await parts.open_session()
    await parts.devices.change(SN, DeviceChange(disabled=True))
    assert await parts.control.read(1) == [DeviceDisabled(SN, NOW_MS)]
    assert (await parts.ended.load()).covers(before)
    parts.clock.advance(5)
    await parts.devices.change(SN, DeviceChange(disabled=False))
    ended = await parts.ended.load()
    assert ended.covers(before)
    judged_after = msgspec.structs.replace(before, device_disabled_at_ms=NOW_MS)
    assert not ended.covers(judged_after)


async def test_rule_11_stored_attendances_get_the_site_that_they_lack(parts: Parts) -> None:
    event = make_event(sn=SN)
    await parts.attendance.attendance_store.add_many([event])
    await parts.devices.change(SN, DeviceChange(site_id="s1"))
    assert parts.attendance.records[event.event_id].event.site_id == "s1"


async def test_a_terminal_with_years_of_attendances_does_not_hold_up_the_answer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_service.devices.FILLING_SECONDS", 0.01)
    began, may_go_on, filled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(sn: str, site_history: tuple[SiteSpan, ...]) -> None:
        began.set()
        await may_go_on.wait()
        assert (sn, site_history) == (SN, (SiteSpan(0, "s1", None),))
        filled.set()

    monkeypatch.setattr(parts.attendance.attendance_store, "fill_in_site", slow)
    assert await parts.devices.change(SN, DeviceChange(site_id="s1"))
    assert began.is_set()
    assert not filled.is_set()
    may_go_on.set()
    async with asyncio.timeout(1):
        await filled.wait()


async def test_what_is_being_filled_in_when_the_process_ends_is_left_to_the_next(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_service.devices.FILLING_SECONDS", 0.01)
    left = asyncio.Event()

    async def endless(_sn: str, _site_history: tuple[SiteSpan, ...]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr(parts.attendance.attendance_store, "fill_in_site", endless)
    await parts.devices.change(SN, DeviceChange(site_id="s1"))
    await parts.devices.close()
    assert left.is_set()
    assert [device.sn for device in await parts.device_store.unsettled(NOW_MS, 9)] == [SN]


async def test_attendances_that_could_not_be_filled_in_are_when_the_change_settles(parts: Parts) -> None:
    event = make_event(sn=SN)
    await parts.attendance.attendance_store.add_many([event])
    parts.attendance.available = False
    assert await parts.devices.change(SN, DeviceChange(site_id="s1"))
    parts.attendance.available = True
    parts.clock.advance(SETTLE_AFTER_MS / 1000)
    assert await parts.devices.settle() == 1
    assert parts.attendance.records[event.event_id].event.site_id == "s1"


async def test_two_that_change_at_once_both_get_their_way(parts: Parts) -> None:
    parts.device_store.races = 2
    assert await parts.devices.change(SN, DeviceChange(direction=Direction.OUT))
    stored = (await parts.device_store.find([SN]))[SN]
    assert (stored.name, stored.site_history) == ("theirs", (SiteSpan(0, None, Direction.OUT),))


async def test_a_change_that_never_gets_its_turn_is_our_fault(parts: Parts) -> None:
    parts.device_store.races = 1000
    with pytest.raises(Unavailable):
        await parts.devices.change(SN, DeviceChange(name="mine"))


async def test_rule_4_a_session_judged_before_the_change_and_opened_after_it_gets_it_when_it_settles(
    parts: Parts,
) -> None:
    await parts.devices.change(SN, DeviceChange(site_id="s1", direction=Direction.IN))
    await parts.open_session()
    await parts.control.read(1)
    parts.clock.advance(SETTLE_AFTER_MS / 1000 - 0.001)
    assert await parts.devices.settle() == 0
    assert (await parts.session()).site_history == ()
    parts.clock.advance(0.001)
    assert await parts.devices.settle() == 1
    assert (await parts.session()).site_history == HISTORY
    assert await parts.control.read(1) == [DeviceChanged(SN)]
    assert await parts.devices.settle() == 0
    assert parts.metrics.settled_devices == 1


async def test_what_could_not_follow_at_once_follows_when_the_servers_are_back(parts: Parts) -> None:
    event = make_event(sn=SN)
    await parts.attendance.attendance_store.add_many([event])
    before = await parts.open_session()
    parts.ended.available = parts.sessions.available = parts.attendance.available = False
    with pytest.raises(Unavailable):
        await parts.devices.change(SN, DeviceChange(site_id="s1", disabled=True))
    parts.clock.advance(SETTLE_AFTER_MS / 1000)
    with pytest.raises(Unavailable):
        await parts.devices.settle()
    parts.ended.available = parts.sessions.available = parts.attendance.available = True
    assert await parts.devices.settle() == 1
    assert (await parts.ended.load()).covers(before)
    assert (await parts.session()).site_history == (SiteSpan(0, "s1", None),)
    assert parts.attendance.records[event.event_id].event.site_id == "s1"


async def test_a_disabling_of_long_ago_is_not_told_again(parts: Parts) -> None:
    parts.device_store.put(make_device(SN, disabled_at_ms=NOW_MS - 2 * TOKEN_LIFE_MS))
    await parts.devices.change(SN, DeviceChange(name="Gate"))
    assert await parts.control.read(1) == []


async def test_one_change_that_fails_does_not_hold_up_the_others(parts: Parts) -> None:
    parts.device_store.put(make_device("other"))
    await parts.devices.change("other", DeviceChange(name="a"))
    parts.clock.advance(1)
    await parts.devices.change(SN, DeviceChange(name="b"))
    parts.clock.advance(SETTLE_AFTER_MS / 1000)
    update_device = parts.sessions.update_device

    async def failing(sn: str, site_history: tuple[SiteSpan, ...], time_window_seconds: int | None) -> None:
        if sn == "other":
            raise Unavailable("MongoDB: ExecutionTimeout")
        await update_device(sn, site_history, time_window_seconds)

    parts.sessions.update_device = failing  # type: ignore[method-assign]  # one device's fault
    with pytest.raises(Unavailable):
        await parts.devices.settle()
    assert [device.sn for device in await parts.device_store.unsettled(NOW_MS * 2, 9)] == ["other"]


async def test_the_loop_settles_everything_and_outlives_a_server_that_is_away(parts: Parts) -> None:
    sns = [f"sn-{number}" for number in range(SETTLED_AT_ONCE + 1)]
    for sn in sns:
        parts.device_store.put(make_device(sn))
        await parts.devices.change(sn, DeviceChange(name="a"))
    parts.clock.advance(SETTLE_AFTER_MS / 1000)
    parts.sessions.available = False
    loop = spawn(parts.devices.settle_for_ever(0.01), "settle")
    await asyncio.sleep(0.05)
    assert not loop.done()
    assert parts.metrics.settled_devices == 0
    parts.sessions.available = True
    async with asyncio.timeout(5):
        while parts.metrics.settled_devices < len(sns):  # noqa: ASYNC110 -- the loop tells no event
            await asyncio.sleep(0.01)
    loop.cancel()
