"""The connection to Redis, its deadline, what its errors mean, and every key's name in one place."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from opentelemetry.trace import SpanKind
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import ConnectionPool
from redis.commands.core import AsyncScript
from redis.connection import HiredisRespSerializer

from shared.runtime.settings import RedisSettings
from shared.runtime.telemetry_names import REDIS_SPAN
from shared.runtime.tracing import current_span
from shared.runtime.unavailable import Unavailable

CONTROL_STREAM_KEY = "control"
ENDED_CREDENTIALS_KEY = "ended:credentials"
ENDED_DEVICES_KEY = "ended:devices"
PRESENCE_EPOCHS_KEY = "presence:epochs"
"""Hash: sn to the epoch of the connection that holds or last held it."""
PRESENCE_HOLDERS_KEY = "presence:holders"
"""Hash: sn to what is known of that connection, JSON."""
PRESENCE_SEEN_KEY = "presence:seen"
"""Sorted set of the devices that are online, by the time of the last accepted request."""
PRESENCE_SINCE_KEY = "presence:since"
"""Since when there was no flush."""
PUSHED_TASKS_KEY = "tasks-pushed"
"""Sorted set of the ids of tasks that were pushed and are not marked as delivered yet."""
TASKS_WHOLE_KEY = "tasks-whole"
"""Present while the pending index is known to be whole."""
TASKS_REBUILDING_KEY = "tasks-rebuilding"
"""The mark of the rebuilding under way."""


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


def pending_tasks_key(sn: str) -> str:
    """Ids of the device's tasks that have not ended."""
    return f"tasks:{sn}"


def lock_key(name: str) -> str:
    """Who holds a lock."""
    return f"lock:{name}"


CLOSED_TRANSPORT = "the handler is closed"

_script_names: dict[str, str] = {}
"""By digest, which is what a call names."""


def named_script(redis: Redis, name: str, text: str) -> AsyncScript:
    """A Lua script whose calls are read in traces by this name."""
    script: AsyncScript = redis.register_script(text)
    _script_names[script.sha] = name
    return script


class _PackedInC:
    """Packs commands as redis-py's blocking connection does, by hiredis. Its asyncio connection does it in Python: of a
    C_AUTH that was 7 arguments at the session service and 9 at ingress, and six times as slow (measured)."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as it is sent."""
        packed: list[bytes] = HiredisRespSerializer().pack(*args)
        return packed


class _TracedRedis(Redis):
    """Commands of what is sampled have spans; their arguments, which may be tokens, are never shown."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        span = current_span()
        if span is None:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # as redis-py has it
        command = str(args[0])
        attributes = _attributes(self.connection_pool, command)
        if command == "EVALSHA" and (name := _script_names.get(args[1])) is not None:
            attributes["db.stored_procedure.name"] = name
        with span.child(REDIS_SPAN.format(command=command), SpanKind.CLIENT, attributes):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # as above

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_TracedPipeline":
        """As redis-py's, traced."""
        return _TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _TracedPipeline(Pipeline):
    """What is sent together is one span."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        span = current_span()
        if span is None or not self.command_stack:
            return await super().execute(raise_on_error)
        attributes = {
            **_attributes(self.connection_pool, "PIPELINE"),
            "db.operation.batch.size": len(self.command_stack),
        }
        with span.child(REDIS_SPAN.format(command="PIPELINE"), SpanKind.CLIENT, attributes):
            return await super().execute(raise_on_error)


def _attributes(pool: ConnectionPool, operation: str) -> dict[str, str | int]:
    reached: dict[str, Any] = pool.connection_kwargs
    return {
        "db.system.name": "redis",
        "db.operation.name": operation,
        "db.namespace": str(reached.get("db") or 0),
        "server.address": str(reached.get("host", "")),
        "server.port": int(reached.get("port", 0)),
    }


@asynccontextmanager
async def open_redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    """A client whose every call ends within the deadline (design rule 12)."""
    seconds = settings.timeout_ms / 1000
    client: Redis = _TracedRedis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        health_check_interval=0,
        decode_responses=False,
    )
    pool = client.connection_pool
    pool.connection_class = type("PackedConnection", (_PackedInC, pool.connection_class), {})  # that of TLS or not
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
    except RuntimeError as error:
        # uvloop refuses so to write to a connection that was reset since the loop last looked.
        if CLOSED_TRANSPORT not in str(error):
            raise
        raise Unavailable("Redis: connection reset") from error
