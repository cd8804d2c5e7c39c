"""A fleet over real sockets: what it does when the platform is well, slow, silent, wrong or gone."""

import asyncio
import json
from pathlib import Path

import pytest

from shared.protocol.generated.device.v1 import messages_pb2
from terminal_simulator.fleet import CredentialsRefused, Fleet, Plan
from terminal_simulator.habits import Account, Habits
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address
from tests.unit.terminal_simulator.scripted_platform import Answering, Request, accept, platform, write_answer

ACCOUNT = Account("id", "key", "secret")
LIVELY = Habits(heartbeat_seconds=0.2, sign_ins_per_minute=600, answer_seconds=0.4)


async def run_fleet(
    answering: Answering,
    habits: Habits = LIVELY,
    *,
    terminals: int = 3,
    seconds: float = 1.5,
    ledger: Path | None = None,
) -> tuple[Fleet, list[Request]]:
    async with platform(answering) as (port, requests):
        plan = Plan(
            Address("127.0.0.1", port),
            ACCOUNT,
            habits,
            terminals,
            seconds,
            start_spread_seconds=0.1,
            seed=1,
            report_json_lines=True,
        )
        with Ledger(ledger) as book:
            fleet = Fleet(plan, book)
            await fleet.run(asyncio.Event())
    return fleet, requests


def record_times(requests: list[Request]) -> list[tuple[str, int]]:
    return [
        (request.sn, json.loads(request.param)["recordTime"])
        for request in requests
        if isinstance(request, messages_pb2.DeviceRequest) and request.apicode == "C_SIGN_IN"
    ]


async def test_a_fleet_authenticates_once_a_terminal_beats_and_signs_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    fleet, requests = await run_fleet(accept, ledger=ledger)
    codes = [request.apicode for request in requests]
    assert codes.count("C_AUTH") == 3
    assert {request.sn for request in requests} == {"SIM00001", "SIM00002", "SIM00003"}
    assert codes.count("C_HEARTBEAT") >= 12
    assert codes.count("C_SIGN_IN") >= 20
    assert fleet.tally.acknowledged == codes.count("C_SIGN_IN")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    acknowledged = [(line["sn"], line["recordTime"]) for line in lines if line["outcome"] == "acknowledged"]
    assert sorted(acknowledged) == sorted(record_times(requests))
    report = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert report[0]["online"] == 3
    assert report[-1]["acknowledged"] == len(acknowledged)


async def test_a_closed_connection_loses_no_sign_in() -> None:
    answered: list[Request] = []

    def closes_every_tenth(request: Request) -> bytes:
        answered.append(request)
        return b"" if len(answered) % 10 == 0 else accept(request)

    fleet, requests = await run_fleet(closes_every_tenth, terminals=2, seconds=3.0)
    assert fleet.tally.reconnects >= 2
    sent = record_times(requests)
    assert len(set(sent)) < len(sent)  # some were sent twice
    assert fleet.tally.acknowledged + fleet.tally.buffered >= len(set(sent))
    for sn in ("SIM00001", "SIM00002"):
        first_seen = list(dict.fromkeys(time for name, time in sent if name == sn))
        assert first_seen == sorted(first_seen)


async def test_a_silent_platform_is_left_and_met_again() -> None:
    silent_until = 0.0

    def answers_later(request: Request) -> bytes | None:
        nonlocal silent_until
        now = asyncio.get_running_loop().time()
        if request.apicode == "C_SIGN_IN" and not silent_until:
            silent_until = now + 0.6  # longer than the terminal waits
        return None if now < silent_until else accept(request)

    fleet, requests = await run_fleet(answers_later, terminals=1, seconds=2.0)
    assert fleet.tally.reconnects >= 1
    assert fleet.tally.unanswered >= 1
    assert fleet.tally.last_fault == "no answer in time"
    sent = record_times(requests)
    assert sent.count(sent[0]) == 2


async def test_an_answer_that_is_none_is_told_in_words() -> None:
    fleet, _ = await run_fleet(lambda request: b"\x02\xff\xff", terminals=1, seconds=0.5)
    assert "not an answer of the standard" in fleet.tally.last_fault
    assert fleet.tally.online == 0


async def test_wrong_credentials_end_the_fleet_with_the_platform_s_reason() -> None:
    def refuse(request: Request) -> bytes:
        return write_answer(request.apicode, error=("400_04", "token 或 sign 验证失败"))

    with pytest.raises(CredentialsRefused, match="400_04 token 或 sign 验证失败"):
        await run_fleet(refuse, seconds=20)


async def test_one_terminal_that_gets_in_keeps_the_fleet_running() -> None:
    def refuse_one(request: Request) -> bytes:
        if request.sn == "SIM00001":
            return write_answer(request.apicode, error=("401_02", "认证密钥已失效"))
        return accept(request)

    fleet, _ = await run_fleet(refuse_one, seconds=1.5)
    assert fleet.tally.authentications == 2
    assert fleet.tally.errors["401_02"] >= 1


async def test_a_platform_that_is_away_is_waited_for() -> None:
    async with platform(accept) as (port, _):
        pass
    plan = Plan(Address("127.0.0.1", port), ACCOUNT, LIVELY, 2, 0.8, start_spread_seconds=0.0)
    fleet = Fleet(plan, Ledger(None))
    await fleet.run(asyncio.Event())
    assert "cannot connect" in fleet.tally.last_fault
    assert fleet.tally.buffered > 0


async def test_the_stop_event_ends_a_run_without_end() -> None:
    async with platform(accept) as (port, _):
        stop = asyncio.Event()
        fleet = Fleet(Plan(Address("127.0.0.1", port), ACCOUNT, LIVELY, 2, start_spread_seconds=0.0), Ledger(None))
        asyncio.get_running_loop().call_later(0.5, stop.set)
        async with asyncio.timeout(5):
            await fleet.run(stop)
    assert fleet.tally.acknowledged > 0
    assert fleet.tally.unanswered == 0


async def test_a_fault_of_the_simulator_itself_ends_the_run_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr("terminal_simulator.line.Line.run", broken)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(5):
            await run_fleet(accept, seconds=60)
