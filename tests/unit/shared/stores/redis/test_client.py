"""How commands to Redis are packed: as redis-py's own connection does it in Python, byte for byte."""

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import DataError

from shared.runtime.settings import RedisSettings
from shared.stores.redis.client import open_redis


def made_connection(client: Redis) -> AbstractConnection:
    connection: AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    return connection


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("CONFIG GET", "maxmemory"),
        ("EVALSHA", "a" * 40, 2, "token-of:设备", "", b"\x00\r\n$3\r\n\xff", -5, 1.5),
        ("SET", "large", b"x" * 100_000, "PX", 1800000),
    ],
    ids=["one word", "two words in one", "texts, bytes and numbers", "large"],
)
async def test_commands_are_packed_as_the_client_packs_them_in_python(
    scheme: str, command: tuple[str | bytes | int | float, ...]
) -> None:
    expected = b"".join(Connection().pack_command(*command))
    async with open_redis(RedisSettings(url=SecretStr(f"{scheme}://127.0.0.1:1"))) as client:
        connection = made_connection(client)
        assert b"".join(connection.pack_command(*command)) == expected
        assert b"".join(connection.pack_commands([command, command])) == 2 * expected


async def test_what_redis_has_no_form_for_is_refused() -> None:
    async with open_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1"))) as client:
        with pytest.raises(DataError):
            made_connection(client).pack_command("SET", "key", None)  # type: ignore[arg-type]  # that is the point
