"""The command line: what it refuses and how, and the process as a user runs it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from terminal_simulator.__main__ import SECRET_VARIABLE, main, parser, plan_of, read_secret
from terminal_simulator.habits import Habits, Layout
from terminal_simulator.signing import ParamStyle, SignForm
from tests.unit.terminal_simulator.scripted_platform import Answering, Request, accept, platform, write_answer

NEEDED = ["--tcp", "127.0.0.1:9000", "--access-id", "id", "--access-key", "key"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tcp", "9000"], "'9000' is not HOST:PORT"),
        (["--tcp", "host:70000"], "is not HOST:PORT"),
        (["--terminals", "0"], "not a whole number above 0"),
        (["--pictures", "1.5"], "not between 0 and 1"),
        (["--heartbeat-seconds", "0"], "must be above 0"),
        (["--sign-ins-per-minute", "-1"], "not a number of 0 or more"),
        (["--picture-bytes", "4000000"], "not a size from 0 to 3000000 bytes"),
        (["--layout", "ten"], "invalid"),
        (["--ca", "ca.pem"], "--ca has no meaning without --tls"),
        (["--tls", "--ca", "/nowhere/ca.pem"], "--ca: "),
        (["--https", "gate.example:8443"], "is not https://HOST:PORT"),
        (["--failed-tasks", "2"], "not between 0 and 1"),
        (["--lost-answers", "-1"], "not a number of 0 or more"),
        (["--page-size", "0"], "not a whole number above 0"),
        (["--sn-prefix", "S" * 60], "at most 59 characters"),
        (["--access-secret-file", "/nowhere/secret"], "--access-secret-file: "),
        (["--ledger", "/nowhere/ledger"], "ledger"),
    ],
)
def test_a_wrong_option_is_named_and_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "secret")
    with pytest.raises(SystemExit) as ended:
        main([*NEEDED, *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_secret_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    with pytest.raises(SystemExit):
        main(NEEDED)
    assert f"set {SECRET_VARIABLE} or give --access-secret-file" in capsys.readouterr().err


def test_the_secret_file_s_first_line_is_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("93f62185\nsecond line\n")
    assert read_secret(file, {SECRET_VARIABLE: "other"}) == "93f62185"


def test_every_option_reaches_the_plan() -> None:
    arguments = parser().parse_args(
        [
            *NEEDED, "--tls", "--terminals", "7", "--heartbeat-seconds", "30", "--sign-ins-per-minute", "2",
            "--pictures", "0.25", "--picture-bytes", "30000", "--seconds", "9", "--start-spread-seconds", "1",
            "--layout", "nine", "--param-style", "loose", "--sign-form", "sorted", "--sn-prefix", "T", "--persons", "3",
            "--seed", "11", "--buffer", "50", "--answer-timeout-seconds", "4", "--report-json-lines",
            "--https", "https://gate.example:8443", "--failed-tasks", "0.5", "--unsupported-tasks", "0.125",
            "--failed-persons", "0.1", "--failed-faces", "0.2", "--straying-terminals", "0.3", "--lost-answers", "0.4",
            "--page-size", "7", "--clock-off-hours", "5",
        ]
    )  # fmt: skip
    plan = plan_of(arguments, {SECRET_VARIABLE: "secret"})
    assert (plan.address.host, plan.address.port, plan.address.tls is not None) == ("127.0.0.1", 9000, True)
    assert (plan.account.access_id, plan.account.access_key, plan.account.access_secret) == ("id", "key", "secret")
    assert (plan.terminals, plan.seconds, plan.start_spread_seconds, plan.seed) == (7, 9.0, 1.0, 11)
    assert (plan.sn_prefix, plan.report_json_lines) == ("T", True)
    habits = plan.habits
    assert (habits.heartbeat_seconds, habits.sign_ins_per_minute, habits.picture_share) == (30.0, 2.0, 0.25)
    assert (habits.picture_bytes, habits.persons, habits.buffer_size, habits.answer_seconds) == (30000, 3, 50, 4.0)
    assert (habits.layout, habits.style, habits.form) == (Layout.NINE, ParamStyle.LOOSE, SignForm.SORTED)
    assert plan.https is not None
    assert (plan.https.host, plan.https.port, plan.https.path) == ("gate.example", 8443, "/api/device")
    assert (habits.failed_share, habits.unsupported_share) == (0.5, 0.125)
    assert (habits.failed_persons_share, habits.failed_faces_share, habits.page_size) == (0.1, 0.2, 7)
    assert (habits.straying_share, habits.lost_share, habits.clock_off_hours) == (0.3, 0.4, 5.0)
    assert "secret" not in repr(plan)


def test_what_goes_wrong_where_nothing_is_said_is_what_habits_say() -> None:
    habits = plan_of(parser().parse_args(NEEDED), {SECRET_VARIABLE: "secret"}).habits
    assert habits == Habits()


async def run_process(answering: Answering, *options: str, stop: signal.Signals | None = None) -> tuple[int, str, str]:
    async with platform(answering) as (port, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "terminal_simulator", "--tcp", f"127.0.0.1:{port}",
            "--access-id", "id", "--access-key", "key", "--terminals", "2", "--start-spread-seconds", "0", *options,
            env={**os.environ, SECRET_VARIABLE: "secret"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if stop is not None:
            assert process.stdout is not None
            first = await process.stdout.readline()
            assert b"online" in first
            process.send_signal(stop)
        async with asyncio.timeout(20):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_process_cleanly_with_0(number: signal.Signals) -> None:
    code, out, err = await run_process(accept, "--sign-ins-per-minute", "60", stop=number)
    assert (code, err) == (0, "")
    assert "2 terminals" in out
    assert "C_AUTH accepted     2" in out


async def test_a_run_with_a_length_ends_by_itself_with_0() -> None:
    code, out, err = await run_process(accept, "--seconds", "1")
    assert (code, err) == (0, "")
    assert "heartbeats          2" in out


async def test_wrong_credentials_end_the_process_with_2_and_the_reason() -> None:
    def refuse(request: Request) -> bytes:
        return write_answer(request.apicode, error=("400_04", "token 或 sign 验证失败: accessId unknown"))

    code, _, err = await run_process(refuse)
    assert code == 2
    assert "the platform refuses C_AUTH: 400_04 token 或 sign 验证失败: accessId unknown" in err
    assert "Traceback" not in err
