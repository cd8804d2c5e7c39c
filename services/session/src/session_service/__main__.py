"""python -m session_service"""

import asyncio
import sys

import uvloop

from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.runtime.lifecycle import run_service
from shared.runtime.logging import configure_logging
from shared.runtime.settings import (
    KafkaSettings,
    LoggingSettings,
    MongoSettings,
    PresenceSettings,
    RedisSettings,
    SealingSettings,
    TelemetrySettings,
    read_settings,
)


def main() -> int:
    """Runs the session service until it is told to stop; returns the exit code."""
    settings = read_settings(SessionSettings)
    mongo, redis = read_settings(MongoSettings), read_settings(RedisSettings)
    sealing, kafka, presence = (
        read_settings(SealingSettings),
        read_settings(KafkaSettings),
        read_settings(PresenceSettings),
    )
    configure_logging("session", read_settings(LoggingSettings).level)
    service = open_session(settings, mongo, redis, sealing, kafka, presence, read_settings(TelemetrySettings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_service("session", service))


if __name__ == "__main__":
    sys.exit(main())
