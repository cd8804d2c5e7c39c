"""Faults of servers, services and records, for tests of alerts: each is there while its context is open."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import redis
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, Record
from shared.runtime.settings import KafkaSettings
from terminal_simulator.face import picture
from tests.support.builders import make_auth, make_sign_in, now_ms
from tests.support.fault_scene import Scene, meanwhile, new_sn, standing_still
from tests.support.task_api import make_body
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually
from tests.support.writers import delete_all, produce

CALLERS = 10
DYNAMIC_TOPIC_CONFIG = 1
"""Kafka's name for what was set of a topic itself."""


@asynccontextmanager
async def kafka_hangs(scene: Scene) -> AsyncIterator[None]:
    with standing_still(scene, "kafka"):
        yield


@asynccontextmanager
async def mongodb_hangs_while_terminals_come_anew(scene: Scene) -> AsyncIterator[None]:
    _, vendor = await scene.operators.create_vendor()

    async def come(terminal: Terminal) -> None:
        await terminal.ask(make_auth(vendor, new_sn()))

    async with AsyncExitStack() as stack:
        terminals = [await stack.enter_async_context(connect(*scene.platform.stack.tcp)) for _ in range(CALLERS)]
        stack.enter_context(standing_still(scene, "mongo"))
        async with meanwhile(*(partial(come, terminal) for terminal in terminals)):
            yield


@asynccontextmanager
async def redis_hangs_while_terminals_ask_for_tasks(scene: Scene) -> AsyncIterator[None]:
    stack = scene.platform.stack
    _, vendor = await scene.operators.create_vendor()
    sn = new_sn()
    async with connect(*stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
    trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=stack.ca))
    async with aiohttp.ClientSession(connector=trusted) as http:

        async def ask() -> None:
            # A token that the process does not hold: it has to ask Redis.
            body = make_body("T_GET_TASKS", {"taskids": ["1"]}, sn=sn, token=token[::-1], secret=vendor.access_secret)
            async with http.post(f"{stack.https}/api/device", data=body) as answer:
                assert answer.status == 200

        with standing_still(scene, "redis"):
            async with meanwhile(*[ask] * CALLERS):
                yield


@asynccontextmanager
async def redis_loses_everything(scene: Scene) -> AsyncIterator[None]:
    with redis.Redis.from_url(scene.platform.stack.description["redis"]) as client:
        client.flushall()
    yield


@asynccontextmanager
async def task_api_stands_still(scene: Scene) -> AsyncIterator[None]:
    with standing_still(scene, "task-api"):
        yield


@asynccontextmanager
async def retention_overtakes_the_writer(scene: Scene) -> AsyncIterator[None]:
    """The simulated terminals go on while it stands still."""
    taken_in = "sum(tcp_ingress_sign_in_records_total)"

    def records() -> float:
        return scene.platform.prometheus.query(taken_in)[0].value

    with standing_still(scene, "attendance-writer"):
        before = records()
        await eventually(lambda: records() > before + 20, 60)
        await delete_all(kafka_of(scene))
    yield


@asynccontextmanager
async def a_record_is_no_json(scene: Scene) -> AsyncIterator[None]:
    broken = Record(topic=SIGN_IN_TOPIC, key=b"sn", value=b"{", headers=(), timestamp_ms=now_ms())
    await produce(kafka_of(scene), [broken])
    yield


@asynccontextmanager
async def the_sensitive_topic_takes_no_pictures(scene: Scene) -> AsyncIterator[None]:
    _, vendor = await scene.operators.create_vendor()
    sn = new_sn()
    async with connect(*scene.platform.stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        async with topic_configured(scene, SENSITIVE_TOPIC, {"max.message.bytes": "1000"}):
            answer = await terminal.ask(make_sign_in(vendor.access_secret, sn, token, picture=picture(1)))
        assert answer.errorcode == "500_01"
        yield


@asynccontextmanager
async def topic_configured(scene: Scene, topic: str, change: dict[str, str]) -> AsyncIterator[None]:
    """A topic's configuration is another one meanwhile."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_of(scene).bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        kept = {entry[0]: entry[1] for entry in answer.resources[0][4] if entry[3] == DYNAMIC_TOPIC_CONFIG}
        assert kept.keys() >= change.keys()
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={**kept, **change})])
        try:
            yield
        finally:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=kept)])
    finally:
        await admin.close()


def kafka_of(scene: Scene) -> KafkaSettings:
    return KafkaSettings(bootstrap=scene.platform.stack.description["kafka"])
