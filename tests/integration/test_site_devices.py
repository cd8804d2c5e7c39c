"""session_site_devices over real parts: one process of two says it, and the other one when that has gone."""

from contextlib import AsyncExitStack

import aiohttp
import pytest

from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.domain.devices import Direction, SiteSpan
from shared.kafka.topics import ensure_topics
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from stack.ports import free_port
from tests.support.presence import make_presence
from tests.support.session_values import NOW_MS, make_device
from tests.support.waiting import eventually

HERE = SiteSpan(NOW_MS, "s1", Direction.IN)
EXPECTED = [
    'session_site_devices{presence="offline",site="none"} 1.0',
    'session_site_devices{presence="offline",site="s1"} 0.0',
    'session_site_devices{presence="online",site="none"} 0.0',
    'session_site_devices{presence="online",site="s1"} 1.0',
]


class Sessions:
    """Two session services in this loop, each of which can be ended by itself."""

    def __init__(self) -> None:
        self.running: dict[int, AsyncExitStack] = {}

    async def said(self) -> dict[int, list[str]]:
        """The lines of the metric, by the admin port of whoever exports any."""
        async with aiohttp.ClientSession() as http:
            found = {}
            for port in self.running:
                async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    lines = (await answer.text()).splitlines()
                found[port] = sorted(line for line in lines if line.startswith("session_site_devices{"))
        return {port: lines for port, lines in found.items() if lines}


async def test_the_holder_of_the_lock_alone_says_how_many_devices_are_online_at_each_site(
    redis_settings: RedisSettings,
    mongo_settings: MongoSettings,
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("session_service.wiring.LOCK_LIFE_MS", 3_000)
    await ensure_topics(kafka_settings, 60)
    async with open_mongo(mongo_settings, "test") as database:
        await MongoDeviceStore(database).register([make_device("here", site_history=(HERE,)), make_device("nowhere")])
        await MongoPresenceRecordStore(database).apply([make_presence(sn="here")])
    sessions = Sessions()
    for _ in range(2):
        stack, admin_port = AsyncExitStack(), free_port()
        settings = SessionSettings(
            internal_token="t" * 32,
            port=free_port(),
            admin_port=admin_port,
            notice_seconds=0,
            presence_sweep_seconds=0.1,
            site_devices_seconds=0.1,
        )
        sealing = SealingSettings(keys="k1:" + "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=")
        # a presence of years ago: a sweep within this test must not find it silent
        presence = PresenceSettings(online_seconds=10**9)
        opened = open_session(settings, mongo_settings, redis_settings, sealing, kafka_settings, presence)
        await stack.enter_async_context(opened(Lifecycle()))
        sessions.running[admin_port] = stack
    try:
        await eventually(lambda: _is_said(sessions))
        ((leader, lines),) = (await sessions.said()).items()
        assert lines == EXPECTED
        await sessions.running.pop(leader).aclose()
        await eventually(lambda: _is_said(sessions))
    finally:
        for stack in sessions.running.values():
            await stack.aclose()


async def _is_said(sessions: Sessions) -> bool:
    return EXPECTED in (await sessions.said()).values()
