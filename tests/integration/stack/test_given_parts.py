"""Parts that the environment names: asked before a start, and named by their variable where they do not answer."""

import socket
from collections.abc import Iterator

import pytest

from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from stack.given_parts import wait_for_given_parts
from stack.process import StackError
from stack.redis_part import RedisPart


@pytest.fixture
def refused_port() -> Iterator[int]:
    """Bound, and not listened on: whoever connects is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def test_parts_that_answer_are_waited_for_no_longer(
    kafka_settings: KafkaSettings, redis_settings: RedisSettings, mongo_settings: MongoSettings
) -> None:
    wait_for_given_parts(
        {
            "KAFKA_BOOTSTRAP": kafka_settings.bootstrap,
            "REDIS_URL": redis_settings.url.get_secret_value(),
            "MONGO_URL": mongo_settings.url.get_secret_value(),
        },
        seconds=0,
    )


def test_one_broker_of_several_is_enough(kafka_settings: KafkaSettings, refused_port: int) -> None:
    wait_for_given_parts({"KAFKA_BOOTSTRAP": f"127.0.0.1:{refused_port}, {kafka_settings.bootstrap}"}, seconds=0)


def test_nothing_is_asked_where_nothing_is_named() -> None:
    wait_for_given_parts({"REDIS_URL": "", "PATH": "/bin"}, seconds=0)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("KAFKA_BOOTSTRAP", "127.0.0.1:{port}"),
        ("REDIS_URL", "redis://somebody:s3cret@127.0.0.1:{port}/0"),
        ("MONGO_URL", "mongodb://somebody:s3cret@127.0.0.1:{port}/?directConnection=true"),
    ],
)
def test_a_part_that_refuses_is_told_by_its_variable_and_without_its_password(
    name: str, address: str, refused_port: int
) -> None:
    with pytest.raises(StackError) as told:
        wait_for_given_parts({name: address.format(port=refused_port)}, seconds=0)
    assert name in str(told.value)
    assert "refused" in str(told.value)
    assert str(refused_port) in str(told.value)
    assert "s3cret" not in str(told.value)
    assert "\n" not in str(told.value).partition(name)[2]


def test_every_part_that_fails_is_told_at_once(refused_port: int, redis_settings: RedisSettings) -> None:
    with pytest.raises(StackError) as told:
        wait_for_given_parts(
            {
                "KAFKA_BOOTSTRAP": f"127.0.0.1:{refused_port}",
                "REDIS_URL": redis_settings.url.get_secret_value(),
                "MONGO_URL": f"mongodb://127.0.0.1:{refused_port}",
            },
            seconds=0,
        )
    assert "KAFKA_BOOTSTRAP" in str(told.value)
    assert "MONGO_URL" in str(told.value)
    assert "REDIS_URL" not in str(told.value)


def test_a_part_that_stands_still_is_told_too(redis_settings: RedisSettings, redis_part: RedisPart) -> None:
    redis_part.suspend()
    try:
        with pytest.raises(StackError, match=r"REDIS_URL.*[Tt]imeout"):
            wait_for_given_parts({"REDIS_URL": redis_settings.url.get_secret_value()}, seconds=0)
    finally:
        redis_part.resume()


def test_a_server_of_another_kind_is_no_broker(redis_settings: RedisSettings, redis_part: RedisPart) -> None:
    address = redis_part.url.removeprefix("redis://").removesuffix("/0")
    with pytest.raises(StackError, match="KAFKA_BOOTSTRAP"):
        wait_for_given_parts({"KAFKA_BOOTSTRAP": address}, seconds=0)


def test_a_password_that_redis_refuses_is_told_and_not_repeated(redis_part: RedisPart) -> None:
    address = redis_part.url.replace("redis://", "redis://somebody:s3cret@")
    with pytest.raises(StackError, match="REDIS_URL") as told:
        wait_for_given_parts({"REDIS_URL": address}, seconds=0)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("KAFKA_BOOTSTRAP", "s3cret"),
        ("REDIS_URL", "http://somebody:s3cret@127.0.0.1"),
        ("REDIS_URL", "redis://somebody:s3cret/more@127.0.0.1"),
        ("MONGO_URL", "mongodb://somebody:s3cret/more@127.0.0.1"),
        ("MONGO_URL", "http://somebody:s3cret@127.0.0.1"),
    ],
)
def test_what_is_no_address_is_told_without_waiting_and_without_repeating_it(name: str, address: str) -> None:
    with pytest.raises(StackError, match=f"{name} holds no address") as told:
        wait_for_given_parts({name: address}, seconds=3600)
    assert "s3cret" not in str(told.value)


def test_a_stop_meanwhile_ends_the_wait(refused_port: int) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for_given_parts({"REDIS_URL": f"redis://127.0.0.1:{refused_port}"}, stop, seconds=3600)


def test_a_part_that_comes_later_is_waited_for(redis_part: RedisPart) -> None:
    """The first attempts are refused; then the server is there."""
    address = redis_part.url
    redis_part.kill()
    attempts = 0

    def start_at_the_second_attempt() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            redis_part.restart()

    wait_for_given_parts({"REDIS_URL": address}, start_at_the_second_attempt, seconds=10)
    assert attempts >= 2
