"""SESSION_*: everything that can be set of this service. Redis, MongoDB, keys and logs: shared.runtime.settings."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class SessionSettings(Settings):
    """SESSION_*."""

    model_config = SettingsConfigDict(env_prefix="SESSION_")

    host: str = Field("127.0.0.1", description="Address of the internal HTTP interface; never the device network's")
    port: int = Field(7100, ge=0, le=65535, description="Its port; 0 asks for a free one, which is logged")
    admin_host: str = Field("127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(0, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0: a free one")
    notice_seconds: float = Field(
        5, ge=0, description="When the service stops: how long it goes on accepting, until load balancers have noticed"
    )
    internal_token: SecretStr = Field(
        min_length=32, description="Bearer token that ingress and console send, at least 32 characters"
    )
    request_deadline_seconds: float = Field(
        4.0, gt=0, description="Longest time for a group of C_AUTHs; what is not done by then is answered 500_01"
    )
    max_body_bytes: int = Field(
        16 * 1024 * 1024, gt=0, description="Largest body: a group of C_AUTHs, each with up to 64 KiB of param"
    )
    max_group: int = Field(1_000, gt=0, description="Most C_AUTHs in one group")

    time_window_seconds: int = Field(
        600, gt=0, description="Clock window where neither vendor nor device has another one (E3)"
    )
    register_devices: Literal["open", "known"] = Field(
        "open",
        description="open: a device registers itself by its first C_AUTH; known: only devices entered beforehand",
    )
    auth_failures_max: int = Field(
        30, gt=0, description="Failed C_AUTHs of one address and sn in a window, past which failing ones get 500_01"
    )
    auth_failures_window_seconds: int = Field(60, gt=0, description="Length of that window, from the first failure")
    reassert_seconds: float = Field(
        2.0,
        gt=0,
        description="How often revocations are compared with what Redis holds (design rule 5), and changes of devices "
        "are settled",
    )
    presence_sweep_seconds: float = Field(
        2.0, gt=0, description="How often devices are looked for whose ingress is gone (design rule 6)"
    )
    site_devices_seconds: float = Field(
        30.0,
        gt=0,
        description="How often devices are counted by site for session_site_devices, by one process of several",
    )
