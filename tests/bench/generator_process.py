"""Builds the load generator (tests/bench/generator, Go) and runs it on one core; says what it measured."""

import asyncio
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent / "generator"
BUILT = Path(__file__).parents[2] / ".cache" / "bench" / "generator"
LOCAL_ADDRESSES = 20
"""Loopback addresses that connections come from: one has 28,000 ports, and a server 1,000 connections an address."""


@dataclass(frozen=True)
class Load:
    """What the generator says of one run."""

    operations: int
    refused: int
    unanswered: int
    seconds: float
    generator_cpu_seconds: float
    milliseconds: dict[str, float] = field(default_factory=dict)
    """p50, p90, p99, p99.9 and max of single requests."""

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.operations / self.seconds

    def check(self) -> None:
        """Figures of refused or unanswered requests would mean nothing. Raises SystemExit."""
        if self.refused or self.unanswered or not self.operations:
            raise SystemExit(f"{self.refused} requests were refused and {self.unanswered} not answered")


def build() -> Path:
    """The generator as a program. Raises SystemExit where there is no Go."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("the load generator is built with Go: install it (Debian: apt-get install golang-go)")
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-o", BUILT, "."], cwd=SOURCE, check=True)
    return BUILT


async def generate(frames: Path, to: list[str], *, cores: set[int], arguments: list[str] | None = None) -> Load:
    """Sends the frames; returns when the last answer is here. Raises SystemExit where the generator fails."""
    addresses = ",".join(f"127.0.0.{10 + number}" for number in range(LOCAL_ADDRESSES))
    process = await asyncio.create_subprocess_exec(
        build(),
        "-frames",
        frames,
        "-to",
        ",".join(to),
        "-from",
        addresses,
        *(arguments or []),
        stdout=asyncio.subprocess.PIPE,
    )
    os.sched_setaffinity(process.pid, cores)
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise SystemExit("the load generator failed")
    said = json.loads(printed)
    return Load(
        said["operations"],
        said["refused"],
        said["unanswered"],
        said["seconds"],
        said["generatorCpuSeconds"],
        said["latencyMilliseconds"],
    )
