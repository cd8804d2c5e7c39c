"""Settings of the console, CONSOLE_*."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class ConsoleSettings(Settings):
    """CONSOLE_*: the operators' REST API."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_")

    host: str = Field("127.0.0.1", description="Address that the REST API is served on; never the device network's")
    port: int = Field(8080, ge=0, le=65535, description="Port of the REST API; 0 asks for a free one, which is logged")
    admin_host: str = Field("127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(9105, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0: a free one")
    notice_seconds: float = Field(
        5, ge=0, description="When the service stops: how long it goes on accepting, until load balancers have noticed"
    )
    admin_token: SecretStr = Field(
        min_length=32, description="The first operator's bearer token, at least 32 characters; it may do everything"
    )
    session_url: str = Field("http://127.0.0.1:7100", description="Where session is reached, http://host:port")
    session_token: SecretStr = Field(min_length=32, description="What session has as SESSION_INTERNAL_TOKEN")
    session_timeout_ms: int = Field(4000, gt=0, description="Deadline of one call to session (design rule 12)")
    public_base_url: str = Field(
        "http://127.0.0.1:8080", description="How operators reach this console; links in answers begin with it"
    )
    request_deadline_seconds: float = Field(10.0, gt=0, description="Longest time that one answer may take")
    max_body_bytes: int = Field(65_536, gt=0, description="Largest body of a request; 413 beyond it")
