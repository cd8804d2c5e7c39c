"""`python -m synthetic_terminal`: signs in every minute until it is told to stop."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.runtime.admin import open_admin
from shared.runtime.clock import SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait, run_service
from shared.runtime.logging import configure_logging
from shared.runtime.settings import LoggingSettings, read_settings
from synthetic_terminal.front_door import read_address
from synthetic_terminal.metrics import SyntheticTerminalMetrics
from synthetic_terminal.probe import Probe
from synthetic_terminal.settings import SyntheticTerminalSettings
from synthetic_terminal.storage import open_storage

log = logging.getLogger(__name__)

SERVICE = "synthetic-terminal"


def open_synthetic_terminal(settings: SyntheticTerminalSettings) -> OpenService:
    """How it is opened, for run_service."""

    @asynccontextmanager
    async def opened(lifecycle: Lifecycle) -> AsyncIterator[None]:
        metrics = SyntheticTerminalMetrics()
        address = read_address(settings.host, settings.port, tls=settings.tls, ca_file=settings.tls_ca_file)
        async with (
            open_storage(settings.console_url, settings.console_token.get_secret_value()) as storage,
            open_admin(lifecycle, settings.admin_host, settings.admin_port, metrics.process.registry) as admin_port,
        ):
            log.info("admin port %d", admin_port)
            probe = Probe(settings, address, storage, SystemClock(), metrics)
            working = lifecycle.spawn(probe.run(), "probe")
            try:
                yield
            finally:
                await cancel_and_wait(working)
                metrics.process.close()

    return opened


def main() -> int:
    """Runs it until it is told to stop; returns the exit code."""
    settings = read_settings(SyntheticTerminalSettings)
    configure_logging(SERVICE, read_settings(LoggingSettings).level)
    return asyncio.run(run_service(SERVICE, open_synthetic_terminal(settings)))


if __name__ == "__main__":
    sys.exit(main())
