"""Retention is carried out once a day, in steps, and audited (ADR 0023)."""

import pytest
from pydantic import ValidationError

from console_service.audit import Auditor
from console_service.metrics import ConsoleMetrics
from console_service.retention import STEP, Retention
from console_service.settings import ConsoleSettings
from shared.domain.attendance import rfc3339
from shared.domain.retention import DAY_MS, Kept
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import StoredPicture
from shared.stores.memory_attendance import MemoryAttendance
from shared.stores.memory_operators import MemoryAuditStore
from shared.stores.memory_retention import MemoryRetentionStore
from shared.stores.memory_tasks import MemoryLock
from shared.stores.retention_interfaces import Floor
from tests.support.attendance import JPEG, make_event, with_picture

MIDNIGHT_MS = 1_795_478_400_000  # 2026-11-24T00:00:00Z
NOW_MS = MIDNIGHT_MS + 7 * 3_600_000


class StoppingLock(MemoryLock):
    """Another process takes it after some holds."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self._holds = holds

    async def hold(self) -> bool:
        self._holds -= 1
        return self._holds >= 0


class World:
    """A console's retention, and what it deletes from."""

    def __init__(self, pictures_days: int = 180, records_days: int = 0) -> None:
        self.memory = MemoryAttendance()
        self.audit = MemoryAuditStore()
        self.clock = ManualClock(NOW_MS)
        self.metrics = ConsoleMetrics()
        self.store = MemoryRetentionStore(self.memory)
        self.retention = Retention(
            self.store,
            Auditor(self.audit, self.clock, self.metrics),
            self.clock,
            self.metrics,
            {Kept.PICTURES: pictures_days, Kept.RECORDS: records_days},
        )

    async def passage(self, received_ms: int) -> str:
        """One with a picture; its id."""
        event = with_picture(make_event(record_time=received_ms, received_at=rfc3339(received_ms)))
        picture = StoredPicture(
            event_id=event.event_id, sn=event.sn, content_type="image/jpeg", data=JPEG, received_at_ms=received_ms
        )
        await self.memory.picture_store.add_many([picture])
        await self.memory.attendance_store.add_many([event])
        return event.event_id

    def audited(self) -> list[tuple[str, object, object, str]]:
        return [(entry.action, entry.what, entry.after, entry.outcome) for entry in self.audit.entries.values()]


async def test_each_kind_goes_by_its_own_days_and_the_audit_says_how_much() -> None:
    world = World(pictures_days=180, records_days=400)
    floors = {180: MIDNIGHT_MS - 180 * DAY_MS, 400: MIDNIGHT_MS - 400 * DAY_MS}
    ancient, old, new = [await world.passage(at_ms) for at_ms in (floors[400] - 1, floors[180] - 1, floors[180])]
    await world.retention.work(MemoryLock())
    assert list(world.memory.records) == [old, new]
    assert list(world.memory.pictures) == [new]
    assert world.audited() == [
        (
            "retention.pictures",
            {"keptDays": 180, "before": "2026-05-28T00:00:00.000Z"},
            {"deleted": 2, "whole": True},
            "done",
        ),
        (
            "retention.records",
            {"keptDays": 400, "before": "2025-10-20T00:00:00.000Z"},
            {"deleted": 1, "whole": True},
            "done",
        ),
    ]
    assert {entry.who for entry in world.audit.entries.values()} == {"retention"}
    assert world.metrics.past_retention == {"pictures": 2, "records": 1}
    assert world.metrics.oldest_kept_ms == {"pictures": floors[180], "records": floors[180] - 1}
    assert ancient not in world.memory.records


async def test_it_is_done_once_a_day_however_often_it_is_looked() -> None:
    world = World()
    for days_ago in (200, 180):
        await world.passage(MIDNIGHT_MS - days_ago * DAY_MS)
    for _ in range(3):
        await world.retention.work(MemoryLock())
    assert len(world.audited()) == 1
    world.clock.advance(86_400)
    await world.retention.work(MemoryLock())
    assert [what for _, what, _, _ in world.audited()] == [
        {"keptDays": 180, "before": "2026-05-28T00:00:00.000Z"},
        {"keptDays": 180, "before": "2026-05-29T00:00:00.000Z"},
    ]


