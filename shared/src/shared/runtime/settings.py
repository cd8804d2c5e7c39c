"""Settings that several services have in common, each class with its prefix. A service's own are in its settings.py.

Units stand in the names. Every field has a description: docs/settings.md is checked against them by a test.
"""

import base64
import sys
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every settings class derives from: a refused value is never repeated in the error, it may be a secret."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def read_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Reads the environment; where it is refused, says per variable what is wrong and exits with code 2."""
    try:
        return settings_class()
    except ValidationError as error:
        prefix = settings_class.model_config.get("env_prefix", "")
        for fault in error.errors(include_input=False, include_url=False):
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper()
            print(f"setting {name}: {fault['msg']} (see docs/settings.md)", file=sys.stderr)  # noqa: T201 -- no logger yet
        sys.exit(2)


class KafkaSettings(Settings):
    """KAFKA_*: how the broker is reached, and what its topics are made with."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap: str = Field("127.0.0.1:9092", description="Bootstrap servers, host:port separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How connections to the broker are secured"
    )
    ca_file: str | None = Field(None, description="PEM file of the authority that signed the broker's certificate")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism, where the security protocol is a SASL one"
    )
    sasl_username: str | None = Field(None, description="SASL user")
    sasl_password: SecretStr | None = Field(None, description="SASL password")
    request_timeout_ms: int = Field(
        3000, description="How long one request may take before its leader is left (design rule 1)"
    )
    max_message_bytes: int = Field(
        6_291_456,
        description="Largest record: the frame limit of 4 MiB and its headers fit with room (F3)",
    )
    partitions: int = Field(12, description="Partitions of a topic when it is made")
    replication: int = Field(1, description="Replicas of a topic when it is made")
    min_insync_replicas: int = Field(1, description="min.insync.replicas of a topic when it is made")
    retention_hours: int = Field(168, description="Retention of a topic when it is made")


class RedisSettings(Settings):
    """REDIS_*: how Redis is reached."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss:// URL")
    timeout_ms: int = Field(1000, description="Deadline of one call, connection included (design rule 12)")


class MongoSettings(Settings):
    """MONGO_*: how MongoDB is reached."""

    model_config = SettingsConfigDict(env_prefix="MONGO_")

    url: SecretStr = Field(SecretStr("mongodb://127.0.0.1:27017"), description="mongodb:// or mongodb+srv:// URL")
    database: str = Field("site_access", description="Database name")
    timeout_ms: int = Field(5000, description="Deadline of one call, server selection included (design rule 12)")


class PresenceSettings(Settings):
    """PRESENCE_*: when a device that says nothing is off line (T2). The same for tcp-ingress and session."""

    model_config = SettingsConfigDict(env_prefix="PRESENCE_")

    online_seconds: float = Field(
        60,
        gt=0,
        description="How long a device is online past its last accepted request over TCP; terminals beat so often",
    )
    grace_seconds: float = Field(10, ge=0, description="Grace past that, for a heartbeat that is late (design rule 6)")

    @property
    def silent_ms(self) -> int:
        """Both together."""
        return int((self.online_seconds + self.grace_seconds) * 1000)


class SealingSettings(Settings):
    """SEALING_*: keys for what is sealed at rest (design rule 8)."""

    model_config = SettingsConfigDict(env_prefix="SEALING_")

    keys: SecretStr = Field(
        description="keyId:base64 of 32 bytes, separated by commas; the first seals, all open. "
        "`make sealing-key` prints a new one"
    )

    @field_validator("keys")
    @classmethod
    def _parses(cls, value: SecretStr) -> SecretStr:
        parse_sealing_keys(value.get_secret_value())
        return value

    def parsed(self) -> dict[str, bytes]:
        """Key id to key, the sealing key first."""
        return parse_sealing_keys(self.keys.get_secret_value())


def parse_sealing_keys(text: str) -> dict[str, bytes]:
    """Reads `keyId:base64,…`. Raises ValueError that names the fault and never the key."""
    keys: dict[str, bytes] = {}
    for part in text.split(","):
        key_id, colon, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not colon or not key_id or len(key) != 32:
            raise ValueError("each sealing key must be keyId:base64 of exactly 32 bytes")
        keys[key_id] = key
    return keys


class LoggingSettings(Settings):
    """LOG_*: what is logged."""

    model_config = SettingsConfigDict(env_prefix="LOG_")

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged")


class TelemetrySettings(Settings):
    """OTEL_*: where traces and metrics are sent. These are OpenTelemetry's own names; its SDK reads further ones."""

    model_config = SettingsConfigDict(env_prefix="OTEL_")

    exporter_otlp_endpoint: str | None = Field(
        None,
        description="Base URL of an OTLP collector over HTTP, as http://collector:4318; without it nothing is sent",
    )
    exporter_otlp_timeout: float = Field(3, gt=0, description="Deadline of one export, in seconds")
    traces_sampler_arg: float = Field(
        0.01, ge=0, le=1, description="Share of requests that are traced, decided where a trace begins"
    )
    sdk_disabled: bool = Field(False, description="True: nothing is sent, whatever else is set")
