"""What the writer does where its topic no longer has what it was to read, and that no test is so unwillingly."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.consumer.group_coordinator import GroupCoordinator

from shared.domain.events import SIGN_IN_TOPIC, ConsumedRecord
from shared.kafka.consumer import GroupConsumer, GroupOptions, RecordsLost, open_consumer
from shared.kafka.topics import ensure_topics
from shared.runtime.settings import KafkaSettings, MongoSettings
from tests.support.attendance import RECEIVED_MS, event_record, make_event
from tests.support.waiting import eventually
from tests.support.writers import (
    READ_TOPICS,
    TestWriter,
    delete_all,
    fresh_group,
    opened_database,
    produce,
    running,
    uncommitted,
)


async def test_what_was_deleted_before_it_was_read_is_counted_and_said_and_the_rest_is_stored(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="deleted")) for _ in range(7)])
    await delete_all(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="deleted")) for _ in range(3)])
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        await eventually(lambda: writer.counts.stored == 3)
        assert writer.counts.lost == 7
    assert "no longer has offset" in caplog.text
    assert await uncommitted(kafka_settings, group_id) == 0


async def test_what_was_lost_is_passed_over_for_good_though_nothing_comes_after_it(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="deleted")) for _ in range(7)])
    await delete_all(kafka_settings)
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually(lambda: writer.counts.lost == 7)
        assert await uncommitted(kafka_settings, group_id) == 0


async def test_a_loss_that_is_met_while_the_caller_is_busy_is_said_by_the_next_poll(
    kafka_settings: KafkaSettings,
) -> None:
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="busy")) for _ in range(4)])
    await delete_all(kafka_settings)
    options = GroupOptions(
        group_id=group_id,
        topics=READ_TOPICS,
        max_poll_records=10,
        fetch_max_bytes=1_000_000,
        rebalance_timeout_ms=10_000,
    )

    async def keep() -> None:
        """Nothing is held."""

    async with open_consumer(kafka_settings, "test-writer", options, keep) as consumer:
        await asyncio.sleep(2)  # it reads ahead, and meets the loss
        await consumer.stay()
        consumer.resume()
        with pytest.raises(RecordsLost) as caught:
            await first_records(consumer)
        assert caught.value.count == 4


async def first_records(consumer: GroupConsumer) -> Sequence[ConsumedRecord]:
    async with asyncio.timeout(20):
        while not (records := await consumer.poll(0.5)):
            pass
    return records


async def test_a_group_without_offsets_begins_at_the_earliest_record_and_loses_nothing_by_it(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    await ensure_topics(kafka_settings, 60)
    await delete_all(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn=f"first-{number}")) for number in range(20)])
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, f"new-{time.time_ns()}")) as writer:
            await eventually(lambda: writer.counts.stored == 20)
        assert writer.counts.lost == 0


async def test_a_coordinator_that_refuses_to_name_offsets_does_not_have_everything_stored_again(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_topics(kafka_settings, 60)
    await delete_all(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn=f"again-{number}")) for number in range(20)])
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="again"))])
    answer, asked = GroupCoordinator._do_fetch_commit_offsets, set[TopicPartition]()

    async def refuse_first(coordinator: GroupCoordinator, places: Sequence[TopicPartition]) -> object:
        refused = set(places) - asked
        asked.update(places)
        named = await answer(coordinator, places)
        return {place: offset for place, offset in named.items() if place not in refused}

    monkeypatch.setattr(GroupCoordinator, "_do_fetch_commit_offsets", refuse_first)
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        await eventually(lambda: writer.counts.stored > 0)
        await asyncio.sleep(1)
        assert (writer.counts.stored, writer.counts.duplicates, writer.counts.lost) == (1, 0, 0)
    assert asked


async def test_retention_spares_the_records_of_tests_whose_times_are_long_past(kafka_settings: KafkaSettings) -> None:
    await ensure_topics(kafka_settings, 60)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, SIGN_IN_TOPIC)])
    finally:
        await admin.close()
    (retention_ms,) = [int(entry[1]) for entry in answer.resources[0][4] if entry[0] == "retention.ms"]
    assert RECEIVED_MS + retention_ms > time.time() * 1000


async def test_a_coordinator_that_refuses_to_name_offsets_does_not_make_a_group_look_finished(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(make_event(sn="refused")) for _ in range(3)])
    answer = AIOKafkaAdminClient.list_consumer_group_offsets
    refusals: list[dict[str, int]] = [{}, {}]

    async def refuse_first(admin: AIOKafkaAdminClient, group_id: str) -> object:
        return refusals.pop() if refusals else await answer(admin, group_id)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", refuse_first)
    assert await uncommitted(kafka_settings, group_id) == 3
    assert not refusals
