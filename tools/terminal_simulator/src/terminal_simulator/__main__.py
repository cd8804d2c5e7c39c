"""The command line: `python -m terminal_simulator --help`."""

import argparse
import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from terminal_simulator.fleet import CredentialsRefused, Fleet, Plan
from terminal_simulator.habits import Account, Habits, Layout
from terminal_simulator.https import read_address
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address
from terminal_simulator.signing import ParamStyle, SignForm

SECRET_VARIABLE = "TERMINAL_SIMULATOR_ACCESS_SECRET"  # noqa: S105 — the variable's name, not its value
CREDENTIALS_REFUSED = 2
LONGEST_PREFIX = 59
"""sn has at most 64 characters, the number five of them."""
FAULTS = (
    ("--failed-tasks", 0.05, "tasks that fail, half-way"),
    ("--unsupported-tasks", 0.02, "tasks that are not supported"),
    ("--failed-persons", 0.01, "workers whom a terminal has no room for"),
    ("--failed-faces", 0.02, "pictures in which it finds no face"),
    ("--straying-terminals", 0.1, "terminals that hold something else than they were sent"),
    ("--lost-answers", 0.01, "answers over HTTPS that get lost, so that the call is made again"),
)


def parser() -> argparse.ArgumentParser:
    """The options and their help texts."""
    options = argparse.ArgumentParser(
        prog="python -m terminal_simulator",
        description="Simulates attendance terminals over TCP as the access standard V1.0 describes them: "
        "they authenticate, send heartbeats, upload sign-ins with pictures, and reconnect.",
        epilog=f"The access secret is read from {SECRET_VARIABLE} or from --access-secret-file, "
        "never from the command line, where every user of the machine could read it.",
    )
    where = options.add_argument_group("the platform")
    where.add_argument("--tcp", required=True, type=_address, metavar="HOST:PORT", help="where the platform listens")
    where.add_argument("--tls", action="store_true", help="connect with TLS and check the platform's certificate")
    where.add_argument(
        "--https", metavar="URL", help="fetch and report tasks there, as https://HOST:PORT; without it they are counted"
    )
    where.add_argument("--ca", type=Path, metavar="FILE", help="PEM of the authority to trust instead of the system's")
    who = options.add_argument_group("the vendor's credentials (section 1.1)")
    who.add_argument("--access-id", required=True, metavar="ID", help="accessId")
    who.add_argument("--access-key", required=True, metavar="KEY", help="accessKey")
    who.add_argument("--access-secret-file", type=Path, metavar="FILE", help="file whose first line is accessSecret")
    fleet = options.add_argument_group("the fleet")
    fleet.add_argument("--terminals", type=_count, default=50, metavar="N", help="how many terminals (default 50)")
    fleet.add_argument("--sn-prefix", default="SIM", metavar="TEXT", help="before each five-digit sn (default SIM)")
    fleet.add_argument("--persons", type=_count, default=200, metavar="N", help="workers who pass (default 200)")
    fleet.add_argument(
        "--heartbeat-seconds",
        type=_positive,
        default=60.0,
        metavar="S",
        help="at least one heartbeat in S (default 60)",
    )
    fleet.add_argument(
        "--sign-ins-per-minute",
        type=_not_negative,
        default=6.0,
        metavar="N",
        help="per terminal, at random (default 6)",
    )
    fleet.add_argument(
        "--pictures", type=_share, default=0.8, metavar="SHARE", help="share of sign-ins with a picture (default 0.8)"
    )
    fleet.add_argument(
        "--picture-bytes", type=_size, default=0, metavar="N", help="pad pictures to N bytes (default: about 2,500)"
    )
    fleet.add_argument(
        "--page-size", type=_count, default=50, metavar="N", help="workers on a page (default 50, the most 100)"
    )
    fleet.add_argument("--buffer", type=_count, default=5000, metavar="N", help="sign-ins kept offline (default 5000)")
    fleet.add_argument(
        "--answer-timeout-seconds", type=_positive, default=15.0, metavar="S", help="then reconnect (default 15)"
    )
    wrong = options.add_argument_group("what goes wrong")
    wrong.add_argument(
        "--clock-off-hours",
        type=_not_negative,
        default=0.0,
        metavar="H",
        help="clocks are off by up to H hours at the start (default 0)",
    )
    for option, default, what in FAULTS:
        wrong.add_argument(
            option, type=_share, default=default, metavar="SHARE", help=f"share of {what} (default {default})"
        )
    form = options.add_argument_group("what the standard leaves open")
    form.add_argument(
        "--layout",
        type=Layout,
        choices=list(Layout),
        default=Layout.EIGHT,
        help="C_AUTH as in the table of 2.1.2, or with accessSecret as printed in 2.1.4 (default eight)",
    )
    form.add_argument(
        "--param-style",
        type=ParamStyle,
        choices=list(ParamStyle),
        default=ParamStyle.STRICT,
        help="param as JSON, or with unquoted names as printed (default strict)",
    )
    form.add_argument(
        "--sign-form",
        type=SignForm,
        choices=list(SignForm),
        default=SignForm.AS_SENT,
        help="which text of param is signed: as sent, compact JSON, or compact with sorted names (default as-sent)",
    )
    run = options.add_argument_group("the run")
    run.add_argument("--seconds", type=_not_negative, default=0.0, metavar="S", help="length (default 0: until Ctrl-C)")
    run.add_argument(
        "--start-spread-seconds", type=_not_negative, default=5.0, metavar="S", help="start within S (default 5)"
    )
    run.add_argument("--seed", type=int, metavar="N", help="makes the random choices repeatable")
    run.add_argument("--ledger", type=Path, metavar="FILE", help="write one JSON line a sign-in with its outcome")
    run.add_argument("--report-json-lines", action="store_true", help="report as one JSON line a second")
    return options


