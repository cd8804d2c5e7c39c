"""Waiting until the platform is whole again, as its operators would see it: processes ready, replicas in sync."""

import asyncio
import time
from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.kafka.topics import TOPICS
from tests.chaos.brokers import NODES
from tests.chaos.platform import ChaosPlatform

LOOK_SECONDS = 0.2
ASK_SECONDS = 5.0


async def wait_answers(platform: ChaosPlatform, names: Iterable[str], seconds: float) -> None:
    """Returns when all of them answer, or say that they are ready. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    for name in names:
        while not await _answers(platform, name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not answer within {seconds:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)


async def wait_in_sync(platform: ChaosPlatform, seconds: float) -> None:
    """Returns when every partition has all its replicas in sync. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while missing := await _out_of_sync(platform):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} within {seconds:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


async def settle(platform: ChaosPlatform, seconds: float) -> None:
    """Returns when everything answers and all replicas are in sync. Raises TimeoutError that says what does not."""
    await wait_answers(platform, list(platform.servers), seconds)
    await wait_in_sync(platform, seconds)


async def _answers(platform: ChaosPlatform, name: str) -> bool:
    server = platform.servers[name]
    if name in platform.plans:
        return platform.is_ready(name)
    return server.process.alive and await asyncio.to_thread(server.answers)


async def _out_of_sync(platform: ChaosPlatform) -> str:
    """What is not in sync, in words; empty where all is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.direct_kafka, request_timeout_ms=3_000)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await admin.start()
            described = await admin.describe_topics([*TOPICS, "__consumer_offsets"])
    except (KafkaError, TimeoutError, OSError) as error:
        return f"Kafka does not tell its replicas ({type(error).__name__})"
    finally:
        await admin.close()
    partitions = [partition for topic in described for partition in topic["partitions"]]
    missing = sum(len(partition["isr"]) < len(NODES) or partition["leader"] < 0 for partition in partitions)
    if missing or not partitions:
        return f"{missing} of {len(partitions)} partitions not in sync"
    return ""
