"""A running platform with simulated terminals that a real Prometheus watches by the project's rules."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.guard import Guard
from stack.process import Process
from stack.server import wait_ready
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import open_operators
from tests.support.prometheus import Prometheus

NAMESPACE = "site-access"
FLEET_SECONDS = 10.0


@dataclass(frozen=True)
class Monitored:
    """The platform, and who watches it."""

    stack: RunningStack
    prometheus: Prometheus

    async def active(self, *states: str) -> set[str]:
        """Names of the alerts that are in one of the states: pending, firing."""
        active = await asyncio.to_thread(self.prometheus.alerts)
        return {alert["labels"]["alertname"] for alert in active if alert["state"] in states}


def scrapes(admin: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What to read, with the labels that the PodMonitor gives: job, namespace, pod."""
    return [
        {
            "job_name": service,
            "static_configs": [
                {
                    "targets": [url.removeprefix("http://")],
                    "labels": {"namespace": NAMESPACE, "pod": f"{service}-{number}"},
                }
                for number, url in enumerate(urls)
            ],
        }
        for service, urls in admin.items()
    ]


@contextmanager
def watched(
    stack: RunningStack, folder: Path, guard: Guard, rules: Mapping[str, Any], interval: str
) -> Iterator[Prometheus]:
    """A Prometheus that reads every process of a running stack."""
    prometheus = Prometheus(folder, guard, scrapes(stack.admins()), rules, interval)
    prometheus.start()
    try:
        wait_ready([prometheus])
        yield prometheus
    finally:
        prometheus.process.stop(FLEET_SECONDS)


@contextmanager
def fleet(stack: RunningStack, guard: Guard, vendor: Vendor, *options: str) -> Iterator[Process]:
    """Simulated terminals at work."""
    arguments = ["--tcp", ":".join(map(str, stack.tcp)), "--https", stack.https, "--ca", str(stack.ca)]
    arguments += ["--access-id", vendor.access_id, "--access-key", vendor.access_key, *options]
    process = Process(
        "fleet",
        [sys.executable, "-m", "terminal_simulator", *arguments],
        log_file=stack.directory / "logs" / "fleet.log",
        guard=guard,
        environment={"TERMINAL_SIMULATOR_ACCESS_SECRET": vendor.access_secret},
    )
    process.start()
    try:
        yield process
    finally:
        process.stop(FLEET_SECONDS)


def new_vendor(stack: RunningStack, name: str) -> Vendor:
    """A vendor of the platform, for those who have no event loop."""

    async def make() -> Vendor:
        async with open_operators(stack.console, stack.admin_token) as operators:
            return (await operators.create_vendor(name))[1]

    return asyncio.run(make())
