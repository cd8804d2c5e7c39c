"""Half an hour, or longer, of ordinary work: memory, file descriptors, tasks and latency are flat."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stack.http_client import RequestFailed, get
from tests.chaos.evidence import resident_bytes
from tests.chaos.platform import ChaosPlatform
from tests.chaos.reckoning import MANAGED, Reckoning
from tests.chaos.run import Run

SAMPLE_SECONDS = 5.0
SAY_EVERY = 12
WARM_SHARE = 0.25
"""Caches fill, and the JVM compiles: what comes before is no measure."""
MEMORY_SHARE, MEMORY_BYTES = 1.08, 12 * 1024 * 1024
MORE_DESCRIPTORS = 12
MORE_TASKS = 12
LATENCY_SHARE, LATENCY_MS = 1.5, 50.0


@dataclass(frozen=True)
class Sample:
    """One moment of every process."""

    at: float
    memory: dict[str, int]
    descriptors: dict[str, int]
    tasks: dict[str, int]
    latency_ms: float
    """The fleet's 99th percentile in the second before."""


async def soak(platform: ChaosPlatform, run: Run, seconds: float, patience: float) -> Reckoning:
    """Lets a running fleet work; compares the last third with the first after the warm-up."""
    samples: list[Sample] = []
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        await asyncio.sleep(SAMPLE_SECONDS)
        latency = run.latency_ms()
        samples.append(await asyncio.to_thread(_sample, platform, time.monotonic() - began, latency))
        if len(samples) % SAY_EVERY == 0:
            platform.say(_line(samples[-1]))
    result = await run.reckon()
    compare(result, samples, seconds, patience)
    return result


def compare(result: Reckoning, samples: Sequence[Sample], seconds: float, patience: float) -> None:
    """Adds what is not flat."""
    warm = [sample for sample in samples if sample.at >= WARM_SHARE * seconds]
    third = len(warm) // 3
    first, last = warm[:third], warm[-third:]
    if not first:
        result.faults.append("too short to compare")
        return
    for name in warm[-1].memory:
        if not name.startswith(MANAGED):
            before, after = (_median([sample.memory.get(name, 0) for sample in part]) for part in (first, last))
            result.sums[f"{name} KiB before"], result.sums[f"{name} KiB after"] = int(before) >> 10, int(after) >> 10
            if after > before * MEMORY_SHARE + MEMORY_BYTES:
                result.faults.append(f"{name} grew from {int(before) >> 20} to {int(after) >> 20} MiB")
    for what, more in (("descriptors", MORE_DESCRIPTORS), ("tasks", MORE_TASKS)):
        for name in getattr(warm[-1], what):
            before, after = (_median([getattr(sample, what).get(name, 0) for sample in part]) for part in (first, last))
            result.sums[f"{name} {what} before"], result.sums[f"{name} {what} after"] = int(before), int(after)
            if after > before + more:
                result.faults.append(f"{name}: {what} grew from {before:.0f} to {after:.0f}")
    before, after = (_median([sample.latency_ms for sample in part]) for part in (first, last))
    result.sums["latency p99 ms before"], result.sums["latency p99 ms after"] = int(before), int(after)
    if after > before * LATENCY_SHARE * patience + LATENCY_MS:
        result.faults.append(f"latency grew from {before:.0f} to {after:.0f} ms")


def _sample(platform: ChaosPlatform, at: float, latency_ms: float) -> Sample:
    descriptors, tasks = {}, {}
    for name, server in list(platform.servers.items()):
        if server.process.alive:
            descriptors[name] = len(os.listdir(f"/proc/{server.pid}/fd"))  # noqa: PTH208 - a Path for each would be ten thousand
    for name, plan in list(platform.plans.items()):
        try:
            tasks[name] = int(json.loads(get(f"http://127.0.0.1:{plan.admin_port}/healthz"))["tasks"])
        except RequestFailed:
            continue  # the next sample has it
    return Sample(at, resident_bytes(platform), descriptors, tasks, latency_ms)


def _line(sample: Sample) -> str:
    memory = ", ".join(f"{name} {size >> 20}" for name, size in sample.memory.items())
    return (
        f"[{sample.at:6.0f} s] MiB: {memory}; descriptors {sum(sample.descriptors.values())}, tasks "
        f"{sum(sample.tasks.values())}, p99 {sample.latency_ms:.0f} ms"
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
