"""Devices on line and off line through real ingress processes, Redis and Kafka (T2, F7, design rules 3, 6, 13)."""

import asyncio
import json
import secrets
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from shared.domain.attendance import parse_rfc3339
from shared.domain.events import PRESENCE_TOPIC, ConsumedRecord
from shared.domain.presence import OfflineReason, PresenceEvent, PresenceState, read_presence
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.redis.client import PRESENCE_SEEN_KEY, open_redis
from stack.certificates import load_certificates
from stack.kafka_part import KafkaPart
from stack.ports import free_port
from stack.redis_part import RedisPart
from task_api.settings import TaskApiSettings
from task_api.wiring import open_task_api
from tests.support.builders import make_heartbeat, make_sign_in
from tests.support.ingress import SEALING_KEYS, Ingress, Parts, ingress_process, ready, running_ingress, running_parts
from tests.support.task_api import make_body
from tests.support.topics import read_topic

ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED
SILENT_SECONDS = 2.5
QUICK = PresenceSettings(online_seconds=2, grace_seconds=0.5)


@pytest.fixture
async def parts(
    kafka_settings: KafkaSettings, redis_settings: RedisSettings, mongo_settings: MongoSettings
) -> AsyncIterator[Parts]:
    """Everything behind an ingress, where a device is off line after seconds."""
    async with running_parts(kafka_settings, redis_settings, mongo_settings, QUICK) as parts:
        yield parts


@pytest.fixture
async def ingress(parts: Parts) -> AsyncIterator[Ingress]:
    async with running_ingress(parts) as ingress:
        yield ingress


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with open_redis(redis_settings) as client:
        yield client


@pytest.fixture
def sn() -> str:
    """A device that no other test knows."""
    return f"PRESENCE{secrets.token_hex(4)}"


async def events_of(parts: Parts, sn: str) -> list[PresenceEvent]:
    """The device's events in the order of its partition."""
    return [
        read_presence(
            ConsumedRecord(record.topic, record.partition, record.offset, record.key, record.value, record.headers)
        )
        for record in await read_topic(parts.kafka, PRESENCE_TOPIC)
        if record.key == sn.encode()
    ]


async def told(
    parts: Parts, sn: str, is_so: Callable[[list[PresenceEvent]], bool], seconds: float = 20
) -> list[PresenceEvent]:
    """The device's events once they are so."""
    async with asyncio.timeout(seconds):
        while True:
            events = await events_of(parts, sn)
            if is_so(events):
                return events
            await asyncio.sleep(0.2)


def is_offline(events: list[PresenceEvent]) -> bool:
    return bool(events) and events[-1].state is OFFLINE


def is_online(events: list[PresenceEvent]) -> bool:
    return bool(events) and events[-1].state is not OFFLINE


def above(epoch: int) -> Callable[[list[PresenceEvent]], bool]:
    """Online by a later takeover."""
    return lambda events: is_online(events) and events[-1].epoch > epoch


def ups_and_downs(events: list[PresenceEvent]) -> list[PresenceState]:
    """Without what merely changed."""
    return [event.state for event in events if event.state is not CHANGED]


async def test_t2_going_on_line_and_off_line_are_events_in_order_of_one_epoch(
    ingress: Ingress, parts: Parts, sn: str
) -> None:
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        for _ in range(3):
            assert (await terminal.ask(make_heartbeat(parts.vendor.access_secret, sn, token))).success
        events = await told(parts, sn, is_online)
        assert events[-1].device_version == "v14.8.7"
        assert events[-1].device_ip == "192.168.1.11"
        assert events[-1].address == "127.0.0.1"
        skew = events[-1].clock_skew_seconds
        assert skew is not None
        assert abs(skew) <= 2
    closed_at = time.time()
    events = await told(parts, sn, is_offline)
    assert ups_and_downs(events) == [ONLINE, OFFLINE]
    assert len({event.epoch for event in events}) == 1
    assert events[-1].reason is OfflineReason.CLOSED
    assert abs(parse_rfc3339(events[-1].at) / 1000 - closed_at) < 3


