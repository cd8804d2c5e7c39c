"""Topics with three replicas, of which two must have a record, and indexes: made by the project's own commands."""

import sys
from collections.abc import Mapping
from pathlib import Path

from stack.guard import Guard
from stack.preparations import PREPARATIONS, running, wait_until_done
from stack.process import Process

TOPICS = {"KAFKA_REPLICATION": "3", "KAFKA_MIN_INSYNC_REPLICAS": "2", "KAFKA_PARTITIONS": "6"}


def prepare(environment: Mapping[str, str], logs: Path, guard: Guard) -> None:
    """Returns when all of it is there. Raises StackError."""
    commands = [
        Process(
            name,
            [sys.executable, "-m", module],
            log_file=logs / f"{name}.log",
            guard=guard,
            environment={**environment, **TOPICS},
        )
        for name, module in PREPARATIONS.items()
    ]
    with running(commands):
        wait_until_done(commands)
