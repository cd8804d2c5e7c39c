"""The control reader over the stores' twins."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.domain.control import (
    ControlEntry,
    CredentialRevoked,
    DeviceDisabled,
    PushCommand,
    SessionReplaced,
    TasksChanged,
)
from shared.domain.sessions import Ended
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from tcp_ingress.control_reader import ControlReader
from tests.support.session_values import NOW_MS


class NotedCache:
    """What the reader tells the cache, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def apply(self, entry: ControlEntry) -> None:
        self.told.append(entry)

    def empty(self) -> None:
        self.told.append("empty")

    def add_ended(self, ended: Ended, now_ms: int) -> None:
        assert now_ms == NOW_MS
        self.told.append(ended)

    def up_to_date(self, now_ms: int) -> None:
        self.told.append(now_ms)


class Script:
    """A control stream and an ended store that answer as the test wrote it."""

    malformed = 0

    def __init__(self, *reads: Sequence[ControlEntry] | Exception | None) -> None:
        self.reads = list(reads)
        self.ended: Ended | Exception = Ended({"a1": 1}, {})

    async def read(self, block_ms: int) -> Sequence[ControlEntry] | None:
        assert block_ms > 0
        if not self.reads:
            await asyncio.Event().wait()
        outcome = self.reads.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def load(self) -> Ended:
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended


class NotedLists:
    """What the reader tells the task lists, in order."""

    def __init__(self, told: list[object]) -> None:
        self._told = told

    def changed(self, sn: str) -> None:
        self._told.append(f"tasks of {sn}")

    def empty(self) -> None:
        self._told.append("empty lists")


class NotedPusher:
    """What the reader has pushed, in order."""

    def __init__(self, told: list[object]) -> None:
        self._told = told

    async def push(self, commands: Sequence[PushCommand]) -> None:
        self._told.extend(commands)


def make_reader(script: Script) -> tuple[ControlReader, NotedCache]:
    cache = NotedCache()
    lists, pusher = NotedLists(cache.told), NotedPusher(cache.told)
    return ControlReader(script, script, cache, lists, pusher, ManualClock(NOW_MS)), cache  # type: ignore[arg-type]  # stand-ins


async def test_design_4_the_first_read_and_every_loss_empty_the_cache_and_load_the_ended_set() -> None:
    revoked, replaced = CredentialRevoked("a2", 2), SessionReplaced("sn", "t")
    reader, cache = make_reader(Script(None, [revoked, replaced], None, [DeviceDisabled("sn", 3)]))
    for _ in range(4):
        await reader.read_once()
    loss = ["empty", "empty lists", Ended({"a1": 1}, {}), NOW_MS]
    assert cache.told == [*loss, revoked, replaced, NOW_MS, *loss, DeviceDisabled("sn", 3), NOW_MS]
    assert reader.losses == 2


async def test_design_5_while_the_ended_set_cannot_be_loaded_nothing_is_up_to_date() -> None:
    script = Script(None, [SessionReplaced("sn", "t")], [])
    script.ended = Unavailable("Redis: TimeoutError")
    reader, cache = make_reader(script)
    with pytest.raises(Unavailable):
        await reader.read_once()
    assert cache.told == ["empty", "empty lists"]
    script.ended = Ended({}, {})
    await reader.read_once()
    assert cache.told == ["empty", "empty lists", SessionReplaced("sn", "t"), Ended({}, {}), NOW_MS]


async def test_an_entry_read_while_the_ended_set_cannot_be_loaded_is_not_lost() -> None:
    script = Script(None, [SessionReplaced("sn", "t")], [])
    script.ended = Unavailable("Redis: TimeoutError")
    reader, cache = make_reader(script)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await reader.read_once()
    script.ended = Ended({}, {})
    await reader.read_once()
    assert SessionReplaced("sn", "t") in cache.told


async def test_design_4_a_change_of_tasks_is_told_to_the_lists_alone() -> None:
    reader, cache = make_reader(Script(None, [TasksChanged("sn-1"), SessionReplaced("sn", "t")]))
    await reader.read_once()
    cache.told.clear()
    await reader.read_once()
    assert cache.told == ["tasks of sn-1", SessionReplaced("sn", "t"), NOW_MS]


async def test_c1_commands_are_pushed_after_everything_else_is_known() -> None:
    command = PushCommand("sn-1", "6541951958563696640", "T_CLEAR_DEVICE_PERSON")
    reader, cache = make_reader(Script(None, [command, TasksChanged("sn-1")]))
    await reader.read_once()
    cache.told.clear()
    await reader.read_once()
    assert cache.told == ["tasks of sn-1", NOW_MS, command]


async def test_design_3_the_reader_goes_on_after_redis_was_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcp_ingress.control_reader.RETRY_SECONDS", 0.001)
    entry = SessionReplaced("sn", "t")
    reader, cache = make_reader(Script(None, Unavailable("away"), Unavailable("away"), [entry]))
    task = asyncio.ensure_future(reader.run())
    await asyncio.sleep(0.05)
    task.cancel()
    assert entry in cache.told
