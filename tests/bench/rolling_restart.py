"""What a rolling restart of every service costs a working fleet (design rule 13); it starts a stack of its own.

    .venv/bin/python -m tests.bench.rolling_restart --terminals 500

Figures are this machine's. `back` is as fine as the fleet's reports, which come every second.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from stack.guard import Guard
from tests.fixtures.stack import RunningStack
from tests.support.operators import open_operators
from tests.support.rolling_restart import restart_in_turn, working_fleet


async def measure(stack: RunningStack, directory: Path, terminals: int, sign_ins_per_minute: float) -> bool:
    """Prints a line for each process that was restarted; False where an answer was missing."""
    async with open_operators(stack.console, stack.admin_token) as operators:
        _, vendor = await operators.create_vendor()
    habits = ["--sign-ins-per-minute", str(sign_ins_per_minute), "--heartbeat-seconds", "10"]
    async with working_fleet(stack, vendor, directory / "ledger.jsonl", terminals, *habits) as fleet:
        restarted = await restart_in_turn(stack, fleet)
    print("service            ended s  ready s  all back s  reconnects  unanswered")
    for one in restarted:
        print(
            f"{one.service:18} {one.ended_seconds:7.1f}  {one.ready_seconds:7.1f}  {one.back_seconds:10.1f}  "
            f"{one.reconnects:10}  {one.unanswered:10}"
        )
    print("the fleet at its end:", fleet.last)
    return not fleet.last["unanswered"]


def main() -> int:
    """The command line; exit code 1 where an answer was missing."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--terminals", type=int, default=500)
    options.add_argument("--sign-ins-per-minute", type=float, default=6)
    chosen = options.parse_args()
    guard = Guard()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stack = RunningStack(directory / "run", guard)
        try:
            stack.start()
            complete = asyncio.run(measure(stack, directory, chosen.terminals, chosen.sign_ins_per_minute))
        finally:
            stack.process.stop(60)
            guard.close()
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
