"""CPU and memory of processes, as Linux tells them."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, by the kernel's clock of it (clock_getcpuclockid), which is precise to
    the nanosecond: /proc counts ticks of 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_bytes(pid: int) -> int:
    """What a process holds in memory, without what is swapped out."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, cores: set[int]) -> None:
    """Binds a process with all its threads to cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


class Usage:
    """CPU that each kind of process took since it was made."""

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self._pids = pids
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self._pids.items()}

    def microseconds(self, operations: int) -> dict[str, float]:
        """CPU an operation, by kind of process."""
        now = self._now()
        return {name: (now[name] - self._before[name]) / operations * 1e6 for name in now}
