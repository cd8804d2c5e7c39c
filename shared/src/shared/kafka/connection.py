"""How any client of ours reaches the broker: security and authentication from KafkaSettings, nothing else."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.helpers import create_ssl_context

from shared.runtime.settings import KafkaSettings


def connection_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """The arguments that every aiokafka client takes alike."""
    secured = settings.security_protocol in ("SSL", "SASL_SSL")
    return {
        "bootstrap_servers": settings.bootstrap,
        "client_id": client_id,
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": settings.security_protocol,
        "ssl_context": create_ssl_context(cafile=settings.ca_file) if secured else None,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password.get_secret_value() if settings.sasl_password else None,
    }


def _as_connection_error(send: Callable[..., Any]) -> Callable[..., Any]:
    """To a transport that was reset meanwhile uvloop refuses to write by RuntimeError. aiokafka 0.14 expects OSError
    alone: its task for metadata, or the one that sends, ended without a word, and a producer never sent again."""

    @wraps(send)
    def sending(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
        try:
            return send(connection, *arguments, **options)
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"connection was reset: {error}") from error

    return sending


# No client of ours is made but by the options above, so that none misses it.
AIOKafkaConnection.send = _as_connection_error(AIOKafkaConnection.send)
AIOKafkaConnection._send_sasl_token = _as_connection_error(AIOKafkaConnection._send_sasl_token)
