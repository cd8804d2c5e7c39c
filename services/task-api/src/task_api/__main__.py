"""python -m task_api"""

import asyncio
import sys

import uvloop

from shared.runtime.lifecycle import run_service
from shared.runtime.logging import configure_logging
from shared.runtime.settings import (
    KafkaSettings,
    LoggingSettings,
    MongoSettings,
    RedisSettings,
    SealingSettings,
    TelemetrySettings,
    read_settings,
)
from task_api.settings import TaskApiSettings
from task_api.wiring import open_task_api


def main() -> int:
    """Runs task-api until it is told to stop; returns the exit code."""
    settings = read_settings(TaskApiSettings)
    mongo, redis = read_settings(MongoSettings), read_settings(RedisSettings)
    kafka, sealing = read_settings(KafkaSettings), read_settings(SealingSettings)
    configure_logging("task-api", read_settings(LoggingSettings).level)
    service = open_task_api(settings, mongo, redis, kafka, sealing, read_settings(TelemetrySettings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_service("task-api", service))


if __name__ == "__main__":
    sys.exit(main())
