"""`python -m tcp_ingress`: one ingress process."""

import asyncio
import sys

import uvloop

from shared.runtime.lifecycle import run_service
from shared.runtime.logging import configure_logging
from shared.runtime.settings import (
    KafkaSettings,
    LoggingSettings,
    PresenceSettings,
    RedisSettings,
    SealingSettings,
    TelemetrySettings,
    read_settings,
)
from tcp_ingress.settings import IngressSettings
from tcp_ingress.wiring import open_ingress


def main() -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    settings = read_settings(IngressSettings)
    kafka, redis, sealing = read_settings(KafkaSettings), read_settings(RedisSettings), read_settings(SealingSettings)
    configure_logging("tcp-ingress", read_settings(LoggingSettings).level)
    presence, telemetry = read_settings(PresenceSettings), read_settings(TelemetrySettings)
    service = open_ingress(settings, kafka, redis, sealing, presence, telemetry)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_service("tcp-ingress", service))


if __name__ == "__main__":
    sys.exit(main())
