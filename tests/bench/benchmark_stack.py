"""The platform that is measured: ingress on cores of its own, everything else on the last."""

import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.guard import Guard
from tests.bench.process_usage import Usage, pin, resident_bytes
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, now_ms

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]  # Linux alone binds processes
OTHERS = {CORES[-1]}
"""Where all but ingress, the echo and a service that is measured work: on two cores nothing else is left."""


class BenchmarkStack:
    """A running platform with its ingress processes bound to the first cores, one each."""

    def __init__(self, stack: RunningStack, ingress_processes: int) -> None:
        self.stack = stack
        self.vendor = _create_vendor(stack)
        self.pids: dict[str, list[int]] = stack.description["pids"]
        self.ingress = stack.pids("tcp-ingress")
        for pids in self.pids.values():
            for pid in pids:
                pin(pid, OTHERS)
        for number, pid in enumerate(self.ingress):
            pin(pid, {CORES[number % max(len(CORES) - 1, 1)]} if ingress_processes == 1 else {CORES[number]})

    @property
    def to(self) -> list[str]:
        """Where terminals connect."""
        host, port = self.stack.tcp
        return [f"{host}:{port}"]

    def usage(self) -> Usage:
        """Begins to count CPU."""
        return Usage(self.pids)

    def resident_mb(self, kind: str) -> float:
        """Memory of all processes of a kind."""
        return sum(map(resident_bytes, self.pids[kind])) / 1e6

    @contextmanager
    def on_the_first_core(self, kind: str) -> Iterator[None]:
        """Has a kind of process that is not ingress work there for the length of a block."""
        for pid in self.pids[kind]:
            pin(pid, {CORES[0]})
        try:
            yield
        finally:
            for pid in self.pids[kind]:
                pin(pid, OTHERS)


@contextmanager
def benchmark_stack(ingress_processes: int, environment: Mapping[str, str]) -> Iterator[BenchmarkStack]:
    """A platform for the length of a block."""
    guard = Guard()
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["up", "--ingress", str(ingress_processes)]
        stack = RunningStack(Path(directory) / "run", guard, arguments, **environment)
        try:
            stack.start()
            yield BenchmarkStack(stack, ingress_processes)
        finally:
            stack.process.stop(60)
            guard.close()


def _create_vendor(stack: RunningStack) -> Vendor:
    request = urllib.request.Request(  # noqa: S310 -- the address is our own stack's
        stack.console + "/api/v1/vendors",
        data=json.dumps({"name": f"bench {now_ms()}"}).encode(),
        headers={"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        made: dict[str, Any] = json.load(answer)
    return Vendor(made["accessId"], made["accessKey"], made["accessSecret"])
