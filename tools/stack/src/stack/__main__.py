"""The command line: `python -m stack up` and `python -m stack run`; see `make help`."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stack.cache import REPOSITORY
from stack.platform import Options, Platform, open_platform
from stack.process import StackError
from stack.run import TICK_SECONDS, FleetRun
from stack.run_directory import RunDirectory
from stack.stop_request import StopRequest, StopRequested


def parser() -> argparse.ArgumentParser:
    """The options and their help texts."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data-dir",
        type=Path,
        default=REPOSITORY / ".run",
        metavar="DIR",
        help="where data, logs, secrets and stack.json are kept (default .run); one stack a folder",
    )
    shared.add_argument(
        "--ingress", type=_count, default=2, metavar="N", help="processes of tcp-ingress on one port (default 2)"
    )
    data = shared.add_mutually_exclusive_group()
    data.add_argument("--keep", action="store_true", help="go on with what an earlier run kept (the default)")
    data.add_argument("--fresh", action="store_true", help="drop what an earlier run kept")
    shared.add_argument(
        "--synthetic", action="store_true", help="with a synthetic terminal that signs in every minute and measures"
    )
    shared.add_argument("--seconds", type=_seconds, metavar="S", help="end by itself after S seconds (default: Ctrl-C)")
    top = argparse.ArgumentParser(
        prog="python -m stack",
        description="The whole platform on this machine with real parts and without Docker.",
        epilog="Kafka, Redis and MongoDB are started here unless KAFKA_BOOTSTRAP, REDIS_URL or MONGO_URL names one. "
        "TCP_INGRESS_PORT, TCP_INGRESS_TLS_PORT, TASK_API_PORT and CONSOLE_PORT fix what is else a free port; "
        "every other setting of a service is handed on to it.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("up", parents=[shared], help="the platform alone")
    run = commands.add_parser("run", parents=[shared], help="the platform with simulated terminals and a live summary")
    run.add_argument("--terminals", type=_count, default=50, metavar="N", help="simulated terminals (default 50)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 where it was ended by a signal or by its time, 1 where something failed."""
    chosen = parser().parse_args(arguments)
    began = time.monotonic()
    console = Console(highlight=False)
    stop = StopRequest()
    stop.listen()

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    terminals = chosen.terminals if chosen.command == "run" else 0
    options = Options(
        ingress_processes=chosen.ingress, terminals=terminals, fresh=chosen.fresh, synthetic=chosen.synthetic
    )
    try:
        with open_platform(RunDirectory(chosen.data_dir), options, os.environ, say, stop.check) as platform:
            say(_addresses(platform))
            if terminals:
                FleetRun(platform, terminals, console, began).run(stop, chosen.seconds)
            else:
                _watch(platform, stop, chosen.seconds)
            say("stopping …")
    except StopRequested:
        say("stopped before everything was up")
    except (StackError, OSError) as error:
        with contextlib.suppress(OSError):  # the terminal itself may be what is gone
            say(f"error: {error}")
        return 1
    return 0


def _watch(platform: Platform, stop: StopRequest, seconds: float | None) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    while not stop.made and (deadline is None or time.monotonic() < deadline):
        platform.tick()
        time.sleep(TICK_SECONDS)


def _addresses(platform: Platform) -> str:
    addresses = platform.addresses
    return f"""\

  terminals, TCP      {addresses.tcp}
  terminals, TLS      {addresses.tcp_tls}
  terminals, HTTPS    {addresses.https}/api/device
  console             {addresses.console}
  admin token         {addresses.admin_token}
  authority (TLS)     {addresses.ca}
  all of this as JSON {platform.directory.stack_file}
  logs                {platform.directory.logs}

Ctrl-C ends everything; what was stored is kept.
"""


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
