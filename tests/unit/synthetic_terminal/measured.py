"""A synthetic terminal between a scripted front door and a scripted console, in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from shared.runtime.clock import ManualClock
from synthetic_terminal.front_door import read_address
from synthetic_terminal.metrics import SyntheticTerminalMetrics
from synthetic_terminal.probe import Probe
from synthetic_terminal.settings import SyntheticTerminalSettings
from synthetic_terminal.storage import open_storage

NOW_MS = 1_795_500_000_123
"""2026-11-24T06:00:00Z and a bit: 14:00 in Shanghai."""
SECRET, VIEWER = "the-secret-of-the-vendor", "op_viewer"


class ScriptedConsole:
    """`GET /api/v1/attendance/{eventId}`, answering as the test says."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.stores_everything = False
        self.fault: int | None = None
        self.asked: list[str] = []
        self.tokens: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        event_id = request.match_info["event"]
        self.asked.append(event_id)
        self.tokens.add(request.headers.get("Authorization", ""))
        if self.fault is not None:
            return web.Response(status=self.fault)
        return web.Response(status=200 if self.stores_everything or event_id in self.stored else 404)


@asynccontextmanager
async def console_at_work() -> AsyncIterator[tuple[str, ScriptedConsole]]:
    """Its base URL, and what it does."""
    console = ScriptedConsole()
    app = web.Application()
    app.add_routes([web.get("/api/v1/attendance/{event}", console.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", console
    finally:
        await runner.cleanup()


def settings(**changes: object) -> SyntheticTerminalSettings:
    """Those of a test; waits are generous where a test does not wait for their end."""
    values = {
        "access_id": "access-id",
        "access_key": "access-key",
        "access_secret": SECRET,
        "console_token": VIEWER,
        "sn": "SYNTHETIC0007",
        "answer_timeout_seconds": 30,
        **changes,
    }
    return SyntheticTerminalSettings.model_validate(values)


class Bench:
    """A probe and what it counted."""

    def __init__(self, probe: Probe, metrics: SyntheticTerminalMetrics, clock: ManualClock) -> None:
        self.probe = probe
        self.metrics = metrics
        self.clock = clock

    @property
    def counted(self) -> dict[str, int]:
        """The outcomes that there were."""
        return {outcome: count for outcome, count in self.metrics.outcomes.items() if count}


@asynccontextmanager
async def bench(port: int, console_url: str, **changes: object) -> AsyncIterator[Bench]:
    """A terminal of the front door at the port."""
    chosen = settings(port=port, **changes)
    metrics, clock = SyntheticTerminalMetrics(), ManualClock(NOW_MS)
    address = read_address(chosen.host, chosen.port, tls=False, ca_file=None)
    async with open_storage(console_url, VIEWER) as storage:
        yield Bench(Probe(chosen, address, storage, clock, metrics), metrics, clock)
    metrics.process.close()
