"""Group commit against a real broker: a refused batch, a hanging broker, sensitive parts first (design rule 1)."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC, Record
from shared.kafka.producer import BatchProducer, RecordTooLarge, open_producer
from shared.kafka.topics import ensure_topics
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable
from stack.kafka_part import KafkaPart
from tcp_ingress.group_commit import CommitBounds, GroupCommit, TopicCommit
from tests.support.topics import make_topic, read_topic, topic_name

BOUNDS = CommitBounds(
    gather_seconds=0.003,
    batch_records=500,
    batch_bytes=1024 * 1024,
    max_in_flight_sign_ins=10_000,
    max_in_flight_bytes=64 * 1024 * 1024,
)

_runs = itertools.count(1)


def record(topic: str, key: str, value: bytes) -> Record:
    return Record(topic, key.encode(), value, (("ce_type", b"test"),), 1_764_000_000_000)


def deadline(seconds: float = 5) -> float:
    return asyncio.get_running_loop().time() + seconds


async def put(commit: TopicCommit, item: Record) -> None:
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    commit.put((item,), len(item.value) + 100, outcome)
    await outcome


async def test_design_1_a_refused_batch_replaces_the_producer_and_the_partition_goes_on(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("refusing")
    await make_topic(kafka_settings, topic, 1, max_message_bytes="20000")
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        commit = TopicCommit(producer, topic, BOUNDS)
        await asyncio.gather(*(put(commit, record(topic, "a", b"before-%d" % n)) for n in range(5)))
        refused = await asyncio.gather(
            put(commit, record(topic, "a", b"x" * 50_000)),
            put(commit, record(topic, "a", b"in the same batch")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in refused] == [Unavailable, Unavailable]
        assert producer.replacements == 1
        for number in range(20):
            await put(commit, record(topic, "a", b"after-%d" % number))
        assert producer.replacements == 1
        assert producer.in_flight_bytes == 0
    values = [bytes(got.value or b"") for got in await read_topic(kafka_settings, topic)]
    assert values == [b"before-%d" % n for n in range(5)] + [b"after-%d" % n for n in range(20)]


async def test_design_1_batches_of_other_partitions_under_way_are_acknowledged_and_failures_replace_once(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("refusing")
    await make_topic(kafka_settings, topic, 4, max_message_bytes="20000")
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        sends = [
            producer.send(topic, 0, [record(topic, "a", b"good")]),
            producer.send(topic, 1, [record(topic, "b", b"x" * 50_000)]),
            producer.send(topic, 2, [record(topic, "c", b"x" * 50_000)]),
            producer.send(topic, 3, [record(topic, "d", b"good")]),
        ]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert outcomes[0] is None
        assert outcomes[3] is None
        assert isinstance(outcomes[1], Unavailable)
        assert isinstance(outcomes[2], Unavailable)
        assert producer.replacements == 1
        for partition in range(4):
            await producer.send(topic, partition, [record(topic, "e", b"next")])
    assert sorted(bytes(got.value or b"") for got in await read_topic(kafka_settings, topic)) == sorted(
        [b"good"] * 2 + [b"next"] * 4
    )


async def test_design_1_a_record_over_the_limit_is_refused_before_it_is_appended(
    kafka_settings: KafkaSettings,
) -> None:
    topic = topic_name("limited")
    await make_topic(kafka_settings, topic, 1)
    small = kafka_settings.model_copy(update={"max_message_bytes": 10_000})
    async with open_producer(small, "test", 5, [topic]) as producer:
        with pytest.raises(RecordTooLarge):
            await producer.send(topic, 0, [record(topic, "a", b"x" * 10_000)])
        await producer.send(topic, 0, [record(topic, "a", b"x" * 9_000)])
        assert producer.replacements == 0
    assert len(await read_topic(kafka_settings, topic)) == 1


async def test_a_key_goes_to_the_partition_that_java_gives_it(kafka_settings: KafkaSettings) -> None:
    topic = topic_name("keys")
    await make_topic(kafka_settings, topic, 30)
    async with open_producer(kafka_settings, "test", 5, [topic]) as producer:
        # toPositive(murmur2(key)) % 30 with the hashes of Kafka's own UtilsTest.testMurmur2
        expected = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
        for key, murmur in expected.items():
            assert producer.partition_for(topic, key) == (murmur & 0x7FFFFFFF) % 30


async def test_a_topic_that_is_not_known_is_our_fault_and_replaces_nothing(kafka_settings: KafkaSettings) -> None:
    async with open_producer(kafka_settings, "test", 4) as producer:
        topic = topic_name("later")
        with pytest.raises(Unavailable):
            producer.partition_for(topic, b"a")
        with pytest.raises(Unavailable):
            await producer.send(topic, 0, [record(topic, "a", b"early")])
        await make_topic(kafka_settings, topic, 1)
        await producer.send(topic, 0, [record(topic, "a", b"late")])
        assert producer.partition_for(topic, b"a") == 0
        assert producer.replacements == 0


async def test_design_9_sensitive_records_are_acknowledged_before_the_sign_in_is_submitted(
    kafka_settings: KafkaSettings,
) -> None:
    await ensure_topics(kafka_settings, 60)
    run = next(_runs)
    order: list[str] = []

    class Watched:
        """Notes when a batch is handed over and when it is acknowledged."""

        def __init__(self, name: str, producer: BatchProducer) -> None:
            self.max_batch_bytes = producer.max_batch_bytes
            self.partition_for = producer.partition_for
            self._name, self._producer = name, producer

        async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
            order.append(f"{self._name} submitted")
            await self._producer.send(topic, partition, records)
            order.append(f"{self._name} acknowledged")

    async with (
        open_producer(kafka_settings, "sign-ins", 5, [SIGN_IN_TOPIC]) as sign_ins,
        open_producer(kafka_settings, "sensitive", 5, [SENSITIVE_TOPIC]) as sensitive,
    ):
        commit = GroupCommit(Watched("sign-in", sign_ins), Watched("sensitive", sensitive), BOUNDS)
        await commit.publish(
            record(SIGN_IN_TOPIC, f"sn-{run}", b"event"),
            [record(SENSITIVE_TOPIC, f"sn-{run}", b"picture"), record(SENSITIVE_TOPIC, f"sn-{run}", b"details")],
            deadline(),
        )
        order.append("answered")
    assert order == [
        "sensitive submitted",
        "sensitive acknowledged",
        "sign-in submitted",
        "sign-in acknowledged",
        "answered",
    ]
    mine = f"sn-{run}".encode()
    stored = [bytes(got.value or b"") for got in await read_topic(kafka_settings, SENSITIVE_TOPIC) if got.key == mine]
    assert stored == [b"picture", b"details"]
    assert [got.value for got in await read_topic(kafka_settings, SIGN_IN_TOPIC) if got.key == mine] == [b"event"]


async def test_e6_a_hanging_broker_gets_500_01_in_time_and_is_used_again_within_5_seconds(
    kafka_settings: KafkaSettings, kafka_part: KafkaPart
) -> None:
    await ensure_topics(kafka_settings, 60)
    run = next(_runs)
    loop = asyncio.get_running_loop()
    bounds = CommitBounds(
        gather_seconds=0.003,
        batch_records=500,
        batch_bytes=1024 * 1024,
        max_in_flight_sign_ins=300,
        max_in_flight_bytes=8 * 1024 * 1024,
    )
    acknowledged: set[bytes] = set()
    numbers = itertools.count(1)
    slowest = 0.0

    async with (
        open_producer(kafka_settings, "sign-ins", 5, [SIGN_IN_TOPIC]) as sign_ins,
        open_producer(kafka_settings, "sensitive", 5, [SENSITIVE_TOPIC]) as sensitive,
    ):
        commit = GroupCommit(sign_ins, sensitive, bounds)
        refused_at_once = 0

        async def sign_in(with_picture: bool) -> bool:
            nonlocal slowest, refused_at_once
            value = b"%d-%d" % (run, next(numbers))
            key = f"sn-{int(value.split(b'-')[1]) % 50}"
            pictures = [record(SENSITIVE_TOPIC, key, b"p" * 30_000)] if with_picture else []
            started = loop.time()
            try:
                await commit.publish(record(SIGN_IN_TOPIC, key, value), pictures, started + 5)
            except Unavailable as error:
                refused_at_once += "under way" in str(error)
                return False
            else:
                acknowledged.add(value)
                return True
            finally:
                slowest = max(slowest, loop.time() - started)

        assert await asyncio.gather(*(sign_in(n % 2 == 0) for n in range(20))) == [True] * 20

        kafka_part.suspend()
        suspended = loop.time()
        tasks: set[asyncio.Task[bool]] = set()
        try:
            while loop.time() - suspended < 20:
                for number in range(10):
                    tasks.add(asyncio.ensure_future(sign_in(number % 2 == 0)))
                assert commit.in_flight_sign_ins <= bounds.max_in_flight_sign_ins
                assert commit.in_flight_bytes <= bounds.max_in_flight_bytes
                # one batch a partition at most is held beyond what waits
                assert sign_ins.in_flight_bytes <= 3 * bounds.batch_bytes
                assert sensitive.in_flight_bytes <= 3 * bounds.batch_bytes
                await asyncio.sleep(0.05)
            done = [task.result() for task in tasks if task.done()]
            assert len(done) > 500
            assert not any(done)
            assert refused_at_once > 0
        finally:
            kafka_part.resume()
        resumed = loop.time()
        assert slowest < 5.5

        recovered_after = 0.0
        while not await sign_in(with_picture=True):
            assert loop.time() - resumed < 5
            await asyncio.sleep(0.05)
        recovered_after = loop.time() - resumed
        assert recovered_after < 5
        await asyncio.gather(*tasks)
        assert await asyncio.gather(*(sign_in(n % 2 == 0) for n in range(100))) == [True] * 100
        assert commit.in_flight_sign_ins == 0
        assert commit.in_flight_bytes == 0
        print(f"recovered {recovered_after:.2f} s after SIGCONT, slowest answer {slowest:.2f} s")

    stored = {bytes(got.value or b"") for got in await read_topic(kafka_settings, SIGN_IN_TOPIC)}
    assert acknowledged <= stored


async def test_a_broker_that_is_away_at_the_start_does_not_stop_the_producer_from_opening(
    kafka_settings: KafkaSettings, kafka_part: KafkaPart
) -> None:
    topic = topic_name("away")
    await make_topic(kafka_settings, topic, 1)
    kafka_part.suspend()
    try:
        async with open_producer(kafka_settings, "test", 1, [topic]) as producer:
            with pytest.raises(Unavailable):
                await producer.send(topic, 0, [record(topic, "a", b"early")])
            kafka_part.resume()
            loop = asyncio.get_running_loop()
            resumed = loop.time()
            while loop.time() - resumed < 10:
                try:
                    await producer.send(topic, 0, [record(topic, "a", b"late")])
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            else:
                pytest.fail("the producer did not start after the broker came back")
    finally:
        kafka_part.resume()
    assert [got.value for got in await read_topic(kafka_settings, topic)] == [b"late"]
