"""Settings of task-api, TASK_API_*."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class TaskApiSettings(Settings):
    """TASK_API_*: the terminals' HTTPS interface."""

    model_config = SettingsConfigDict(env_prefix="TASK_API_")

    host: str = Field("127.0.0.1", description="Address that terminals reach over HTTPS")
    port: int = Field(8443, ge=0, le=65535, description="Port of the HTTPS interface; 0 asks for a free one")
    tls_cert_file: str | None = Field(
        None, description="PEM file of the certificate chain; without one HTTP is served, for a proxy that ends TLS"
    )
    tls_key_file: str | None = Field(None, description="PEM file of the certificate's key")
    public_base_url: str = Field(
        "https://127.0.0.1:8443", description="How terminals reach this service; the links that they are given begin so"
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(9104, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0: a free one")
    notice_seconds: float = Field(
        5, ge=0, description="When the service stops: how long it goes on accepting, until load balancers have noticed"
    )
    max_body_bytes: int = Field(16_777_216, gt=0, description="Largest body of a request (E5); 413 beyond it")
    max_held_bytes: int = Field(
        268_435_456, gt=0, description="Bytes of all bodies held at once; 500_01 beyond it (design rule 7)"
    )
    receive_deadline_seconds: float = Field(60, gt=0, description="How long a body may take to arrive; then 500_01")
    request_deadline_seconds: float = Field(
        5, gt=0, description="How long carrying out a request may take; then 500_01"
    )
    max_downloads: int = Field(
        64, gt=0, description="Faces being downloaded at once, and as many packages; more wait (design rule 7)"
    )
    download_wait_seconds: float = Field(10, gt=0, description="How long a download waits for its turn; then 503")
    redis_grace_seconds: float = Field(
        60, gt=0, description="How long sessions are judged while the control stream cannot be read (design rule 3)"
    )
    index_check_seconds: float = Field(
        1, gt=0, description="Pause between looks at whether Redis lost the pending index"
    )
    index_heal_seconds: float = Field(60, gt=0, description="How often open tasks that the index lacks are looked for")
    expiry_seconds: float = Field(5, gt=0, description="Pause between looks for tasks that have expired")
    push_marks_seconds: float = Field(
        0.5, gt=0, description="Pause between looks for tasks that were pushed, to be marked as delivered"
    )
    outbox_seconds: float = Field(0.5, gt=0, description="Pause between looks for task events to be relayed to Kafka")
    kafka_deadline_seconds: float = Field(5, gt=0, description="How long Kafka may take to acknowledge task events")

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TASK_API_TLS_CERT_FILE and TASK_API_TLS_KEY_FILE go together")
        return self