async def test_t2_a_silent_device_on_an_open_connection_goes_off_line_and_comes_back(
    ingress: Ingress, parts: Parts, sn: str
) -> None:
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        silent_since = time.time()
        events = await told(parts, sn, is_offline)
        assert events[-1].reason is OfflineReason.SILENT
        assert parse_rfc3339(events[-1].at) / 1000 - silent_since > SILENT_SECONDS - 0.1
        assert (await terminal.ask(make_sign_in(parts.vendor.access_secret, sn, token))).success
        events = await told(parts, sn, is_online)
    assert ups_and_downs(events) == [ONLINE, OFFLINE, ONLINE]
    assert events[-1].epoch > events[0].epoch


async def test_hono_2244_a_late_disconnect_at_one_process_does_not_take_off_line_who_is_at_another(
    parts: Parts, redis: Redis, sn: str
) -> None:
    secret = parts.vendor.access_secret
    with ingress_process(parts, free_port()) as first, ingress_process(parts, free_port()) as second:
        await asyncio.gather(ready(first), ready(second))
        async with second.connect() as new:
            async with first.connect() as old:
                token = await old.authenticate(parts.vendor, sn)
                earlier = (await told(parts, sn, is_online))[-1].epoch
                assert (await new.ask(make_heartbeat(secret, sn, token))).success
                events = await told(parts, sn, above(earlier))
            for _ in range(4):  # longer than a silent device stays on line
                assert (await new.ask(make_heartbeat(secret, sn, token))).success
                await asyncio.sleep(1)
            assert ups_and_downs(await events_of(parts, sn)) == [ONLINE, ONLINE]
            assert await redis.zscore(PRESENCE_SEEN_KEY, sn) is not None
        later = await told(parts, sn, is_offline)
    assert ups_and_downs(later) == [ONLINE, ONLINE, OFFLINE]
    assert later[-1].epoch == events[-1].epoch


async def test_f7_each_device_of_a_gateways_connection_is_on_line_by_its_own_requests(
    ingress: Ingress, parts: Parts, sn: str
) -> None:
    secret, first, second = parts.vendor.access_secret, f"{sn}-1", f"{sn}-2"
    async with ingress.connect() as gateway:
        token = await gateway.authenticate(parts.vendor, first)
        await gateway.authenticate(parts.vendor, second)
        await told(parts, first, is_online)
        for _ in range(5):
            assert (await gateway.ask(make_heartbeat(secret, first, token))).success
            await asyncio.sleep(1)
        events = await told(parts, second, is_offline)
        assert events[-1].reason is OfflineReason.SILENT
        assert ups_and_downs(await events_of(parts, first)) == [ONLINE]
    events = await told(parts, first, is_offline)
    assert events[-1].reason is OfflineReason.CLOSED


async def test_design_6_whose_ingress_was_killed_goes_off_line_by_the_sweep(parts: Parts, sn: str) -> None:
    with ingress_process(parts, free_port()) as ingress:
        await ready(ingress)
        async with ingress.connect() as terminal:
            await terminal.authenticate(parts.vendor, sn)
            online = await told(parts, sn, is_online)
            ingress.signal(signal.SIGKILL)
            killed_at = time.time()
            assert await terminal.closed_by_peer()
    events = await told(parts, sn, is_offline)
    assert ups_and_downs(events) == [ONLINE, OFFLINE]
    assert events[-1].reason is OfflineReason.INGRESS_LOST
    assert events[-1].epoch == online[-1].epoch
    assert events[-1].address == "127.0.0.1"
    # 3 s margin, 2 s between the sweeps, and the machine's
    assert parse_rfc3339(events[-1].at) / 1000 - killed_at < SILENT_SECONDS + 3 + 2 + 2


async def test_design_13_a_device_whose_process_leaves_and_that_comes_back_elsewhere_stays_on_line(
    parts: Parts, sn: str
) -> None:
    secret, port = parts.vendor.access_secret, free_port()
    with ingress_process(parts, port) as leaving, ingress_process(parts, free_port()) as staying:
        await ready(leaving)
        await ready(staying)
        async with leaving.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            epoch = (await told(parts, sn, is_online))[-1].epoch
            leaving.signal(signal.SIGTERM)
            assert await terminal.closed_by_peer()
        async with staying.connect() as terminal:
            for _ in range(4):
                assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
                await asyncio.sleep(1)
            events = await told(parts, sn, above(epoch))
    assert ups_and_downs(events) == [ONLINE, ONLINE]


