"""`python -m shared.kafka.topics` against a real broker."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError

from shared.kafka import topics
from shared.kafka.topics import TOPICS, ensure_topics, main
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable
from tests.support.waiting import eventually


async def test_the_six_topics_are_made_once_and_found_ever_after(kafka_settings: KafkaSettings) -> None:
    await ensure_topics(kafka_settings, 60)
    again = await ensure_topics(kafka_settings, 60)
    assert [report.topic for report in again] == [
        "attendance.sign-in.v1",
        "attendance.sensitive.v1",
        "device.presence.v1",
        "device.task.v1",
        "attendance.dead-letter.v1",
        "attendance.synthetic.v1",
    ]
    assert not any(report.made for report in again)
    assert all(report.partitions == again[0].partitions for report in again)


async def test_a_topic_with_fewer_partitions_is_reported_and_left_as_it_is(kafka_settings: KafkaSettings) -> None:
    found = (await ensure_topics(kafka_settings, 60))[0].partitions
    (first, *_) = await ensure_topics(kafka_settings.model_copy(update={"partitions": found + 1}), 60)
    assert first.partitions == found
    assert str(first) == (
        f"attendance.sign-in.v1: found with {found} partitions, fewer than the {found + 1} of the settings; "
        "left as it is"
    )
    assert (await ensure_topics(kafka_settings, 60))[0].partitions == found


async def described(admin: AIOKafkaAdminClient, topic: str) -> list[tuple[str, str]]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return list(answer.resources[0][4])


async def is_described(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return bool(await described(admin, topic))


async def test_a_made_topic_has_the_partitions_and_the_configuration_of_the_settings(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "TOPICS", ("configured.v1",))
    settings = kafka_settings.model_copy(
        update={"partitions": 3, "retention_hours": 5, "max_message_bytes": 2_000_000, "min_insync_replicas": 1}
    )
    (report,) = await ensure_topics(settings, 60)
    assert str(report) == "configured.v1: made with 3 partitions"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    try:
        # A broker that has just made a topic may not know of it yet.
        await eventually(lambda: is_described(admin, "configured.v1"))
        entries = await described(admin, "configured.v1")
    finally:
        await admin.close()
    configuration = {entry[0]: entry[1] for entry in entries}
    assert configuration["retention.ms"] == str(5 * 3600 * 1000)
    assert configuration["segment.ms"] == "86400000", "a record of a deleted person stays a day longer at most"
    assert configuration["max.message.bytes"] == "2000000"
    assert configuration["min.insync.replicas"] == "1"
    assert configuration["cleanup.policy"] == "delete"


async def retention_hours(kafka_settings: KafkaSettings, topic: str) -> float:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    try:
        await eventually(lambda: is_described(admin, topic))
        entries = await described(admin, topic)
    finally:
        await admin.close()
    return int({entry[0]: entry[1] for entry in entries}["retention.ms"]) / 3_600_000


async def test_synthetic_sign_ins_are_kept_for_a_day_however_long_the_others_are(kafka_settings: KafkaSettings) -> None:
    await ensure_topics(kafka_settings, 60)
    assert await retention_hours(kafka_settings, "attendance.synthetic.v1") == 24
    assert await retention_hours(kafka_settings, "attendance.sign-in.v1") > 24


async def test_f3_the_largest_legal_record_fits_the_topics_and_its_dead_letter_too(
    kafka_settings: KafkaSettings,
) -> None:
    await ensure_topics(kafka_settings, 60)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_settings.bootstrap, max_request_size=7_000_000, acks="all")
    await producer.start()
    try:
        largest = bytes(kafka_settings.max_message_bytes - 200)
        sent = await producer.send_and_wait("device.task.v1", largest)
        assert sent.topic == "device.task.v1"
        why = [("dl_detail", bytes(10_000))]
        sent = await producer.send_and_wait("attendance.dead-letter.v1", largest, headers=why)
        assert sent.topic == "attendance.dead-letter.v1"
    finally:
        await producer.stop()


async def test_more_replicas_than_brokers_is_an_error_at_once(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "TOPICS", ("replicated.v1",))
    with pytest.raises(InvalidReplicationFactorError, match=r"replicated\.v1"):
        await ensure_topics(kafka_settings.model_copy(update={"replication": 3}), 60)


async def test_without_a_broker_the_command_ends_at_its_deadline() -> None:
    with pytest.raises(Unavailable, match=r"topics not made within 0\.5 s"):
        await ensure_topics(KafkaSettings(bootstrap="127.0.0.1:1"), 0.5)


def test_the_command_prints_a_line_for_each_topic_and_exits_0(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka_settings.bootstrap)
    assert main(["--wait-seconds", "60"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(TOPICS)


def test_the_command_says_what_is_wrong_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert main(["--wait-seconds", "0.5"]) == 1
    assert "KafkaConnectionError" in capsys.readouterr().err
