"""Which scenarios there are, the platform that each is measured on, and the running of them in turns."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import uvloop

from tests.bench.benchmark_stack import OTHERS, BenchmarkStack, benchmark_stack
from tests.bench.device_scenarios import DeviceBench
from tests.bench.echo_server import EchoServer
from tests.bench.results import Row
from tests.bench.span_sink import running_sink
from tests.bench.task_scenarios import TaskBench


class Benches(NamedTuple):
    """What runs on one platform."""

    devices: DeviceBench
    tasks: TaskBench


class Setting(NamedTuple):
    """How a platform differs from others; scenarios of one setting share one."""

    ingress_processes: int = 1
    traced: float | None = None
    """The share of requests that is traced; None where no collector is named at all."""
    own: str = ""
    """A scenario that changes what is stored, or that others leave work for, has a platform of its own."""


class Scenario(NamedTuple):
    """What is measured, and on which platform."""

    run: Callable[[Benches], Awaitable[Row]]
    setting: Setting = Setting()


ONE = Setting()


def _closed_loop(setting: Setting) -> dict[str, Scenario]:
    """What fills a core."""
    return {
        "heartbeat-16": Scenario(lambda bench: bench.devices.heartbeats(16, 2_000), setting),
        "sign-in-16": Scenario(lambda bench: bench.devices.sign_ins(16, 400, with_picture=False), setting),
        "sign-in-picture-4": Scenario(lambda bench: bench.devices.sign_ins(4, 60, with_picture=True), setting),
    }


def _among_terminals(connected: int) -> Scenario:
    return Scenario(lambda bench: bench.devices.among(connected, 800))


def _among_tasks(stored: int) -> Scenario:
    return Scenario(lambda bench: bench.tasks.get_tasks(40, stored=stored), Setting(own=f"tasks-{stored}"))


GROWTH_TERMINALS = (100, 1_000, 10_000)
"""A process has its files for no more where the hard limit is 20,000, as here."""
GROWTH_TASKS = (1, 10_000, 100_000)
TRACED = {"tracing-0": 0.0, "tracing-1": 0.01, "tracing-100": 1.0}

GROWTH = {
    **{f"growth-terminals-{connected}": _among_terminals(connected) for connected in GROWTH_TERMINALS},
    **{f"growth-tasks-{stored}": _among_tasks(stored) for stored in GROWTH_TASKS},
}
SCENARIOS: Mapping[str, Scenario] = {
    "heartbeat-1": Scenario(lambda bench: bench.devices.heartbeats(1, 400)),
    **_closed_loop(ONE),
    "heartbeat-open": Scenario(lambda bench: bench.devices.open_loop("heartbeat", 100, 2_000)),
    "sign-in-open": Scenario(lambda bench: bench.devices.open_loop("sign-in", 100, 2_000)),
    "sign-in-picture-open": Scenario(
        lambda bench: bench.devices.open_loop("sign-in with 30 KB", 30, 300, with_picture=True)
    ),
    "morning": Scenario(lambda bench: bench.devices.morning(110, 1_000)),
    "storm": Scenario(lambda bench: bench.devices.storm(5_000, 200)),
    "idle": Scenario(lambda bench: bench.devices.idle(10_000, 3)),
    "writer": Scenario(lambda bench: bench.devices.writer(200), Setting(own="writer")),
    "get-tasks-new": Scenario(lambda bench: bench.tasks.get_new_tasks(10)),
    "get-tasks": Scenario(lambda bench: bench.tasks.get_tasks(40)),
    "send-person": Scenario(lambda bench: bench.tasks.send_person(40)),
    "post-device-person": Scenario(lambda bench: bench.tasks.post_device_person()),
    **{f"two-{name}": one for name, one in _closed_loop(Setting(ingress_processes=2)).items()},
    **{
        f"{traced}-{name}": one
        for traced, share in TRACED.items()
        for name, one in _closed_loop(Setting(traced=share)).items()
    },
    **GROWTH,
}
LONG = frozenset(GROWTH)
"""Measured only where they are asked for."""


async def _in_turns(
    stack: BenchmarkStack, echo: EchoServer, names: Sequence[str], runs: int, connections: int
) -> dict[str, list[Row]]:
    """Each so many times, in turns, so that a slow minute of the machine meets all of them."""
    devices = DeviceBench(stack, echo, connections)
    await devices.authenticate()
    benches = Benches(devices, TaskBench(stack, devices.lines))
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for number in range(runs):
        for name in names:
            print(f"run {number + 1} of {runs}: {name} …", file=sys.stderr, flush=True)
            rows[name].append(await SCENARIOS[name].run(benches))
    return rows


@contextmanager
def _platform(setting: Setting) -> Iterator[BenchmarkStack]:
    if setting.traced is None:
        with benchmark_stack(setting.ingress_processes, {}) as stack:
            yield stack
        return
    with running_sink(OTHERS) as url:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER_ARG": str(setting.traced)}
        with benchmark_stack(setting.ingress_processes, environment) as stack:
            yield stack


def measure(names: Sequence[str], runs: int, connections: int) -> dict[str, list[Row]]:
    """The rows of each scenario, one a run; platforms come one after another."""
    rows: dict[str, list[Row]] = {}
    echo = EchoServer()
    try:
        for setting in dict.fromkeys(SCENARIOS[name].setting for name in names):
            those = [name for name in names if SCENARIOS[name].setting == setting]
            with _platform(setting) as stack:
                rows |= uvloop.run(_in_turns(stack, echo, those, runs, connections))
    finally:
        echo.close()
    return {name: rows[name] for name in names}
