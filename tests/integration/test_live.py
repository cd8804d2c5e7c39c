"""GET /live of consoles over a real broker and a real database."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pydantic import SecretStr

from console_service import live_feed
from console_service.live_feed import ALL_TOPICS
from console_service.live_positions import unpack_positions
from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from shared.domain.devices import Device, SiteSpan
from shared.domain.events import SENSITIVE_TOPIC, Record
from shared.domain.operators import OperatorToken, Role, token_digest
from shared.domain.presence import presence_record
from shared.domain.task_events import task_record
from shared.kafka.topics import ensure_topics
from shared.runtime import web
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.operators import MongoOperatorTokenStore
from stack.kafka_part import KafkaPart
from stack.ports import free_port
from tests.support.attendance import event_record, make_event, picture_record
from tests.support.live import ServerEvent, read_blocks
from tests.support.presence import make_presence
from tests.support.task_values import make_task
from tests.support.topics import topic_name
from tests.support.waiting import eventually
from tests.support.writers import produce

ADMIN_TOKEN = "admin-" * 6
BOUND_TOKEN = "op_" + "b" * 43
SEALING = SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(32)).decode()}"))


class Onlooker:
    """A connection to /live, read block by block."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._text = ""
        self._blocks: list[ServerEvent] = []
        self.last_id: str | None = None

    async def block(self, seconds: float = 15) -> ServerEvent:
        """Raises EOFError where the stream has ended in good order."""
        async with asyncio.timeout(seconds):
            while not self._blocks:
                data = await self._answer.content.readany()
                if not data:
                    raise EOFError
                *blocks, self._text = (self._text + data.decode()).split("\n\n")
                self._blocks = read_blocks("".join(f"{block}\n\n" for block in blocks))
        block = self._blocks.pop(0)
        self.last_id = block.event_id or self.last_id
        return block

    async def events(self, count: int, seconds: float = 15) -> list[ServerEvent]:
        """The next events, comments left out."""
        events: list[ServerEvent] = []
        async with asyncio.timeout(seconds):
            while len(events) < count:
                block = await self.block()
                if block.data is not None:
                    events.append(block)
        return events


@asynccontextmanager
async def looking_on(
    console: str, query: str = "", last_id: str | None = None, token: str = ADMIN_TOKEN
) -> AsyncIterator[Onlooker]:
    """A connection that has begun."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
        http.get(f"{console}/api/v1/live?{query}", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        onlooker = Onlooker(answer)
        while onlooker.last_id is None:
            await onlooker.block()
        yield onlooker


@asynccontextmanager
async def open_a_console(
    mongo: MongoSettings, redis: RedisSettings, kafka: KafkaSettings, **changes: Any
) -> AsyncIterator[tuple[str, Lifecycle]]:
    """A console in this process: its address, and what makes it leave."""
    port, lifecycle = free_port(), Lifecycle()
    settings = ConsoleSettings(
        admin_token=SecretStr(ADMIN_TOKEN),
        session_token=SecretStr("s" * 32),
        port=port,
        admin_port=0,
        **{"notice_seconds": 0, **changes},
    )
    async with open_console(settings, mongo, redis, SEALING, kafka)(lifecycle):
        try:
            yield f"http://127.0.0.1:{port}", lifecycle
        finally:
            lifecycle.stop.set()


@pytest.fixture
async def topics(kafka_settings: KafkaSettings) -> None:
    await ensure_topics(kafka_settings, 60)


@pytest.fixture
async def console(
    topics: None, mongo_settings: MongoSettings, redis_settings: RedisSettings, kafka_settings: KafkaSettings
) -> AsyncIterator[str]:
    async with open_a_console(mongo_settings, redis_settings, kafka_settings) as (address, _):
        yield address


@asynccontextmanager
async def console_process(
    mongo: MongoSettings, redis: RedisSettings, kafka: KafkaSettings
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A console of its own: its address and process."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "CONSOLE_PORT": str(port),
        "CONSOLE_ADMIN_PORT": "0",
        "CONSOLE_NOTICE_SECONDS": "0",
        "CONSOLE_ADMIN_TOKEN": ADMIN_TOKEN,
        "CONSOLE_SESSION_TOKEN": "s" * 32,
        "SEALING_KEYS": SEALING.keys.get_secret_value(),
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "REDIS_URL": redis.url.get_secret_value(),
        "MONGO_URL": mongo.url.get_secret_value(),
        "MONGO_DATABASE": mongo.database,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console_service", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    draining = None
    try:
        async with asyncio.timeout(30):
            while b"is ready" not in (line := await process.stderr.readline()):
                assert line, "the console ended"
        draining = asyncio.ensure_future(process.stderr.read())
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if draining is not None:
            await draining


def sns_of(events: Sequence[ServerEvent]) -> list[str]:
    return [json.loads(event.data)["sn"] for event in events if event.data is not None]


def sign_in(sn: str, **members: Any) -> Record:
    return event_record(make_event(sn=sn, **members))


async def test_sign_ins_presence_and_tasks_are_told_and_nothing_sensitive(
    console: str, kafka_settings: KafkaSettings
) -> None:
    sn = topic_name("SN")
    event = make_event(sn=sn)
    async with looking_on(console, f"sn={sn}") as onlooker:
        picture = picture_record(event)
        assert picture.topic == SENSITIVE_TOPIC
        await produce(kafka_settings, [picture, event_record(event)])
        await produce(kafka_settings, [presence_record(make_presence(sn=sn)), task_record(make_task(sn=sn), 0)])
        events = {told.name: json.loads(told.data or "") for told in await onlooker.events(3)}
    assert events["sign-in"]["eventId"] == event.event_id
    assert (events["presence"]["online"], events["task"]["state"]) == (True, "pending")
    assert "a picture" not in json.dumps(events)


async def test_a_connection_is_gone_on_with_exactly_on_another_console_process(
    topics: None, mongo_settings: MongoSettings, redis_settings: RedisSettings, kafka_settings: KafkaSettings
) -> None:
    sns = [topic_name("SN") for _ in range(300)]
    told: list[str] = []
    async with AsyncExitStack() as stack:
        parts = (mongo_settings, redis_settings, kafka_settings)
        first, process = await stack.enter_async_context(console_process(*parts))
        second, _ = await stack.enter_async_context(console_process(*parts))
        producing = asyncio.ensure_future(produce_slowly(kafka_settings, [sign_in(sn) for sn in sns]))
        async with looking_on(first, "types=sign-in") as onlooker:
            start_id = onlooker.last_id
            told += sns_of(await onlooker.events(50))
            process.send_signal(signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):  # after what was under way
                await read_to_its_end(onlooker, told)
        async with looking_on(second, "types=sign-in", onlooker.last_id) as onlooker:
            told += sns_of(await onlooker.events(len(sns) - len(told)))
        await producing
        # the whole again, from the beginning of the first connection
        async with looking_on(second, "types=sign-in", start_id) as onlooker:
            again = sns_of(await onlooker.events(len(sns)))
            with pytest.raises(TimeoutError):
                await onlooker.events(1, seconds=1)
    assert sorted(told) == sorted(sns)
    assert sorted(again) == sorted(sns)


async def status_of(console: str, query: str = "", token: str = ADMIN_TOKEN) -> int:
    """How a connection is answered."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.get(f"{console}/api/v1/live?{query}") as answer,
    ):
        return answer.status


