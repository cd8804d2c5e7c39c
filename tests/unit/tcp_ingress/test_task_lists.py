"""What heartbeats list, and when it is read (M7, design rule 4)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.runtime.lifecycle import cancel_and_wait
from shared.stores.memory import MemoryControlStream
from shared.stores.memory_tasks import MemoryPendingTasks
from tcp_ingress import task_lists
from tcp_ingress.task_lists import TaskLists
from tests.support.waiting import eventually

A, B, C = "6541951958563696640", "6541951958563696641", "6541951958563696642"
SN = "1388186"
NONE, ONLY_A, A_AND_B = "{}", f'{{"taskids":["{A}"]}}', f'{{"taskids":["{A}","{B}"]}}'


class Store(MemoryPendingTasks):
    """Remembers what was asked, and does what the test wants while it is asked."""

    def __init__(self) -> None:
        super().__init__(MemoryControlStream())
        self.asked: list[list[str]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def oldest(self, sns: Sequence[str], limit: int) -> Sequence[Sequence[str]]:
        self.asked.append(list(sns))
        found = await super().oldest(sns, limit)
        self.meanwhile()
        return found


@pytest.fixture
def store() -> Store:
    return Store()


@asynccontextmanager
async def running(store: Store, *, size: int = 100, max_ids: int = 50) -> AsyncIterator[TaskLists]:
    lists = TaskLists(store, size=size, max_ids=max_ids, group_seconds=0.001)
    work = asyncio.create_task(lists.run())
    try:
        yield lists
    finally:
        await cancel_and_wait(work)


async def test_m7_a_heartbeat_lists_what_waits_oldest_first_and_nothing_where_nothing_does(store: Store) -> None:
    await store.add_many({SN: [B, A]})
    async with running(store) as lists:
        assert await lists.find(SN) == A_AND_B
        assert await lists.find("another") == NONE


async def test_m7_at_most_so_many_ids_are_listed(store: Store) -> None:
    await store.add_many({SN: [B, A, C]})
    async with running(store, max_ids=2) as lists:
        assert await lists.find(SN) == A_AND_B


async def test_design_4_a_list_that_is_held_costs_no_read(store: Store) -> None:
    async with running(store) as lists:
        await lists.find(SN)
        for _ in range(100):
            assert lists.held(SN) == NONE
            assert await lists.find(SN) == NONE
        assert store.asked == [[SN]]


async def test_lists_that_are_wanted_together_are_read_in_one_call(store: Store) -> None:
    await store.add_many({"1": [A]})
    async with running(store) as lists:
        found = await asyncio.gather(*(lists.find(sn) for sn in ("1", "2", "1")))
        assert found == [ONLY_A, NONE, ONLY_A]
        assert store.asked == [["1", "2"]]


async def test_a_wanted_list_is_there_before_the_first_heartbeat(store: Store) -> None:
    async with running(store) as lists:
        lists.want(SN)
        await eventually(lambda: lists.held(SN) is not None)


async def test_a_changed_list_is_read_again_in_the_background_and_never_shown_stale(store: Store) -> None:
    async with running(store) as lists:
        assert await lists.find(SN) == NONE
        await store.add_many({SN: [A]})
        lists.changed(SN)
        assert lists.held(SN) is None
        assert await lists.find(SN) == ONLY_A
        await store.remove_many({SN: [A]})
        lists.changed(SN)
        await eventually(lambda: lists.held(SN) == NONE)


async def test_a_change_of_a_device_that_is_not_held_costs_nothing(store: Store) -> None:
    async with running(store) as lists:
        lists.changed(SN)
        await asyncio.sleep(0.01)
        assert store.asked == []
        assert len(lists) == 0


async def test_design_4_a_read_raced_by_a_change_is_void(store: Store) -> None:
    async with running(store) as lists:

        def change_once() -> None:
            store.meanwhile = lambda: None
            store._ids[SN] = {A}  # the change itself, after what the read has seen
            lists.changed(SN)

        store.meanwhile = change_once
        assert await lists.find(SN) == ONLY_A
        assert store.asked == [[SN], [SN]]


async def test_a_list_that_changes_again_and_again_does_not_keep_a_heartbeat_waiting(store: Store) -> None:
    async with running(store) as lists:
        store.meanwhile = lambda: lists.changed(SN)
        async with asyncio.timeout(1):
            assert await lists.find(SN) == NONE
        store.meanwhile = lambda: None
        await eventually(lambda: lists.held(SN) == NONE)


async def test_design_4_a_lost_stream_forgets_every_list_also_one_that_is_being_read(store: Store) -> None:
    async with running(store) as lists:
        assert await lists.find("1") == NONE
        await store.add_many({"1": [A], "2": [A]})

        def lose_once() -> None:
            store.meanwhile = lambda: None
            store._ids["2"] = {A, B}
            lists.empty()

        store.meanwhile = lose_once
        assert await lists.find("2") == A_AND_B
        assert await lists.find("1") == ONLY_A


# ── Redis away ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_3_while_redis_is_away_heartbeats_list_what_was_known_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_lists, "RETRY_SECONDS", 0.01)
    await store.add_many({SN: [A]})
    async with running(store) as lists:
        assert await lists.find(SN) == ONLY_A
        store.available = False
        lists.changed(SN)
        assert await lists.find(SN) == ONLY_A
        assert lists.held(SN) == ONLY_A
        assert lists.held("never read") == NONE
        store.available = True
        await store.add_many({SN: [B], "never read": [A]})
        await eventually(lambda: lists.held(SN) == A_AND_B)
        await eventually(lambda: lists.held("never read") == ONLY_A)


async def test_a_heartbeat_that_gives_up_waiting_takes_nothing_from_the_others(store: Store) -> None:
    await store.add_many({SN: [A]})
    async with running(store) as lists:
        waiting = [asyncio.create_task(lists.find(SN)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert await waiting[1] == ONLY_A


# ── the trace of what changed a list ──────────────────────────────────────────────────────────────────────────────

TRACE, LATER_TRACE = (f"00-{number:032x}-{number:016x}-01" for number in (1, 2))


async def test_design_4_the_maker_of_a_change_is_given_once_and_not_before_the_new_list_is_held(store: Store) -> None:
    async with running(store) as lists:
        assert await lists.find(SN) == NONE
        assert lists.take_maker(SN) is None
        store.meanwhile = lambda: takes.append(lists.take_maker(SN))
        takes: list[str | None] = []
        lists.changed(SN, TRACE)
        await lists.find(SN)
        assert takes == [None]
        assert [lists.take_maker(SN), lists.take_maker(SN), lists.take_maker("another")] == [TRACE, None, None]


async def test_of_several_changes_the_newest_traced_one_is_the_maker(store: Store) -> None:
    async with running(store) as lists:
        await lists.find(SN)
        for trace in (TRACE, LATER_TRACE, None):
            lists.changed(SN, trace)
        await lists.find(SN)
        assert lists.take_maker(SN) == LATER_TRACE


async def test_design_7_no_maker_is_kept_of_a_device_that_is_not_held_or_no_more(store: Store) -> None:
    async with running(store, size=1) as lists:
        lists.changed("never held", TRACE)
        assert await lists.find("never held") == NONE
        assert lists.take_maker("never held") is None
        lists.changed("never held", TRACE)
        assert await lists.find("never held") == NONE
        await lists.find("another")
        await lists.find("never held")
        assert lists.take_maker("never held") is None


async def test_design_4_a_lost_stream_forgets_the_makers(store: Store) -> None:
    async with running(store) as lists:
        await lists.find(SN)
        lists.changed(SN, TRACE)
        lists.empty()
        await lists.find(SN)
        assert lists.take_maker(SN) is None


# ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_7_lists_are_bounded_and_the_least_used_goes_first(store: Store) -> None:
    async with running(store, size=2) as lists:
        for sn in ("1", "2"):
            await lists.find(sn)
        assert lists.held("1") == NONE
        await lists.find("3")
        assert len(lists) == 2
        assert lists.held("1") == NONE
        assert lists.held("2") is None


async def test_design_7_what_is_to_be_read_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_lists, "RETRY_SECONDS", 0.01)
    store.available = False
    async with running(store, size=2) as lists:
        for number in range(10):
            assert await lists.find(str(number)) == NONE
        assert all(len(asked) <= 2 for asked in store.asked)


async def test_many_lists_are_read_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_lists, "MAX_A_READ", 2)
    async with running(store) as lists:
        assert await asyncio.gather(*(lists.find(str(number)) for number in range(5))) == [NONE] * 5
        assert [len(asked) for asked in store.asked] == [2, 2, 1]
