"""The admin port of every service: /healthz, /readyz and /metrics, as text or, where that is accepted, in OpenMetrics'
form, which alone shows exemplars. Nothing else is served here."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shared.runtime.lifecycle import Lifecycle, cancel_and_wait

log = logging.getLogger(__name__)

LAG_INTERVAL_SECONDS = 0.5
MAX_LAG_SECONDS = 10.0


class _LoopLag:
    """Liveness is the event loop's lag (design rule 12): how late the loop is at a fixed beat."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            self.seconds = loop.time() - due


@asynccontextmanager
async def open_admin(lifecycle: Lifecycle, host: str, port: int, registry: CollectorRegistry) -> AsyncIterator[int]:
    """Serves the admin port while the context is open; yields the port (0 asks for a free one)."""
    lag = _LoopLag()

    async def healthz(_request: web.Request) -> web.Response:
        alive = lag.seconds < MAX_LAG_SECONDS
        told = {"loopLagSeconds": round(lag.seconds, 3), "tasks": len(asyncio.all_tasks())}
        return web.json_response(told, status=200 if alive else 503)

    async def readyz(_request: web.Request) -> web.Response:
        return web.json_response({"ready": lifecycle.ready}, status=200 if lifecycle.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # in a thread: thousands of series by site take a second, in which the loop serves others
        body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    watching = lifecycle.spawn(lag.watch(), "loop-lag")
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = runner.addresses[0]
        yield int(address[1])
    finally:
        await cancel_and_wait(watching)
        await runner.cleanup()
