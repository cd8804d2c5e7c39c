import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from console_service import live_feed
from console_service.device_sites import KEPT_MS
from console_service.live_events import LiveKind
from console_service.live_feed import Wanted
from shared.domain.devices import Device, SiteSpan
from shared.domain.events import PRESENCE_TOPIC, SIGN_IN_TOPIC, Record
from shared.domain.presence import PresenceState, presence_record
from shared.domain.task_events import task_record
from shared.kafka.follower import Gap
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable
from tests.support.attendance import event_record, make_event
from tests.support.live import ServerEvent, read_blocks
from tests.support.presence import make_presence
from tests.support.task_values import make_task
from tests.unit.console_service.parts import ADMIN_TOKEN, Parts, check_problem

EVERYTHING = Wanted(kinds=frozenset(LiveKind))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "POLL_SECONDS", 0.01)


class Reader:
    """Reads a stream block by block."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        self._blocks: list[ServerEvent] = []
        self.last_id: str | None = None

    async def block(self) -> ServerEvent:
        while not self._blocks:
            self._blocks = read_blocks((await asyncio.wait_for(anext(self._pieces), 2)).decode())
        block = self._blocks.pop(0)
        self.last_id = block.event_id or self.last_id
        return block

    async def event(self) -> ServerEvent:
        while True:
            block = await self.block()
            if block.data is not None:
                return block

    async def ends(self) -> list[ServerEvent]:
        rest = self._blocks
        async with asyncio.timeout(2):
            async for piece in self._pieces:
                rest += read_blocks(piece.decode())
        return rest

    async def close(self) -> None:
        await self._pieces.aclose()


class Feed:
    def __init__(self) -> None:
        self.parts = Parts()
        self.in_force: bool | Exception = True
        self._readers: list[Reader] = []

    async def read(self, wanted: Wanted = EVERYTHING, last_event_id: str | None = None) -> Reader:
        """A connection whose beginning was read."""

        async def is_in_force() -> bool:
            if isinstance(self.in_force, Exception):
                raise self.in_force
            return self.in_force

        app_feed = self.parts.live
        reader = Reader(app_feed.stream(wanted, last_event_id, is_in_force))
        self._readers.append(reader)
        assert (await reader.block()).retry is not None
        assert (await reader.block()).comment
        return reader

    def put(self, *records: Record, partition: int = 0) -> None:
        for record in records:
            self.parts.topics.put(record, partition)

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    feed = Feed()
    yield feed
    await feed.close()
    assert feed.parts.topics.open_followers == 0


def sign_in(sn: str = "SN1", **members: object) -> Record:
    return event_record(make_event(sn=sn, **members))


def sn_of(event: ServerEvent) -> str:
    assert event.data is not None
    return str(json.loads(event.data)["sn"])


async def test_what_happened_before_the_connection_is_not_told(feed: Feed) -> None:
    feed.put(sign_in("SN1"))
    reader = await feed.read()
    feed.put(sign_in("SN2"))
    event = await reader.event()
    assert (event.name, sn_of(event)) == ("sign-in", "SN2")


async def test_each_kind_is_named(feed: Feed) -> None:
    reader = await feed.read()
    feed.put(presence_record(make_presence()), task_record(make_task(), 0), sign_in())
    assert {(await reader.event()).name for _ in range(3)} == {"presence", "task", "sign-in"}


async def test_any_event_s_id_resumes_exactly_after_it(feed: Feed) -> None:
    reader = await feed.read()
    start = reader.last_id
    for number in range(12):
        feed.put(sign_in(f"SN{number}"), presence_record(make_presence(sn=f"SN{number}")), partition=number % 3)
    told = [await reader.event() for _ in range(24)]
    await reader.close()
    for cut, last_id in enumerate([start, *(event.event_id for event in told)]):
        again = await feed.read(last_event_id=last_id)
        rest = [await again.event() for _ in range(24 - cut)]
        assert sorted((event.name, sn_of(event)) for event in told[:cut] + rest) == sorted(
            (event.name, sn_of(event)) for event in told
        )
        await again.close()


async def test_the_first_block_s_id_resumes_a_connection_that_saw_no_event(feed: Feed) -> None:
    reader = await feed.read()
    await reader.close()
    feed.put(sign_in("SN1"))
    again = await feed.read(last_event_id=reader.last_id)
    assert sn_of(await again.event()) == "SN1"


async def test_the_comment_s_id_moves_on_past_what_is_not_shown(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "BEAT_SECONDS", 0.05)
    reader = await feed.read(Wanted(kinds=frozenset(LiveKind), sn="SN9"))
    before = reader.last_id
    feed.put(sign_in("SN1"))
    beat = await reader.block()
    assert beat.comment
    assert beat.data is None
    assert beat.event_id not in (None, before)


async def test_a_kind_that_is_not_wanted_is_not_even_followed(feed: Feed) -> None:
    reader = await feed.read(Wanted(kinds=frozenset({LiveKind.TASK})))
    feed.put(sign_in(), presence_record(make_presence()), task_record(make_task(), 0))
    assert (await reader.event()).name == "task"
    again = await feed.read(last_event_id=reader.last_id)
    feed.put(sign_in("SN7"))  # sign-ins are not in that id: they begin now
    assert sn_of(await again.event()) == "SN7"


async def test_only_the_wanted_terminal_is_told_of(feed: Feed) -> None:
    reader = await feed.read(Wanted(kinds=frozenset(LiveKind), sn="SN2"))
    feed.put(sign_in("SN1"), sign_in("SN2"), presence_record(make_presence(sn="SN1")))
    feed.put(presence_record(make_presence(sn="SN2")))
    assert [sn_of(await reader.event()) for _ in range(2)] == ["SN2", "SN2"]


def at_site(sn: str, *spans: tuple[int, str | None]) -> Device:
    history = tuple(SiteSpan(since, site, None) for since, site in spans)
    return Device(sn=sn, vendor_id="v1", registered_at_ms=0, site_history=history)


async def test_a_bound_operator_sees_sign_ins_by_their_site_and_the_rest_by_the_terminal_s(feed: Feed) -> None:
    feed.parts.devices.put(at_site("SN1", (0, "s2"), (1000, "s1")))
    feed.parts.devices.put(at_site("SN2", (0, "s1"), (1000, "s2")))
    reader = await feed.read(Wanted(kinds=frozenset(LiveKind), site_ids=frozenset({"s1"})))
    for sn in ("SN1", "SN2", "SN3"):
        feed.put(presence_record(make_presence(sn=sn)), task_record(make_task(sn=sn), 0))
    feed.put(sign_in("SN1", site_id="s2"), sign_in("SN2", site_id="s1"), sign_in("SN1"), sign_in("SN4", site_id="s1"))
    told = [await reader.event() for _ in range(4)]
    assert {(event.name, sn_of(event)) for event in told} == {
        ("presence", "SN1"),
        ("task", "SN1"),
        ("sign-in", "SN2"),
        ("sign-in", "SN4"),
    }
    feed.put(sign_in("SN5", site_id="s1"))
    assert sn_of(await reader.event()) == "SN5"


async def test_a_terminal_that_was_moved_is_seen_within_seconds(feed: Feed) -> None:
    feed.parts.devices.put(at_site("SN1", (0, "s2")))
    reader = await feed.read(Wanted(kinds=frozenset(LiveKind), site_ids=frozenset({"s1"})))
    feed.put(presence_record(make_presence(sn="SN1", epoch=1)), sign_in("SN0", site_id="s1"))
    assert sn_of(await reader.event()) == "SN0"
    feed.parts.devices.put(at_site("SN1", (0, "s1")))
    feed.parts.clock.advance(KEPT_MS / 1000)
    feed.put(presence_record(make_presence(sn="SN1", epoch=2)))
    assert sn_of(await reader.event()) == "SN1"


async def test_nothing_is_lost_while_mongodb_cannot_say_where_a_terminal_stands(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "BEAT_SECONDS", 0.03)
    feed.parts.devices.put(at_site("SN1", (0, "s1")))
    reader = await feed.read(Wanted(kinds=frozenset(LiveKind), site_ids=frozenset({"s1"})))
    start = reader.last_id
    feed.parts.devices.available = False
    feed.put(presence_record(make_presence(sn="SN1")))
    beat = await reader.block()
    assert (beat.comment, beat.event_id) == (True, start)
    feed.parts.devices.available = True
    assert sn_of(await reader.event()) == "SN1"


async def test_a_gap_is_told_with_where_reading_goes_on(feed: Feed) -> None:
    reader = await feed.read()
    feed.parts.topics.faults.append(Gap({(PRESENCE_TOPIC, 1): 500}))
    event = await reader.event()
    assert (event.name, event.data) == ("gap", '{"types":["presence"]}')
    assert feed.parts.metrics.live_gaps == 1
    again = await feed.read(last_event_id=event.event_id)
    feed.put(*(presence_record(make_presence(epoch=number + 1)) for number in range(501)), partition=1)
    (shown,) = [await again.event()]
    assert shown.data is not None
    assert feed.parts.topics.records[PRESENCE_TOPIC, 1][500].value.count(b'"epoch":501') == 1
    assert shown.name == "presence"


async def test_kafka_away_at_the_beginning_is_503_and_later_is_waited_for(feed: Feed) -> None:
    feed.parts.topics.is_away = True
    assert check_problem(await feed.parts.ask("GET", "/live"), 503)
    feed.parts.topics.is_away = False
    reader = await feed.read()
    feed.parts.topics.faults += [Unavailable("Kafka: BrokerNotAvailable")] * 2
    feed.put(sign_in("SN1"))
    assert sn_of(await reader.event()) == "SN1"


async def test_a_record_that_cannot_be_read_is_passed_over_and_counted(feed: Feed) -> None:
    reader = await feed.read()
    feed.put(Record(SIGN_IN_TOPIC, b"SN1", b"{}", (), 0), sign_in("SN2"))
    assert sn_of(await reader.event()) == "SN2"
    assert feed.parts.metrics.live_unreadable == 1


async def test_a_token_that_is_revoked_ends_the_stream(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "CHECK_SECONDS", 0.02)
    reader = await feed.read()
    feed.in_force = Unavailable("MongoDB: AutoReconnect")
    await asyncio.sleep(0.1)
    feed.put(sign_in("SN1"))
    assert sn_of(await reader.event()) == "SN1"
    feed.in_force = False
    assert [block.retry is not None for block in await reader.ends()] == [True]


async def test_a_topic_that_was_given_partitions_is_followed_anew(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "CHECK_SECONDS", 0.02)
    reader = await feed.read()
    feed.parts.topics.has_grown = True
    assert [block.retry is not None for block in await reader.ends()] == [True]


async def test_design_13_a_process_that_leaves_ends_its_streams_and_says_when_to_come_again(feed: Feed) -> None:
    reader = await feed.read()
    feed.parts.stop.set()
    (last,) = await reader.ends()
    assert last.retry is not None
    assert 2_000 <= int(last.retry) <= 5_000


async def test_connections_past_the_bound_are_503(feed: Feed) -> None:
    readers = [await feed.read() for _ in range(2)]
    assert "live connections" in check_problem(await feed.parts.ask("GET", "/live"), 503)
    await readers[0].close()
    await feed.read()


@pytest.mark.parametrize("last_event_id", ["x", "AgABBQ", "AQABBQ=="])
async def test_an_id_that_no_stream_gave_is_400(feed: Feed, last_event_id: str) -> None:
    # the last one is whole, and of a topic that there is
    headers = {"Last-Event-ID": last_event_id}
    stream = feed.parts.live.stream(EVERYTHING, last_event_id, _always)
    if last_event_id.endswith("=="):
        assert b"retry:" in await anext(stream)
        await stream.aclose()
    else:
        check_problem(await feed.parts.ask("GET", "/live", headers=headers), 400)
        with pytest.raises(Problem):
            await anext(stream)


async def _always() -> bool:
    return True


@pytest.mark.parametrize("query", ["types=none", "types=sign-in,none", "sn=", f"siteId={'s' * 65}"])
async def test_a_filter_that_cannot_be_is_422(feed: Feed, query: str) -> None:
    check_problem(await feed.parts.ask("GET", f"/live?{query}"), 422)


async def test_without_a_token_nothing_is_followed(feed: Feed) -> None:
    check_problem(await feed.parts.ask("GET", "/live", token=None), 401)
    check_problem(await feed.parts.ask("GET", "/live", token=ADMIN_TOKEN[:-1]), 401)
    assert feed.parts.topics.open_followers == 0


async def test_offline_is_told_as_such(feed: Feed) -> None:
    reader = await feed.read()
    feed.put(presence_record(make_presence(PresenceState.OFFLINE)))
    event = await reader.event()
    assert event.data is not None
    assert json.loads(event.data)["online"] is False
