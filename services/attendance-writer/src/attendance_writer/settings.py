"""ATTENDANCE_WRITER_*: the settings of this service alone."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WriterSettings(BaseSettings):
    """ATTENDANCE_WRITER_*."""

    model_config = SettingsConfigDict(env_prefix="ATTENDANCE_WRITER_")

    admin_host: str = Field("127.0.0.1", description="Address of the admin port: health and metrics")
    admin_port: int = Field(9103, description="Admin port; 0 takes a free one, which is logged")
    group_id: str = Field("attendance-writer", description="Kafka consumer group; all writers share it")
    batch_max_records: int = Field(500, ge=1, description="A batch is written when it holds so many records")
    batch_max_bytes: int = Field(
        16_777_216, ge=1, description="A batch is written when it holds so many bytes; also the largest fetch"
    )
    batch_max_age_ms: int = Field(100, ge=1, description="A batch is written when its first record is so old")
    rebalance_timeout_seconds: float = Field(
        20,
        gt=5,
        description="How long the group waits for a writer that stores what it read before it gives up partitions",
    )
    leave_seconds: float = Field(15, gt=0, description="How long a writer that stops may store what it has read")
    dead_letter_deadline_seconds: float = Field(
        5, gt=0, description="Deadline of a dead letter; it is tried again afterwards"
    )
    max_rejected_records: int = Field(
        100, ge=0, description="The writer stops when more than this many of the last records were rejected"
    )
    rejection_window_records: int = Field(1000, ge=1, description="How many records 'the last records' are")
