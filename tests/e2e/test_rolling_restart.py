"""Every service restarted, process by process, under a working fleet: no acknowledged sign-in is lost, and no answer is
missing on a connection that was closed in its turn (design rule 13)."""

from pathlib import Path

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import Operators, event_id
from tests.support.rolling_restart import SERVICES, restart_in_turn, working_fleet
from tests.support.waiting import eventually

TERMINALS = 30
BACK_SECONDS = 8.0


async def test_design_13_a_rolling_restart_costs_no_answer_and_no_acknowledged_sign_in(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, tmp_path: Path
) -> None:
    habits = ("--sign-ins-per-minute", "60", "--heartbeat-seconds", "2", "--start-spread-seconds", "1")
    async with working_fleet(platform_stack, vendor, tmp_path / "ledger.jsonl", TERMINALS, *habits) as fleet:
        restarted = await restart_in_turn(platform_stack, fleet)
    print(*restarted, fleet.last, sep="\n")
    platform_stack.wait_ready()

    ingresses = [one for one in restarted if one.service == "tcp-ingress"]
    assert sum(one.reconnects for one in ingresses) >= TERMINALS  # each was on one of the two, at least once
    assert {one.service for one in restarted} == set(SERVICES)
    assert [one.reconnects for one in restarted if one.service != "tcp-ingress"] == [0] * 4
    assert [one.unanswered for one in restarted] == [0] * len(restarted)
    assert max(one.back_seconds for one in restarted) < BACK_SECONDS

    last = fleet.last
    assert (last["refused"], last["dropped"], last["unanswered"]) == (0, 0, 0)
    acknowledged = {
        (entry["sn"], entry["personId"], entry["recordTime"], entry["type"]): entry["withPicture"]
        for entry in fleet.entries()
        if entry["outcome"] == "acknowledged"
    }
    assert len(acknowledged) == last["acknowledged"] > TERMINALS

    async def all_are_stored() -> bool:
        stored = {}
        for number in range(1, TERMINALS + 1):
            for item in await operators.attendances_of(f"{fleet.prefix}{number:05d}"):
                stored[item["eventId"]] = item["hasImage"]
        return all(
            event_id(*key) in stored and stored[event_id(*key)] >= with_picture
            for key, with_picture in acknowledged.items()
        )

    await eventually(all_are_stored, 30)
