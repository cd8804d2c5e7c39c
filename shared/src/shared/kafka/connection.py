"""How any client of ours reaches the broker: security and authentication from KafkaSettings, nothing else."""

from typing import Any

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