async def read_to_its_end(onlooker: Onlooker, told: list[str]) -> None:
    """Raises what a reader gets at the end; EOFError where it is in good order."""
    while True:
        block = await onlooker.block()
        told += sns_of([block])


async def produce_slowly(kafka: KafkaSettings, records: Sequence[Record]) -> None:
    await asyncio.sleep(1)
    for start in range(0, len(records), 10):
        await produce(kafka, records[start : start + 10])
        await asyncio.sleep(0.05)


async def test_design_13_a_console_that_leaves_ends_the_stream_in_good_order(
    topics: None, mongo_settings: MongoSettings, redis_settings: RedisSettings, kafka_settings: KafkaSettings
) -> None:
    async with console_process(mongo_settings, redis_settings, kafka_settings) as (address, process):
        async with looking_on(address) as onlooker:
            process.terminate()
            while (block := await onlooker.block()).retry is None:
                assert block.comment
            with pytest.raises(EOFError):
                await onlooker.block()
        assert await asyncio.wait_for(process.wait(), 8) == 0


async def test_an_id_older_than_retention_is_a_gap_and_goes_on_with_what_is_there(
    console: str, kafka_settings: KafkaSettings
) -> None:
    sn = topic_name("SN")
    async with looking_on(console, f"sn={sn}&types=presence") as onlooker:
        last_id = onlooker.last_id
        await produce(kafka_settings, [presence_record(make_presence(sn=sn, epoch=1))])
        (event,) = await onlooker.events(1)
    assert last_id is not None
    (place,) = [
        (topic, partition)
        for (topic, partition), offset in unpack_positions(ALL_TOPICS, event.event_id or "").items()
        if offset > unpack_positions(ALL_TOPICS, last_id)[topic, partition]
    ]
    await produce(kafka_settings, [presence_record(make_presence(sn=sn, epoch=2))])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    await admin.delete_records(
        {
            TopicPartition(*place): RecordsToDelete(
                before_offset=unpack_positions(ALL_TOPICS, event.event_id or "")[place]
            )
        }
    )
    await admin.close()
    async with looking_on(console, f"sn={sn}&types=presence", last_id) as onlooker:
        gap, following = await onlooker.events(2)
        assert (gap.name, gap.data) == ("gap", '{"types":["presence"]}')
        assert json.loads(following.data or "")["sn"] == sn
    async with looking_on(console, f"sn={sn}&types=presence", gap.event_id) as onlooker:
        assert [told.name for told in await onlooker.events(1)] == ["presence"]


