"""`python -m attendance_writer`: Kafka into MongoDB."""

import asyncio
import sys

from attendance_writer.settings import WriterSettings
from attendance_writer.wiring import SERVICE, AllSettings, open_writer
from shared.runtime.lifecycle import run_service
from shared.runtime.logging import configure_logging
from shared.runtime.settings import KafkaSettings, LoggingSettings, MongoSettings, TelemetrySettings


def main() -> int:
    """Runs the service; returns the process's exit code."""
    configure_logging(SERVICE, LoggingSettings().level)
    settings = AllSettings(WriterSettings(), KafkaSettings(), MongoSettings(), TelemetrySettings())
    return asyncio.run(run_service(SERVICE, open_writer(settings)))


if __name__ == "__main__":
    sys.exit(main())
