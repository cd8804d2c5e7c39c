"""SYNTHETIC_TERMINAL_*: where the front door and the console are, and what the terminal authenticates with."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class SyntheticTerminalSettings(Settings):
    """SYNTHETIC_TERMINAL_*."""

    model_config = SettingsConfigDict(env_prefix="SYNTHETIC_TERMINAL_")

    host: str = Field("127.0.0.1", description="Where terminals connect: the front door that is measured")
    port: int = Field(7000, ge=1, le=65535, description="Its port")
    tls: bool = Field(False, description="Whether that port speaks TLS")
    tls_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed its certificate; none: the system's authorities"
    )
    access_id: str = Field(min_length=1, description="accessId of the synthetic vendor")
    access_key: SecretStr = Field(min_length=1, description="Its accessKey")
    access_secret: SecretStr = Field(min_length=1, description="Its accessSecret")
    sn: str = Field(
        "SYNTHETIC0001", min_length=1, max_length=64, description="The terminal's serial number, one a front door"
    )
    interval_seconds: float = Field(60, gt=0, description="How often it signs in")
    console_url: str = Field("http://127.0.0.1:8080", description="Base URL of the console, which tells what is stored")
    console_token: SecretStr = Field(min_length=1, description="Bearer token of a viewer without sites")
    answer_timeout_seconds: float = Field(
        10, gt=0, description="How long connecting may take, and then each answer, before it counts as none"
    )
    stored_timeout_seconds: float = Field(
        60, gt=0, description="How long after its frame a sign-in may take to be stored before it counts as not stored"
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin port: health and metrics")
    admin_port: int = Field(9108, description="Admin port; 0 takes a free one, which is logged")