async def test_a_reader_that_does_not_read_is_dropped_and_misses_nothing_when_it_comes_again(
    topics: None,
    mongo_settings: MongoSettings,
    redis_settings: RedisSettings,
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "UNREAD_SECONDS", 0.5)
    sns = [topic_name("SN") for _ in range(150)]
    settings = (mongo_settings, redis_settings, kafka_settings)
    async with open_a_console(*settings, max_live_connections=1) as (address, _):
        with socket.socket() as peer:
            last_id = await begin_to_read(peer, address)
            assert await status_of(address) == 503
            await produce(kafka_settings, [sign_in(sn, image_dropped="x" * 60_000) for sn in sns])  # 9 MB

            async def is_dropped() -> bool:
                return await status_of(address) == 200

            await eventually(is_dropped)
        monkeypatch.undo()
        async with looking_on(address, "types=sign-in", last_id) as onlooker:
            assert sorted(sns_of(await onlooker.events(150, 30))) == sorted(sns)


async def begin_to_read(peer: socket.socket, console: str) -> str:
    """Connects to /live and reads until the first id, which is given."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = console.removeprefix("http://").partition(":")
    peer.connect((host, int(port)))
    head = f"GET /api/v1/live HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    peer.sendall(head.encode())
    peer.setblocking(False)
    received = b""
    while b"id: " not in received:
        received += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 4096), 10)
    return received.split(b"id: ")[1].split(b"\n")[0].decode()


async def test_filters_and_a_token_s_sites_hold(
    console: str, kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    inside, outside = topic_name("SN"), topic_name("SN")
    async with open_mongo(mongo_settings, "test") as database:
        await MongoDeviceStore(database).register(
            [
                Device(sn=sn, vendor_id="v1", registered_at_ms=1, site_history=(SiteSpan(0, site, None),))
                for sn, site in ((inside, "s1"), (outside, "s2"))
            ]
        )
        await MongoOperatorTokenStore(database).add(
            OperatorToken(
                token_id="t1",
                digest=token_digest(BOUND_TOKEN),
                role=Role.VIEWER,
                site_ids=frozenset({"s1"}),
                created_at_ms=1,
            )
        )
        async with (
            looking_on(console, token=BOUND_TOKEN) as bound,
            looking_on(console, "siteId=s2&types=presence,sign-in") as at_s2,
        ):
            for sn, site in ((outside, "s2"), (inside, "s1")):
                await produce(
                    kafka_settings,
                    [
                        presence_record(make_presence(sn=sn)),
                        task_record(make_task(sn=sn), 0),
                        sign_in(sn, site_id=site),
                    ],
                )
            told = await bound.events(3)
            assert {(event.name, sn) for event, sn in zip(told, sns_of(told), strict=True)} == {
                ("presence", inside),
                ("task", inside),
                ("sign-in", inside),
            }
            told = await at_s2.events(2)
            assert {(event.name, sn) for event, sn in zip(told, sns_of(told), strict=True)} == {
                ("presence", outside),
                ("sign-in", outside),
            }
            assert await status_of(console, "siteId=s2", BOUND_TOKEN) == 404

            await MongoOperatorTokenStore(database).revoke("t1", 2)
            with pytest.raises(EOFError):
                await read_to_its_end(bound, [])


async def test_while_kafka_hangs_comments_go_on_and_then_the_events(
    console: str, kafka_settings: KafkaSettings, kafka_part: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "BEAT_SECONDS", 0.5)
    sn = topic_name("SN")
    async with looking_on(console, f"sn={sn}") as onlooker:
        kafka_part.suspend()
        try:
            for _ in range(8):
                assert (await onlooker.block(5)).comment
        finally:
            kafka_part.resume()
        await produce(kafka_settings, [sign_in(sn)])
        assert sns_of(await onlooker.events(1, 30)) == [sn]


async def test_kafka_away_is_503(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> None:
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    async with (
        open_a_console(mongo_settings, redis_settings, nowhere) as (address, _),
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as http,
        http.get(f"{address}/api/v1/live") as answer,
    ):
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
        assert answer.headers["Retry-After"] == "2"


async def test_connections_past_the_setting_are_503_until_one_ends(
    topics: None, mongo_settings: MongoSettings, redis_settings: RedisSettings, kafka_settings: KafkaSettings
) -> None:
    async with open_a_console(mongo_settings, redis_settings, kafka_settings, max_live_connections=1) as (address, _):
        async with looking_on(address):
            assert await status_of(address) == 503

        async def is_let_in() -> bool:
            return await status_of(address) == 200

        await eventually(is_let_in)
