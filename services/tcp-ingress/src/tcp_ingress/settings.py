"""TCP_INGRESS_*: everything that can be set of this service. Kafka, Redis, keys and logs: shared.runtime.settings."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class IngressSettings(Settings):
    """TCP_INGRESS_*."""

    model_config = SettingsConfigDict(env_prefix="TCP_INGRESS_")

    host: str = Field("0.0.0.0", description="Address that terminals connect to")  # noqa: S104 (terminals come from outside)
    port: int = Field(7000, description="Port without TLS; 0: none. Processes on one machine share it (SO_REUSEPORT)")
    tls_port: int = Field(0, description="Port with TLS 1.2 or newer; 0: none")
    tls_cert_file: str | None = Field(None, description="PEM file of the server's certificate chain")
    tls_key_file: str | None = Field(None, description="PEM file of the server's key")
    admin_host: str = Field("127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(0, description="Port of /healthz, /readyz and /metrics; 0: a free one, which is logged")
    proxy_trusted_networks: str = Field(
        "",
        description="Networks (CIDR, separated by commas) of load balancers that put a PROXY protocol header (version "
        "1 or 2) before every connection, before TLS too. Without one their connections are closed; from any other "
        "address a header is a broken frame. Empty: no headers are read",
    )
    session_url: str = Field("http://127.0.0.1:7100", description="Where the session service answers")
    session_token: SecretStr = Field(description="Bearer token for the session service (its SESSION_INTERNAL_TOKEN)")

    max_frame_bytes: int = Field(4 * 1024 * 1024, description="Largest frame (F3)", ge=1024)
    max_unanswered: int = Field(64, description="Unanswered requests of a connection at which reading stops (F6)", ge=1)
    max_connections: int = Field(20_000, description="Connections of a process; more are refused")
    max_connections_per_address: int = Field(1_000, description="Connections of one address; more are refused")
    max_held_bytes: int = Field(
        256 * 1024 * 1024,
        description="Bytes of half frames and of requests at work in a process, at which large senders are not read",
    )
    half_frame_seconds: float = Field(30, description="How long half a frame may stay half, plus its size at the rate")
    half_frame_bytes_per_second: float = Field(
        8 * 1024, description="Slowest rate of a frame that is still awaited", gt=0
    )
    unauthenticated_seconds: float = Field(60, description="Age at which a connection without any success is closed")
    idle_seconds: float = Field(300, description="Time since the last success after which a connection is closed")
    write_seconds: float = Field(30, description="How long a peer may leave its answers unread before it is cut off")
    max_age_hours: float = Field(
        6, gt=0, description="Age at which a connection leaves as in a drain, give or take a quarter at random"
    )
    notice_seconds: float = Field(
        5, ge=0, description="When the service stops: how long it goes on accepting, until load balancers have noticed"
    )
    drain_connections_per_second: float = Field(
        500, gt=0, description="Then: how many connections leave a second; more where the grace time demands it"
    )
    grace_seconds: float = Field(
        60, description="Then: time from the signal at which what is still unanswered is cut, notice and drain included"
    )

    request_deadline_seconds: float = Field(5, description="Time from receipt to 500_01, whatever hangs (E6)")
    auth_group_ms: float = Field(3, description="C_AUTHs that arrive within this time are one call to session")
    auth_group_size: int = Field(100, description="Most C_AUTHs of one call to session")
    auth_groups_in_flight: int = Field(4, description="Most calls to session at once")
    auth_max_waiting: int = Field(5_000, description="C_AUTHs that may wait; more are answered 500_01 at once")
    session_group_ms: float = Field(2, description="Unknown tokens that arrive within this time are one Redis call")
    session_cache_size: int = Field(50_000, description="Sessions kept in the process; the least used go first")
    max_listed_tasks: int = Field(50, description="Task ids that a heartbeat lists at most (M7)", ge=1)
    redis_grace_seconds: float = Field(60, description="How long cached sessions are served while Redis is away")
    presence_seconds: float = Field(
        1, description="How often Redis is told whose requests were accepted: presence and tokens' lives, in one call"
    )
    presence_skew_seconds: float = Field(5, description="Change of a terminal's clock skew that is told as an event")
    skew_alert_seconds: float = Field(
        60,
        gt=0,
        description="By how much a clock is off that tcp_ingress_skewed_devices counts; below the clock window",
    )
    presence_refresh_seconds: float = Field(
        300, description="How often a device that is online, and of which nothing changed, is told of again"
    )
    time_window_seconds: int = Field(
        600, description="Clock window where neither vendor nor device has a wider one (E3)"
    )

    commit_gather_ms: float = Field(3, description="How long sign-ins gather for one batch a partition")
    commit_batch_records: int = Field(500, description="Records at which a batch goes at once", ge=1)
    commit_batch_bytes: int = Field(1024 * 1024, description="Bytes at which a batch goes at once")
    max_in_flight_sign_ins: int = Field(10_000, description="Sign-ins on the way to Kafka; more get 500_01 at once")
    max_in_flight_bytes: int = Field(
        64 * 1024 * 1024, description="Bytes on the way to Kafka; more get 500_01 at once. Below the broker's 100 MiB"
    )

    @field_validator("proxy_trusted_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @property
    def proxy_networks(self) -> list[IPv4Network | IPv6Network]:
        """proxy_trusted_networks, read."""
        return _networks(self.proxy_trusted_networks)

    @model_validator(mode="after")
    def _grace_has_room(self) -> Self:
        if self.grace_seconds <= self.notice_seconds + self.request_deadline_seconds:
            raise ValueError(
                "TCP_INGRESS_GRACE_SECONDS must be longer than TCP_INGRESS_NOTICE_SECONDS and "
                "TCP_INGRESS_REQUEST_DEADLINE_SECONDS together: what was read last must be answered within it"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls_port and not (self.tls_cert_file and self.tls_key_file):
            raise ValueError("TCP_INGRESS_TLS_PORT needs TCP_INGRESS_TLS_CERT_FILE and TCP_INGRESS_TLS_KEY_FILE")
        if not self.port and not self.tls_port:
            raise ValueError("TCP_INGRESS_PORT and TCP_INGRESS_TLS_PORT are both 0: nothing would be served")
        return self


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
