"""The loop that the service runs on, and an ingress over real Kafka, Redis and session service."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from tests.support.ingress import Ingress, Parts, running_ingress, running_parts
from tests.support.two_ingresses import Two, two_ingresses


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transports of uvloop pause, end and close in their own way: they are what is to be tested."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def parts(
    kafka_settings: KafkaSettings, redis_settings: RedisSettings, mongo_settings: MongoSettings
) -> AsyncIterator[Parts]:
    """Everything behind an ingress."""
    async with running_parts(kafka_settings, redis_settings, mongo_settings) as parts:
        yield parts


@pytest.fixture
async def ingress(parts: Parts) -> AsyncIterator[Ingress]:
    """An ingress with the settings as they come."""
    async with running_ingress(parts) as ingress:
        yield ingress


@pytest.fixture
async def two(parts: Parts) -> AsyncIterator[Two]:
    """Two ingress processes with a terminal each."""
    async with two_ingresses(parts) as two:
        yield two
