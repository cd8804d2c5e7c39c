"""The command line: `python -m tests.chaos --help`; `make chaos`, `make soak`."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from stack.cache import CACHE
from stack.process import StackError
from tests.chaos.broken_builds import find_out
from tests.chaos.catalogue import named, pairs, singles, smoke
from tests.chaos.faults import Fault
from tests.chaos.overload import overload
from tests.chaos.platform import ChaosPlatform, Setup, open_platform
from tests.chaos.run import Work, open_run
from tests.chaos.soak import soak
from tests.chaos.timeline import table

Command = Callable[[argparse.Namespace], Awaitable[bool]]


def parser() -> argparse.ArgumentParser:
    """The options and their help texts."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--seed", type=int, default=1, metavar="N", help="of the random choices (default 1)")
    shared.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="X",
        help="times a bound may be missed by a slow machine (default 1)",
    )
    shared.add_argument(
        "--data-dir",
        type=Path,
        default=CACHE / "chaos",
        metavar="DIR",
        help="data, logs, ledgers (default .cache/chaos)",
    )
    shared.add_argument("--terminals", type=int, default=40, metavar="N", help="simulated terminals (default 40)")
    shared.add_argument(
        "--sign-ins-per-minute", type=float, default=20.0, metavar="N", help="of each terminal (default 20)"
    )
    top = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Faults on real processes, and a ledger outside the platform: what was answered with success is in "
        "MongoDB exactly once, whatever is killed, cut off or filled up in between.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    faults = commands.add_parser("faults", parents=[shared], help="every fault, then random pairs (about 40 minutes)")
    faults.add_argument("--only", action="append", metavar="TEXT", help="only faults whose name has this in it")
    faults.add_argument("--pairs", type=int, default=8, metavar="N", help="random pairs afterwards (default 8)")
    faults.add_argument("--minutes", type=float, default=60.0, metavar="M", help="begin no fault later (default 60)")
    faults.add_argument("--quick", action="store_true", help="hangs of 10 s in place of 30")
    faults.add_argument("--list", action="store_true", help="print the faults and their bounds, and end")
    commands.add_parser("broken", parents=[shared], help="broken builds, each of which the ledger must find out")
    overloading = commands.add_parser("overload", parents=[shared], help="twice what the platform can carry")
    overloading.add_argument("--seconds", type=float, default=120.0, metavar="S", help="for so long (default 120)")
    soaking = commands.add_parser("soak", parents=[shared], help="ordinary work for long: everything stays flat")
    soaking.add_argument("--minutes", type=float, default=30.0, metavar="M", help="for so long (default 30)")
    commands.add_parser("smoke", parents=[shared], help="a handful of faults (about three minutes)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 where every promise held, else 1."""
    chosen = parser().parse_args(arguments)
    if chosen.command == "faults" and chosen.list:
        for fault in singles():
            say(f"{fault.name:<50} back {fault.back:g} s, fleet {fault.fleet:g} s, stored {fault.stored:g} s")
        return 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return 0 if runner.run(_until_terminated(COMMANDS[chosen.command], chosen)) else 1
    except (StackError, TimeoutError) as error:
        say(f"error: {error}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("stopped")
        return 1


async def _until_terminated(command: Command, chosen: argparse.Namespace) -> bool:
    """SIGTERM ends it as Ctrl-C does: with nothing left running or mounted."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command(chosen)


async def suffer(chosen: argparse.Namespace) -> bool:
    """The run that the command line asks for; False where a promise was broken."""
    is_smoke = chosen.command == "smoke"
    quick = is_smoke or chosen.quick
    work = Work(
        chosen.terminals,
        chosen.sign_ins_per_minute,
        chosen.patience,
        hang_seconds=5.0 if is_smoke else 10.0 if quick else 30.0,
        away_seconds=2.0 if is_smoke else 5.0,
        cut_seconds=6.0 if is_smoke else 8.0,
    )
    faults = smoke() if is_smoke else named(chosen.only)
    if not is_smoke and chosen.pairs:
        faults += pairs(faults, chosen.pairs, chosen.seed)
    ends = time.monotonic() + 60 * (chosen.minutes if not is_smoke else 60)
    setup = Setup(chosen.data_dir, chosen.seed, SMOKE_SETTINGS if is_smoke else None, with_mounts=not is_smoke)
    async with open_platform(setup, say) as platform, open_run(platform, work, f"CHAOS{chosen.seed}") as run:
        for fault in faults:
            why = impossible(platform, fault) or ("the time is over" if time.monotonic() > ends else "")
            if why:
                run.leave_out(fault.name, why)
            else:
                await run.suffer(fault)
        reckoning = await run.reckon()
        say(table(run.happenings))
        say("\n".join(reckoning.lines()))
    return not reckoning.faults


async def find_out_broken(chosen: argparse.Namespace) -> bool:
    """Whether every broken build was found out."""
    work = Work(
        chosen.terminals, chosen.sign_ins_per_minute, chosen.patience, warm_up_seconds=3.0, give_up_seconds=25.0
    )
    setup = Setup(chosen.data_dir, chosen.seed, with_mounts=False)
    async with open_platform(setup, say) as platform:
        return await find_out(platform, work)


async def carry_too_much(chosen: argparse.Namespace) -> bool:
    """Overload; False where a promise was broken."""
    async with open_platform(Setup(chosen.data_dir, chosen.seed, with_mounts=False), say) as platform:
        measured, reckoning = await overload(platform, chosen.seconds, chosen.patience)
    for line in measured.lines():
        say(line)
    say("\n".join(reckoning.lines()))
    return not reckoning.faults


async def work_for_long(chosen: argparse.Namespace) -> bool:
    """Soak; False where something grew or a promise was broken."""
    work = Work(chosen.terminals, chosen.sign_ins_per_minute, chosen.patience)
    setup = Setup(chosen.data_dir, chosen.seed, with_mounts=False)
    async with open_platform(setup, say) as platform, open_run(platform, work, f"SOAK{chosen.seed}") as run:
        reckoning = await soak(platform, run, 60 * chosen.minutes, chosen.patience)
    say("\n".join(reckoning.lines()))
    return not reckoning.faults


COMMANDS: dict[str, Command] = {
    "faults": suffer,
    "smoke": suffer,
    "broken": find_out_broken,
    "overload": carry_too_much,
    "soak": work_for_long,
}

SMOKE_SETTINGS = {"PRESENCE_ONLINE_SECONDS": "15", "PRESENCE_GRACE_SECONDS": "5"}
"""Else the end would wait a minute for terminals to be off line."""


def impossible(platform: ChaosPlatform, fault: Fault) -> str:
    """Why a fault cannot be done here; empty where it can."""
    return platform.stores.why_not_full if "full disk" in fault.name else ""


def say(text: str) -> None:
    """A line at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
