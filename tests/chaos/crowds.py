"""Faults of many at once: clocks, storms, rebalances, and everything restarted."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.chaos.faults import LEAVE_SECONDS, RESTART_SECONDS, Fault, Stage, broker_names, fault
from tests.chaos.fleet import Fleet
from tests.chaos.settling import wait_answers, wait_in_sync

REBALANCES = 4
STORM_TERMINALS = 200
STORMS = 3


def clocks_off(hours: float) -> Fault:
    """Terminals whose clocks are wrong by up to so much join, and set them by what they are told (E3)."""

    async def act(stage: Stage) -> None:
        number = len(stage.guests) + 1
        guest = Fleet(
            stage.platform, stage.vendor, 10, f"CLOCK{number}-", "--clock-off-hours", str(hours),
            "--sign-ins-per-minute", "30",
        )  # fmt: skip
        await _host(stage, guest, stage.cut_seconds)

    return fault(f"clocks off by up to {hours:g} h", act, "terminals")


def storm() -> Fault:
    """A fleet ten times as large is cut off at once, again and again."""

    async def act(stage: Stage) -> None:
        number = len(stage.guests) + 1
        guest = Fleet(
            stage.platform, stage.vendor, STORM_TERMINALS, f"STORM{number}-", "--sign-ins-per-minute", "2",
            "--heartbeat-seconds", "20",
        )  # fmt: skip

        async def cut() -> None:
            for _ in range(STORMS):
                for link in stage.platform.wires.between("terminals", "tcp-ingress"):
                    link.reset()
                await asyncio.sleep(stage.cut_seconds / STORMS)

        await _host(stage, guest, stage.cut_seconds, cut)

    return fault("reconnect storm", act, "terminals", "tcp-ingress", fleet=40.0)


def rebalances() -> Fault:
    """A third writer comes and goes, by turns properly and by SIGKILL: everybody's partitions are revoked."""

    async def act(stage: Stage) -> None:
        platform = stage.platform
        for turn in range(REBALANCES):
            name = platform.add_writer()
            await wait_answers(platform, [name], RESTART_SECONDS * stage.patience)
            await asyncio.sleep(stage.away_seconds)
            if turn % 2 == 0:
                platform.ask_to_stop(name)
                if not await platform.wait_gone(name, LEAVE_SECONDS * stage.patience):
                    stage.broken.append(f"{name} did not leave on SIGTERM")
            platform.remove(name)

    names = [f"attendance-writer-{copy}" for copy in (1, 2)]
    return fault(f"{2 * REBALANCES} rebalances in a row", act, *names, stored=40.0)


def rolling_restart() -> Fault:
    """SIGTERM to everything, one after the other, each only when the one before is back."""

    async def act(stage: Stage) -> None:
        platform = stage.platform
        for name in list(platform.servers):
            platform.ask_to_stop(name)
            left = await platform.wait_gone(name, LEAVE_SECONDS * stage.patience)
            code = platform.servers[name].process.exit_code
            if not left or (name in platform.plans and code != 0):
                stage.broken.append(f"{name} did not leave on SIGTERM: exit code {code}")
            platform.bring_back(name)
            await wait_answers(platform, [name], RESTART_SECONDS * stage.patience)
            if name in broker_names():
                await wait_in_sync(platform, RESTART_SECONDS * stage.patience)

    return fault("rolling restart of everything", act, "everything", forgets_sessions=True)


async def _host(
    stage: Stage, guest: Fleet, seconds: float, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> None:
    """A fleet comes, works, and is asked to leave; all of it must have come on line."""
    stage.guests.append(guest)
    await guest.start()
    try:
        await guest.wait_online(RESTART_SECONDS * stage.patience)
        if meanwhile is not None:
            await meanwhile()
            await guest.wait_online(RESTART_SECONDS * stage.patience)
        await asyncio.sleep(seconds)
    except TimeoutError:
        stage.broken.append(f"only {guest.last.count('online')} of {guest.terminals} {guest.prefix} came on line")
    await guest.end()
