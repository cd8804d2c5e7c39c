"""python -m console_service"""

import asyncio
import sys

import uvloop

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
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


def main() -> int:
    """Runs the console until it is told to stop; returns the exit code."""
    settings = read_settings(ConsoleSettings)
    mongo = read_settings(MongoSettings)
    redis = read_settings(RedisSettings)
    configure_logging("console", read_settings(LoggingSettings).level)
    sealing, kafka = read_settings(SealingSettings), read_settings(KafkaSettings)
    service = open_console(settings, mongo, redis, sealing, kafka, read_settings(TelemetrySettings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_service("console", service))


if __name__ == "__main__":
    sys.exit(main())