async def test_what_is_kept_for_ever_is_neither_deleted_nor_audited() -> None:
    world = World(pictures_days=0, records_days=0)
    event_id = await world.passage(1)
    await world.retention.work(MemoryLock())
    assert list(world.memory.records) == list(world.memory.pictures) == [event_id]
    assert world.audited() == []


async def test_a_longer_time_than_before_lowers_no_floor() -> None:
    world = World(pictures_days=10)
    await world.retention.work(MemoryLock())
    longer = Retention(
        world.store, Auditor(world.audit, world.clock, world.metrics), world.clock, world.metrics, {Kept.PICTURES: 100}
    )
    await longer.work(MemoryLock())
    assert (await world.store.floor(Kept.PICTURES)).floor_ms == MIDNIGHT_MS - 10 * DAY_MS
    assert world.audited() == []


async def test_on_a_day_on_which_nothing_is_old_enough_the_floor_rises_all_the_same() -> None:
    world = World(pictures_days=180, records_days=400)
    await world.passage(MIDNIGHT_MS - 180 * DAY_MS)
    await world.retention.work(MemoryLock())
    assert await world.store.floor(Kept.PICTURES) == Floor(
        floor_ms=MIDNIGHT_MS - 180 * DAY_MS, swept_ms=MIDNIGHT_MS - 180 * DAY_MS
    )
    assert (await world.store.floor(Kept.RECORDS)).floor_ms == MIDNIGHT_MS - 400 * DAY_MS
    assert world.audited() == []


async def test_it_goes_in_steps_and_stops_where_another_has_the_lock_which_goes_on() -> None:
    world = World()
    for number in range(STEP + 5):
        await world.passage(MIDNIGHT_MS - 200 * DAY_MS + number)
    await world.retention.work(StoppingLock(1))
    assert len(world.memory.pictures) == 5
    await world.retention.work(MemoryLock())
    assert len(world.memory.pictures) == 0
    assert [after for _, _, after, _ in world.audited()] == [
        {"deleted": STEP, "whole": False},
        {"deleted": 5, "whole": True},
    ]


async def test_the_floor_stands_before_anything_goes_and_what_broke_off_is_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.passage(MIDNIGHT_MS - 200 * DAY_MS)

    async def fail(*_arguments: object) -> int:
        assert (await world.store.floor(Kept.PICTURES)).floor_ms == MIDNIGHT_MS - 180 * DAY_MS
        raise Unavailable("MongoDB: AutoReconnect")

    monkeypatch.setattr(world.store, "delete", fail)
    with pytest.raises(Unavailable):
        await world.retention.work(MemoryLock())
    monkeypatch.undo()
    assert [outcome for _, _, _, outcome in world.audited()] == ["intended"]
    await world.retention.work(MemoryLock())
    assert [outcome for _, _, _, outcome in world.audited()] == ["intended", "done"]
    assert world.memory.pictures == {}


async def test_nothing_goes_where_the_audit_cannot_be_written() -> None:
    world = World()
    event_id = await world.passage(MIDNIGHT_MS - 200 * DAY_MS)
    world.audit.begins = False
    with pytest.raises(Unavailable):
        await world.retention.work(MemoryLock())
    assert list(world.memory.pictures) == [event_id]


@pytest.mark.parametrize(
    ("pictures", "records", "is_right"),
    [(180, 0, True), (0, 0, True), (180, 1095, True), (30, 30, True), (180, 90, False), (0, 90, False), (5, 29, False)],
)
def test_attendances_are_kept_for_a_month_at_least_and_no_shorter_than_their_pictures(
    pictures: int, records: int, is_right: bool
) -> None:
    def settings() -> ConsoleSettings:
        return ConsoleSettings.model_validate(
            {
                "admin_token": "a" * 32,
                "session_token": "b" * 32,
                "pictures_kept_days": pictures,
                "records_kept_days": records,
            }
        )

    if is_right:
        assert settings().records_kept_days == records
    else:
        with pytest.raises(ValidationError, match="kept_days must"):
            settings()
