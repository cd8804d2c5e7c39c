"""What it takes to bring the terminals of a large site to its roster, and back to it: tasks made, time, roster equal.

    .venv/bin/python -m tests.bench.reconcile --persons 10000 --devices 5

Real MongoDB and Redis, the real planner and task-api's endpoint; the terminals, which ask it in the same process, send
and verify signatures. Real time passes but for the pauses in which a planner waits for further changes.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from shared.domain.roster_plans import compared
from shared.domain.rosters import reconciled
from shared.protocol.apicodes import Apicode
from shared.runtime.settings import MongoSettings, RedisSettings
from shared.stores.roster_interfaces import change_roster
from stack.guard import Guard
from stack.mongo_part import MongoPart
from stack.redis_part import RedisPart
from tests.support.rosters import RosterPlatform, Terminal, open_roster_platform

SITE = "s1"
PUT_AT_ONCE = 500
FACE = "a" * 64
CHANGED = 100
"""Persons who come, go, and are renamed, each."""


class Bench:
    """A site with its terminals."""

    def __init__(self, platform: RosterPlatform, terminals: list[Terminal]) -> None:
        self._platform = platform
        self._terminals = terminals
        self._planner = platform.new_planner()
        self._lock = platform.new_lock()

    async def put(self, names: dict[str, str], *site_ids: str) -> None:
        """Persons, as an import puts them."""
        ids = list(names)
        for start in range(0, len(ids), PUT_AT_ONCE):
            await self._platform.put({one: names[one] for one in ids[start : start + PUT_AT_ONCE]}, *site_ids)

    async def show(self, what: str, change: Callable[[], Awaitable[None]]) -> None:
        """Makes a change, and shows what follows until nothing does."""
        await change()
        before, calls = self._platform.console_metrics.planned_tasks, self._calls()
        began, planning = time.perf_counter(), 0.0
        while True:
            turn = time.perf_counter()
            await self._planner.work(self._lock)
            planning += time.perf_counter() - turn
            if not sum(await asyncio.gather(*(terminal.work() for terminal in self._terminals))):
                break
        seconds = time.perf_counter() - began
        site = await self._platform.site_content(SITE)
        equal = all(terminal.held == site for terminal in self._terminals)
        made = self._platform.console_metrics.planned_tasks - before
        requests = self._calls() - calls
        print(
            f"{what:<58} {made:5} tasks {requests:7} requests {seconds:8.1f} s, planning {planning:6.1f} s, "
            f"{len(site)} persons, rosters {'equal' if equal else 'NOT equal'}"
        )
        if not equal:
            sys.exit(1)

    async def tamper(self) -> None:
        """Every terminal loses someone, has someone else's name and a stranger; reports, and is reconciled."""
        for terminal in self._terminals:
            first, second, *_ = terminal.held
            del terminal.held[first]
            terminal.held[second] = ("another", terminal.held[second][1])
            terminal.held["X9"] = ("a stranger", False)
            await self._platform.make(terminal.sn, Apicode.T_POST_DEVICE_PERSON)
        began = time.perf_counter()
        await asyncio.gather(*(terminal.work() for terminal in self._terminals))
        await self._planner.work(self._lock)
        desired = await self._platform.persons.at_site(SITE)
        for terminal in self._terminals:
            comparison = compared(await self._platform.roster(terminal.sn), desired)
            counts = (len(comparison.missing), len(comparison.extra), len(comparison.different))
            if counts != (1, 1, 1):
                sys.exit(f"{terminal.sn} shows {counts} persons missing, extra and different, and not one each")
            await change_roster(self._platform.rosters, terminal.sn, reconciled)
            await self._platform.marks.mark_devices([terminal.sn])
        print(f"reports with one missing, extra and different each: {time.perf_counter() - began:.1f} s")

    def _calls(self) -> int:
        return sum(terminal.calls for terminal in self._terminals)


async def measure(platform: RosterPlatform, persons: int, devices: int) -> None:
    """All of it."""
    bench = Bench(platform, [await platform.terminal(f"SN{number}", SITE) for number in range(devices)])
    everybody = {f"P{number:06}": "张三" for number in range(persons)}
    ids = list(everybody)

    async def fill() -> None:
        await bench.put(everybody, SITE)

    async def change() -> None:
        await bench.put(dict.fromkeys(ids[:CHANGED], "张三"))
        await bench.put(dict.fromkeys(ids[CHANGED : 2 * CHANGED], "李四"), SITE)
        await bench.put({f"N{number:06}": "王五" for number in range(CHANGED)}, SITE)

    async def one_face() -> None:
        await platform.set_face(ids[-1], FACE)

    await bench.show(f"{persons} persons come to {devices} empty terminals", fill)
    await bench.show(f"{CHANGED} leave, {CHANGED} are renamed, {CHANGED} come", change)
    await bench.show("one gets a face", one_face)
    await bench.show("what the reports showed is made good", bench.tamper)


async def main() -> None:
    """Entry of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=5)
    arguments = parser.parse_args()
    guard = Guard()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis, mongo = RedisPart(folder, guard), MongoPart(folder, folder, guard)
        try:
            redis.restart()
            mongo.restart()
            settings = MongoSettings(url=SecretStr(mongo.url), database="reconcile", timeout_ms=60_000)
            redis_settings = RedisSettings(url=SecretStr(redis.url), timeout_ms=10_000)
            async with open_roster_platform(settings, redis_settings) as platform:
                await measure(platform, arguments.persons, arguments.devices)
        finally:
            redis.kill()
            mongo.kill()
            guard.close()


if __name__ == "__main__":
    asyncio.run(main())
