"""The admin port: health is the loop's lag, readiness the life cycle's, metrics what the process counted."""

import asyncio
import time

import aiohttp
import pytest

from shared.runtime.admin import open_admin
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.metrics import ProcessMetrics


async def test_the_admin_port_tells_health_readiness_and_metrics() -> None:
    lifecycle = Lifecycle()
    metrics = ProcessMetrics("test-service")
    outcomes = {"stored": 2, "refused": 0}
    metrics.counter_by("test_outcomes", "outcome", "Outcomes", outcomes)
    metrics.gauge("test_in_flight", "In flight", lambda: 7)
    async with (
        open_admin(lifecycle, "127.0.0.1", 0, metrics.registry) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        async with client.get("/healthz") as answer:
            assert answer.status == 200
        async with client.get("/readyz") as answer:
            assert answer.status == 503
        lifecycle.ready = True
        async with client.get("/readyz") as answer:
            assert answer.status == 200
        outcomes["stored"] += 3
        async with client.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
    metrics.close()
    assert 'test_outcomes_total{outcome="stored"} 5.0' in lines
    assert 'test_outcomes_total{outcome="refused"} 0.0' in lines
    assert "test_in_flight 7.0" in lines


async def test_design_12_a_process_whose_loop_was_blocked_is_not_alive_until_it_keeps_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.runtime.admin.LAG_INTERVAL_SECONDS", 0.5)
    monkeypatch.setattr("shared.runtime.admin.MAX_LAG_SECONDS", 0.2)
    lifecycle, metrics = Lifecycle(), ProcessMetrics("test-service")
    lifecycle.ready = True
    async with (
        open_admin(lifecycle, "127.0.0.1", 0, metrics.registry) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):

        async def status(path: str) -> int:
            async with client.get(path) as answer:
                return answer.status

        await asyncio.sleep(0)
        assert await status("/healthz") == 200
        time.sleep(1)  # noqa: ASYNC251 -- this is the fault
        assert (await status("/healthz"), await status("/readyz")) == (503, 200)
        await asyncio.sleep(1.1)
        assert await status("/healthz") == 200
    metrics.close()
