"""Connections that are reset as soon as they stand, as by a load balancer with nobody behind it, on the event loop that
the services run on: to what was closed meanwhile uvloop refuses to write by RuntimeError, asyncio alone does not."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop
from pydantic import SecretStr

from shared.domain.events import Record
from shared.kafka.producer import BatchProducer, open_producer
from shared.runtime.settings import KafkaSettings, RedisSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.redis.client import open_redis, redis_faults
from tests.support.topics import make_topic, topic_name
from tests.support.waiting import eventually

ATTEMPTS = 300
CUTS = 20


@pytest.fixture
def resetting_port() -> Iterator[int]:
    """A port whose connections are accepted and reset at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset_all() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed: the test is over
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        thread = threading.Thread(target=reset_all)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def run_on_uvloop(work: Callable[[], Awaitable[None]]) -> list[str]:
    """Runs it; what the loop itself complained of meanwhile."""
    complaints: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(str(context)))
        await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return complaints


def test_design_3_a_redis_connection_that_is_reset_at_once_is_unavailable_and_nothing_else(
    resetting_port: int,
) -> None:
    async def work() -> None:
        async with open_redis(RedisSettings(url=SecretStr(f"redis://127.0.0.1:{resetting_port}/0"))) as redis:
            for _ in range(ATTEMPTS):
                with pytest.raises(Unavailable), redis_faults():
                    await redis.get("key")
                pipeline = redis.pipeline()
                pipeline.get("key")
                with pytest.raises(Unavailable), redis_faults():
                    await pipeline.execute()

    assert run_on_uvloop(work) == []


def test_a_runtime_error_that_has_nothing_to_do_with_a_connection_is_no_fault_of_redis() -> None:
    with pytest.raises(RuntimeError, match="a mistake of ours"), redis_faults():
        raise RuntimeError("a mistake of ours")


def test_a_kafka_connection_that_is_reset_at_once_is_tried_again_and_the_broker_found_when_it_is_back(
    resetting_port: int, kafka_settings: KafkaSettings
) -> None:
    async def work() -> None:
        # The first address is the one that resets, so that every connection for metadata tries it.
        both = kafka_settings.model_copy(update={"bootstrap": f"127.0.0.1:{resetting_port},{kafka_settings.bootstrap}"})
        for _ in range(20):
            async with open_producer(both, "test", 5) as producer:
                await producer.wait_started(10)
                assert producer._started.is_set()

    assert run_on_uvloop(work) == []


def test_a_kafka_that_resets_everything_is_unavailable_in_time_and_nothing_else(resetting_port: int) -> None:
    async def work() -> None:
        settings = KafkaSettings(bootstrap=f"127.0.0.1:{resetting_port}")
        async with open_producer(settings, "test", 1, ["topic"]) as producer:
            with pytest.raises(Unavailable):
                await producer.send("topic", 0, [Record("topic", b"sn", b"value", (), 1_764_000_000_000)])

    assert run_on_uvloop(work) == []


def test_design_1_a_producer_goes_on_after_its_broker_was_cut_off_again_and_again(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("cut-off")

    async def work() -> None:
        await make_topic(kafka_settings, topic, 1)
        async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
            for number in range(CUTS):
                # What a reset between two turns of the loop looks like to whoever writes next.
                connections = [] if producer._producer is None else list(producer._producer.client._conns.values())
                for connection in connections:
                    if connection._writer is not None:
                        connection._writer.transport.abort()
                record = Record(topic, b"sn", b"value %d" % number, (), 1_764_000_000_000)
                async with asyncio.timeout(20):
                    while True:
                        try:
                            await producer.send(topic, 0, [record])
                        except Unavailable:
                            continue
                        break

    assert run_on_uvloop(work) == []


def _refuse(_data: bytes) -> None:
    """As uvloop refuses to write to a transport that is closed, of which nobody has been told yet."""
    raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


@pytest.mark.parametrize("first", ["metadata", "produce"])
async def test_design_1_a_producer_goes_on_whoever_writes_first_to_a_connection_that_was_reset(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    topic = topic_name(f"reset-{first}")
    await make_topic(kafka_settings, topic, 1)
    record = Record(topic, b"sn", b"value", (), 1_764_000_000_000)
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        await producer.send(topic, 0, [record])
        kafka = producer._producer
        assert kafka is not None
        for connection in kafka.client._conns.values():
            monkeypatch.setattr(connection._writer, "write", _refuse)
        if first == "metadata":
            # aiokafka's task for metadata would end by what it does not expect, and all who wait for it would for ever.
            async with asyncio.timeout(10):
                await kafka.client.force_metadata_update()
        await eventually(lambda: _is_sent(producer, topic, record), 30)
        assert not kafka.client._sync_task.done()
        assert producer.replacements == 0


async def _is_sent(producer: BatchProducer, topic: str, record: Record) -> bool:
    try:
        await producer.send(topic, 0, [record])
    except Unavailable:
        return False
    return True
