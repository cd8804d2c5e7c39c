"""The connection to Redis, its deadline, what its errors mean, and every key's name in one place."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from redis import exceptions
from redis.asyncio import Redis

from shared.runtime.settings import RedisSettings
from shared.runtime.unavailable import Unavailable

CONTROL_STREAM_KEY = "control"
ENDED_CREDENTIALS_KEY = "ended:credentials"
ENDED_DEVICES_KEY = "ended:devices"


def session_key(token: str) -> str:
    """The session, MessagePack."""
    return f"session:{token}"


def device_token_key(sn: str) -> str:
    """The current token of a device."""
    return f"token-of:{sn}"


def replay_key(sign_digest: str) -> str:
    """Present while a sign was accepted within its window (E4)."""
    return f"replay:{sign_digest}"


def auth_failures_key(source: str) -> str:
    """Count of failed C_AUTHs of an address and sn (design rule 7)."""
    return f"auth-failures:{source}"


@asynccontextmanager
async def open_redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    """A client whose every call ends within the deadline (design rule 12)."""
    seconds = settings.timeout_ms / 1000
    client: Redis = Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        health_check_interval=0,
        decode_responses=False,
    )
    try:
        yield client
    finally:
        await client.aclose()


@contextmanager
def redis_faults() -> Iterator[None]:
    """Turns every fault of Redis into Unavailable: nothing that Redis says is the device's fault (design rule 3)."""
    try:
        yield
    except (exceptions.RedisError, TimeoutError, OSError) as error:
        raise Unavailable(f"Redis: {type(error).__name__}") from error