def read_secret(file: Path | None, environment: Mapping[str, str]) -> str:
    """The access secret. Raises ValueError that says where it was looked for."""
    if file is not None:
        try:
            secret = file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except OSError as error:
            raise ValueError(f"--access-secret-file: {error}") from error
    else:
        secret = environment.get(SECRET_VARIABLE, "")
    if not secret:
        raise ValueError(f"no access secret: set {SECRET_VARIABLE} or give --access-secret-file")
    return secret


def plan_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Plan:
    """The run that the command line asks for. Raises ValueError with what is wrong."""
    if len(arguments.sn_prefix) > LONGEST_PREFIX:
        raise ValueError(f"--sn-prefix: at most {LONGEST_PREFIX} characters")
    if arguments.ca and not arguments.tls and not arguments.https:
        raise ValueError("--ca has no meaning without --tls or --https")
    host, port = arguments.tcp
    return Plan(
        address=Address(host, port, _tls(arguments.ca) if arguments.tls else None),
        account=Account(
            arguments.access_id, arguments.access_key, read_secret(arguments.access_secret_file, environment)
        ),
        habits=Habits(
            heartbeat_seconds=arguments.heartbeat_seconds,
            sign_ins_per_minute=arguments.sign_ins_per_minute,
            picture_share=arguments.pictures,
            picture_bytes=arguments.picture_bytes,
            persons=arguments.persons,
            layout=arguments.layout,
            style=arguments.param_style,
            form=arguments.sign_form,
            buffer_size=arguments.buffer,
            clock_off_hours=arguments.clock_off_hours,
            answer_seconds=arguments.answer_timeout_seconds,
            failed_share=arguments.failed_tasks,
            unsupported_share=arguments.unsupported_tasks,
            failed_persons_share=arguments.failed_persons,
            failed_faces_share=arguments.failed_faces,
            straying_share=arguments.straying_terminals,
            lost_share=arguments.lost_answers,
            page_size=arguments.page_size,
        ),
        terminals=arguments.terminals,
        seconds=arguments.seconds,
        start_spread_seconds=arguments.start_spread_seconds,
        sn_prefix=arguments.sn_prefix,
        seed=arguments.seed,
        report_json_lines=arguments.report_json_lines,
        https=read_address(arguments.https, _tls(arguments.ca)) if arguments.https else None,
    )


async def run(plan: Plan, ledger: Ledger) -> None:
    """Runs the fleet until its time is over, SIGINT or SIGTERM. Raises CredentialsRefused."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    await Fleet(plan, ledger).run(stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 where the command line or the credentials are wrong."""
    options = parser()
    parsed = options.parse_args(arguments)
    try:
        plan = plan_of(parsed, os.environ)
        ledger = Ledger(parsed.ledger)
    except (ValueError, OSError) as error:
        options.error(str(error))
    with ledger, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(run(plan, ledger))
        except CredentialsRefused as error:
            sys.stderr.write(f"{error}\n")
            return CREDENTIALS_REFUSED
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ValueError(f"--ca: {error}") from error


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) > 3_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 0 to 3000000 bytes")
    return int(text)


def _positive(text: str) -> float:
    number = _not_negative(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number


def _share(text: str) -> float:
    number = _not_negative(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
