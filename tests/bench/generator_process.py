"""Builds the load generator (tests/bench/generator, Go) and runs it on one core; says what it measured."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.bench.benchmark_stack import OTHERS
from tests.bench.prepared_frames import read_answers, write_frames

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
    first_answers: Sequence[bytes] = ()
    """One of each connection."""

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.operations / self.seconds

    @property
    def generator_microseconds(self) -> float:
        """What the load itself cost, an operation."""
        return self.generator_cpu_seconds / self.operations * 1e6

    def check(self) -> None:
        """Figures of refused or unanswered requests would mean nothing. Raises SystemExit."""
        if self.refused or self.unanswered or not self.operations:
            raise SystemExit(f"{self.refused} requests were refused and {self.unanswered} not answered")


@cache
def build() -> Path:
    """The generator as a program. Raises SystemExit where there is no Go."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("the load generator is built with Go: install it (Debian: apt-get install golang-go)")
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-o", BUILT, "."], cwd=SOURCE, check=True)
    return BUILT


async def generate(
    connections: Sequence[Sequence[bytes]], to: Sequence[str], arguments: Sequence[str], picture: bytes = b""
) -> Load:
    """Sends what was prepared; returns when the last answer is here. `picture` is what those that hold its base64
    share. Raises SystemExit where the generator fails."""
    with tempfile.TemporaryDirectory() as directory:
        frames, answers = Path(directory) / "frames", Path(directory) / "answers"
        write_frames(frames, connections, picture)
        addresses = ",".join(f"127.0.0.{10 + number}" for number in range(LOCAL_ADDRESSES))
        files = ["-frames", str(frames), "-answers", str(answers)]
        process = await asyncio.create_subprocess_exec(
            build(), *files, "-to", ",".join(to), "-from", addresses, *arguments, stdout=asyncio.subprocess.PIPE
        )
        os.sched_setaffinity(process.pid, OTHERS)
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
            read_answers(answers),
        )
