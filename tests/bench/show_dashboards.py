"""Prints what a real Prometheus answers to every query of every dashboard, after a minute of simulated terminals on a
platform of its own.

    .venv/bin/python -m tests.bench.show_dashboards [--seconds 60] [--terminals 50]
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stack.guard import Guard
from tests.fixtures.stack import RunningStack
from tests.support.fault_scene import Scene, everyday_business
from tests.support.monitored_platform import Monitored, fleet, new_vendor, watched
from tests.support.monitoring import filled_in, panels, rule_file
from tests.support.operators import open_operators
from tests.support.prometheus import Prometheus, Sample

INTERVAL = "1s"
RATE_INTERVAL = "15s"
SERIES_SHOWN = 12
AT_A_SITE = 10


def shown(prometheus: Prometheus) -> Iterator[str]:
    """The panels, each with its queries and their answers."""
    dashboard = ""
    for panel in panels():
        if panel.dashboard != dashboard:
            dashboard = panel.dashboard
            yield f"\n═══ {dashboard} ═══"
        yield f"\n{panel.title}"
        for expression in panel.expressions:
            asked = filled_in(expression, RATE_INTERVAL)
            found = prometheus.query(asked)
            yield f"  {asked}"
            yield from (f"    {line(sample)}" for sample in found[:SERIES_SHOWN])
            if len(found) > SERIES_SHOWN:
                yield f"    … {len(found)} series"
            if not found:
                yield "    (no series)"


def line(sample: Sample) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "__name__")
    return f"{sample.value:>14.6g}  {labels}"


async def business(stack: RunningStack, prometheus: Prometheus, seconds: float) -> None:
    """What simulated terminals do not do by themselves, for so long; after half of it some of them stand at a site."""
    async with (
        open_operators(stack.console, stack.admin_token) as operators,
        everyday_business(Scene(Monitored(stack, prometheus), operators)),
    ):
        await asyncio.sleep(seconds / 2)
        site = await operators.create_site()
        for number in range(1, AT_A_SITE + 1):
            await operators.change_device(f"SIM{number:05}", siteId=site)
        await asyncio.sleep(seconds / 2)


def main() -> None:
    """Starts a platform, watches it, prints."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--terminals", type=int, default=50)
    chosen = options.parse_args()
    guard = Guard()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        stack = RunningStack(
            folder / "run",
            guard,
            ["up", "--synthetic"],
            SYNTHETIC_TERMINAL_INTERVAL_SECONDS="5",
            SESSION_SITE_DEVICES_SECONDS="5",
        )
        stack.start()
        try:
            terminals = ["--terminals", str(chosen.terminals), "--sign-ins-per-minute", "12"]
            with (
                fleet(stack, guard, new_vendor(stack, "simulated terminals"), *terminals),
                watched(stack, folder / "prometheus", guard, rule_file(), INTERVAL) as prometheus,
            ):
                asyncio.run(business(stack, prometheus, chosen.seconds))
                print(f"{chosen.terminals} terminals, {chosen.seconds:g} s")
                print("\n".join(shown(prometheus)))
        finally:
            stack.process.stop(60)
            guard.close()


if __name__ == "__main__":
    main()
