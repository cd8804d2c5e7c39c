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
            told = await answer.json()
        waiting = [asyncio.ensure_future(asyncio.sleep(60)) for _ in range(7)]
        async with client.get("/healthz") as answer:
            assert (await answer.json())["tasks"] == told["tasks"] + 7
        for task in waiting:
            task.cancel()
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


async def test_metrics_are_in_openmetrics_form_for_those_who_accept_it_and_plain_text_for_others() -> None:
    lifecycle, metrics = Lifecycle(), ProcessMetrics("test-service")
    # what Prometheus asks with by default
    prometheus = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    async with (
        open_admin(lifecycle, "127.0.0.1", 0, metrics.registry) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        async with client.get("/metrics", headers={"Accept": prometheus}) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await answer.text()).endswith("# EOF\n")
        for accept in ("*/*", "text/plain", "text/html,*/*;q=0.8"):
            async with client.get("/metrics", headers={"Accept": accept}) as answer:
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert "# EOF" not in await answer.text()
    metrics.close()


async def test_design_12_a_long_scrape_does_not_hold_up_the_loop() -> None:
    lifecycle, metrics = Lifecycle(), ProcessMetrics("test-service")
    turns = 0

    def slow() -> int:
        time.sleep(0.5)
        return 1

    metrics.gauge("test_slow", "Slow", slow)
    async with (
        open_admin(lifecycle, "127.0.0.1", 0, metrics.registry) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        scrape = asyncio.ensure_future(client.get("/metrics"))
        while not scrape.done():
            await asyncio.sleep(0.01)
            turns += 1
        (await scrape).release()
    metrics.close()
    assert turns > 10


async def test_more_series_than_the_sdks_own_limit_keep_their_labels() -> None:
    metrics = ProcessMetrics("test-service")
    metrics.gauge_by("test_sites", "site", "By site", lambda: {f"s{number}": number for number in range(3_000)})
    async with (
        open_admin(Lifecycle(), "127.0.0.1", 0, metrics.registry) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        client.get("/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    metrics.close()
    assert len([line for line in lines if line.startswith("test_sites{")]) == 3_000
    assert 'test_sites{site="s2999"} 2999.0' in lines
