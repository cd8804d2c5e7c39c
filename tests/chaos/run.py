"""One run: terminals at work, faults one after the other, and at the end the reckoning."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
from pymongo.errors import PyMongoError

from tests.chaos.errands import Operator
from tests.chaos.evidence import Evidence, resident_bytes
from tests.chaos.faults import Fault, Stage
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import ACKNOWLEDGED, Entry, newest_acknowledged
from tests.chaos.platform import ChaosPlatform
from tests.chaos.probe import Probe
from tests.chaos.reckoning import Reckoning, reckon, reckon_memory, reckon_presence, reckon_tasks
from tests.chaos.settling import settle
from tests.chaos.timeline import NEVER, UNKNOWN_TOKEN, Happening, Recovery

QUIET_SECONDS = 3.0
LOOK_SECONDS = 0.2
LONGEST_WAIT = 3.0
NOTICED_SECONDS = 8.0
"""By then every terminal has sent a heartbeat, and knows whether its session was forgotten."""
SETTLE_SECONDS = 60.0
PRESENCE_SECONDS = 120.0
TASKS_SECONDS = 120.0
STORED_SECONDS = 60.0


@dataclass(frozen=True)
class Work:
    """What the terminals of a run do, and how patient the run is."""

    terminals: int = 40
    sign_ins_per_minute: float = 20
    patience: float = 1.0
    hang_seconds: float = 30.0
    away_seconds: float = 5.0
    cut_seconds: float = 8.0
    warm_up_seconds: float = 10.0
    give_up_seconds: float | None = None
    """How long at most a recovery is waited for; None: three times its longest bound, so that its figure is known."""


class Run:
    """Made by open_run: terminals work from then on. `suffer` each fault, then `reckon`."""

    def __init__(self, platform: ChaosPlatform, work: Work, stage: Stage, probe: Probe, operator: Operator) -> None:
        self.happenings: list[Happening] = []
        self.broken: list[str] = []
        self._platform = platform
        self._work = work
        self._stage = stage
        self._probe = probe
        self._operator = operator
        self._evidence = Evidence(platform)
        self._began = time.monotonic()
        self._memory: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Terminals, the probe and the operator go to work; returns when all terminals are on line
        and what they send is stored."""
        await self._stage.fleet.start()
        self._tasks = [
            asyncio.ensure_future(self._probe.run()),
            asyncio.ensure_future(self._operator.work(self._stage.fleet.sns)),
        ]
        await self._stage.fleet.wait_online(SETTLE_SECONDS * self._work.patience)
        await asyncio.sleep(self._work.warm_up_seconds)
        # A writer that was just killed holds its partitions until the group has missed it.
        promised = [entry.event_id for entry in self._newest().values()]
        await self._wait_stored(promised, SETTLE_SECONDS * self._work.patience)
        self._memory = await asyncio.to_thread(resident_bytes, self._platform)
        self._began = time.monotonic()

    async def suffer(self, fault: Fault) -> Happening:
        """One fault, and all that follows until everything is well again."""
        stage, fleet = self._stage, self._stage.fleet
        stage.broken.clear()
        before, began = fleet.last, time.monotonic()
        deaths, guests = len(self._platform.deaths), len(stage.guests)
        try:
            await fault.act(stage)
        except TimeoutError as error:
            stage.broken.append(str(error))
        healed = time.monotonic()
        bound = Recovery(fault.back, fault.fleet, fault.stored).times(self._work.patience)
        took = await self._recover(healed, bound)
        if fault.forgets_sessions:
            await asyncio.sleep(NOTICED_SECONDS)
        seen = fleet.last.since(before) + self._probe.faults_since(began)
        for guest in stage.guests[guests:]:
            seen += guest.last.since(guest.reports[0])
        if not fault.forgets_sessions and any(UNKNOWN_TOKEN in what for what in seen):
            stage.broken.append(f"terminals were told {UNKNOWN_TOKEN}")
        stage.broken += [f"{death.name} died by itself" for death in self._platform.deaths[deaths:]]
        happening = Happening(began - self._began, fault.name, healed - began, seen, took, bound, tuple(stage.broken))
        self.happenings.append(happening)
        self._platform.say(happening.line())
        return happening

    def latency_ms(self) -> float:
        """The terminals' 99th percentile of the last second in which there were answers."""
        return next(
            (
                float(told)
                for report in reversed(self._stage.fleet.reports)
                if (told := report.told.get("latencyMsP99"))
            ),
            0.0,
        )

    def leave_out(self, name: str, why: str) -> None:
        """A fault that cannot be done here is shown, not forgotten."""
        happening = Happening(time.monotonic() - self._began, name, 0.0, left_out=why)
        self.happenings.append(happening)
        self._platform.say(happening.line())

    async def _recover(self, healed: float, bound: Recovery) -> Recovery:
        promised = [entry.event_id for entry in self._newest().values()]
        longest = self._work.give_up_seconds or LONGEST_WAIT * max(bound.back, bound.fleet, bound.stored)
        deadline = healed + longest
        back = fleet = stored = NEVER
        while NEVER in (back, fleet, stored) and time.monotonic() < deadline:
            now = time.monotonic()
            quiet = self._probe.quiet_seconds(now, healed)
            back = self._probe.back_after(healed) if quiet >= QUIET_SECONDS else NEVER
            fleet = self._fleet_back_after(healed)
            if stored == NEVER and await asyncio.to_thread(self._evidence.are_stored, promised):
                stored = time.monotonic() - healed
            await asyncio.sleep(LOOK_SECONDS)
        try:
            await settle(self._platform, SETTLE_SECONDS * self._work.patience)
        except TimeoutError as error:
            self._stage.broken.append(str(error))
        return Recovery(back, fleet, stored)

    def _newest(self) -> dict[str, Entry]:
        self._stage.fleet.ledger.take_new()
        return newest_acknowledged([*self._stage.fleet.ledger.entries, *self._probe.entries])

    def _fleet_back_after(self, healed: float) -> float:
        """From then to the first of three reports in a row that tell of nothing but work."""
        terminals = self._stage.fleet.terminals
        after = [report for report in self._stage.fleet.reports if report.at > healed]
        well = [
            report.count("online") == terminals and report.count("buffered") <= max(3, terminals // 4)
            for report in after
        ]
        if len(well) < 3 or not all(well[-3:]):
            return NEVER
        last_bad = max((number for number, is_well in enumerate(well) if not is_well), default=-1)
        return after[last_bad + 1].at - healed if last_bad >= 0 else 0.0

    async def reckon(self, *, only_sign_ins: bool = False) -> Reckoning:
        """Ends the work, and compares what was promised with what is there."""
        patience = self._work.patience
        result = Reckoning()
        operating, probing = self._tasks[1], self._tasks[0]
        await _cancel(operating)
        if not only_sign_ins:
            await self._wait_tasks(TASKS_SECONDS * patience)
        memory = await asyncio.to_thread(resident_bytes, self._platform)
        fleet = self._stage.fleet
        if not only_sign_ins:
            await self._check_presence(result, dict.fromkeys(fleet.sns, True), PRESENCE_SECONDS * patience)
        await _cancel(probing)
        entries = [*await fleet.end(), *self._probe.entries]
        for guest in self._stage.guests:
            entries += guest.ledger.entries
        promised = [entry.event_id for entry in entries if entry.outcome == ACKNOWLEDGED]
        if all(happening.took.stored < NEVER for happening in self.happenings):
            await self._wait_stored(promised, STORED_SECONDS * patience)
        if not only_sign_ins:
            await self._check_presence(result, dict.fromkeys(fleet.sns, False), PRESENCE_SECONDS * patience)
        prefixes = (fleet.prefix, self._probe.prefix, *[guest.prefix for guest in self._stage.guests])
        kept = await asyncio.to_thread(self._evidence.stored, prefixes)
        kept = replace(
            kept, published=await self._evidence.published(), dead_letters=await self._evidence.dead_letters()
        )
        told = reckon(entries, kept)
        result.sums += told.sums
        result.faults += told.faults
        if only_sign_ins:
            return result
        reckon_tasks(result, self._operator.promised, kept.tasks)
        reckon_memory(result, self._memory, memory)
        result.sums["processes that died by themselves"] = len(self._platform.deaths)
        result.fault("processes died by themselves", [f"{one.name} ({one.exit_code})" for one in self._platform.deaths])
        result.faults += [what for happening in self.happenings for what in happening.broken]
        return result

    async def _wait_tasks(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(PyMongoError):
                if not await asyncio.to_thread(self._evidence.open_tasks):
                    return
            await asyncio.sleep(1.0)

    async def _wait_stored(self, promised: Sequence[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        newest = list(promised[-500:])
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._evidence.are_stored, newest):
                return
            await asyncio.sleep(1.0)

    async def _check_presence(self, result: Reckoning, expected: dict[str, bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        told: dict[str, bool] = {}
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                told = await self._operator.online()
                if expected.items() <= told.items():
                    break
            await asyncio.sleep(1.0)
        reckon_presence(result, told, expected)

    async def close(self) -> None:
        """Ends what `reckon` would have ended."""
        for task in self._tasks:
            await _cancel(task)
        for fleet in (self._stage.fleet, *self._stage.guests):
            await fleet.kill()
        await self._operator.close()
        self._evidence.close()


@asynccontextmanager
async def open_run(platform: ChaosPlatform, work: Work, prefix: str) -> AsyncIterator[Run]:
    """Terminals at work on a running platform."""
    operator = Operator(platform)
    vendor = await operator.make_vendor()
    options = ["--sign-ins-per-minute", str(work.sign_ins_per_minute)]
    fleet = Fleet(platform, vendor, work.terminals, f"{prefix}-", *options)
    stage = Stage(platform, fleet, vendor, work.hang_seconds, work.away_seconds, work.cut_seconds, work.patience)
    run = Run(platform, work, stage, Probe(platform.addresses.tcp, vendor, f"{prefix}P-"), operator)
    try:
        await run.begin()
        yield run
    finally:
        await run.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
