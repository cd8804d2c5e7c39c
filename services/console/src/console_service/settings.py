"""Settings of the console, CONSOLE_*."""

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings

LEAST_RECORDS_DAYS = 30


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
    token_remembered_ms: int = Field(
        1000, ge=0, le=2000, description="How long an operator's token opens the console after it was revoked, at most"
    )
    session_url: str = Field("http://127.0.0.1:7100", description="Where session is reached, http://host:port")
    session_token: SecretStr = Field(min_length=32, description="What session has as SESSION_INTERNAL_TOKEN")
    session_timeout_ms: int = Field(4000, gt=0, description="Deadline of one call to session (design rule 12)")
    public_base_url: str = Field(
        "http://127.0.0.1:8080", description="How operators reach this console; links in answers begin with it"
    )
    device_base_url: str = Field(
        "https://127.0.0.1:8443",
        description="How terminals reach task-api: links in the tasks that are pushed begin with it",
    )
    request_deadline_seconds: float = Field(10.0, gt=0, description="Longest time that one answer may take")
    max_body_bytes: int = Field(65_536, gt=0, description="Largest body of a request; 413 beyond it")
    planner_seconds: float = Field(1, gt=0, description="Pause between looks for devices whose roster is to be planned")
    roster_settle_seconds: float = Field(
        1, ge=0, description="How long after a change the rosters that it is about are planned: others may follow"
    )
    roster_sweep_seconds: float = Field(
        300, gt=0, description="How often it is looked for tasks of rosters that ended without anybody's saying so"
    )
    erasure_seconds: float = Field(
        10, gt=0, description="How often it is looked for persons whose deletion was not carried through"
    )
    pictures_kept_days: int = Field(
        180,
        ge=0,
        description="How long pictures, iris data and unknown members of attendances are kept, from their receipt; 0: "
        "for ever",
    )
    records_kept_days: int = Field(
        0,
        ge=0,
        description="How long whole attendances are kept, from their receipt; 0: for ever, because wages are computed "
        "from them. Else at least 30, and no less than pictures",
    )
    retention_seconds: float = Field(
        3600, gt=0, description="How often it is looked whether something has been kept long enough; it is once a day"
    )
    max_firmware_bytes: int = Field(
        536_870_912,
        gt=0,
        description="Largest upload of a firmware package, its form included; 413 beyond it. "
        "Two at once lie in the directory for temporary files",
    )
    campaigns_seconds: float = Field(1, gt=0, description="How often firmware campaigns are carried on")
    max_live_connections: int = Field(
        100, gt=0, description="Most connections that look on at /live at once, in this process; 503 beyond it"
    )
    max_exports: int = Field(4, gt=0, description="Most exports at once, in this process; 503 beyond it")

    @model_validator(mode="after")
    def _records_outlive_pictures(self) -> Self:
        if self.records_kept_days:
            # Terminals upload for weeks what they recorded offline, and what is older than this is not stored.
            if self.records_kept_days < LEAST_RECORDS_DAYS:
                raise ValueError(f"records_kept_days must be 0 or at least {LEAST_RECORDS_DAYS}")
            if not 0 < self.pictures_kept_days <= self.records_kept_days:
                raise ValueError("pictures_kept_days must not be longer than records_kept_days")
        return self

    @field_validator("admin_token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr) -> SecretStr:
        if re.fullmatch(r"[\x21-\x7e]*", token.get_secret_value()) is None:
            raise ValueError("a header and a cookie take visible ASCII characters alone")
        return token