async def test_design_3_after_a_flush_and_a_restart_of_redis_presence_is_right_with_the_next_request(
    ingress: Ingress, parts: Parts, redis: Redis, redis_part: RedisPart, sn: str
) -> None:
    secret = parts.vendor.access_secret
    async with ingress.connect() as terminal:
        await terminal.authenticate(parts.vendor, sn)
        epochs = [(await told(parts, sn, is_online))[-1].epoch]
        await redis.flushall()
        for restarted in (False, True):
            if restarted:
                redis_part.kill()
                redis_part.restart()
            async with asyncio.timeout(20):
                while True:  # a flush costs the device one C_AUTH
                    await asyncio.sleep(0.5)
                    try:
                        token = await terminal.authenticate(parts.vendor, sn)
                    except AssertionError:
                        continue  # 500_01 while Redis is not there yet, or within the same second a replay
                    break
            assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
            epochs.append((await told(parts, sn, above(epochs[-1])))[-1].epoch)
            assert await redis.zscore(PRESENCE_SEEN_KEY, sn) is not None
    events = await told(parts, sn, is_offline)
    assert epochs == sorted(set(epochs))
    assert events[-1].epoch == epochs[-1]
    assert events[-1].reason is OfflineReason.CLOSED


async def test_design_3_a_short_outage_of_redis_takes_nobody_off_line(
    ingress: Ingress, parts: Parts, redis_part: RedisPart, sn: str
) -> None:
    secret = parts.vendor.access_secret
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        await told(parts, sn, is_online)
        redis_part.suspend()
        try:
            for _ in range(12):  # longer than the sweep waits
                assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
                await asyncio.sleep(0.5)
        finally:
            redis_part.resume()
        for _ in range(6):
            assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
            await asyncio.sleep(0.5)
        # A call of the sweep that was cut off may be carried out when Redis goes on: then the epoch is a new one.
        assert OFFLINE not in ups_and_downs(await events_of(parts, sn))


async def test_while_kafka_hangs_heartbeats_go_on_and_the_newest_event_follows(
    ingress: Ingress, parts: Parts, kafka_part: KafkaPart, sn: str
) -> None:
    secret = parts.vendor.access_secret
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        kafka_part.suspend()
        try:
            for _ in range(8):
                began = time.monotonic()
                assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
                assert time.monotonic() - began < 1
                await asyncio.sleep(0.5)
        finally:
            kafka_part.resume()
        await told(parts, sn, is_online, seconds=30)
    events = await told(parts, sn, is_offline, seconds=30)
    assert ups_and_downs(events)[-1] is OFFLINE


async def test_t2_requests_over_https_never_bring_a_device_on_line(
    ingress: Ingress, parts: Parts, redis: Redis, sn: str, tmp_path: Path
) -> None:
    certificates = load_certificates(tmp_path)
    settings = TaskApiSettings(
        port=free_port(),
        admin_port=0,
        tls_cert_file=str(certificates.certificate),
        tls_key_file=str(certificates.key),
    )
    task_api = open_task_api(
        settings, parts.mongo, parts.redis, parts.kafka, SealingSettings(keys=SecretStr(SEALING_KEYS))
    )
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        await told(parts, sn, is_online)
    await told(parts, sn, is_offline)
    body = make_body("T_GET_TASKS", {"taskids": []}, sn=sn, token=token, secret=parts.vendor.access_secret)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(certificates.ca)))
    url = f"https://127.0.0.1:{settings.port}/api/device"
    async with task_api(Lifecycle()), aiohttp.ClientSession(connector=connector) as http:
        for _ in range(3):
            async with http.post(url, data=body) as answer:
                assert json.loads(await answer.read())["success"]
            await asyncio.sleep(0.5)
    assert await redis.zscore(PRESENCE_SEEN_KEY, sn) is None
    assert ups_and_downs(await events_of(parts, sn)) == [ONLINE, OFFLINE]
