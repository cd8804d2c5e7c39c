"""A campaign runner over any stores, which can be made to die between any two calls, and devices that report."""

import asyncio
from typing import Any

import msgspec

from console_service.campaign_runner import CampaignRunner
from console_service.metrics import ConsoleMetrics
from console_service.presence import DevicePresence
from shared.domain.campaign_devices import CampaignDevice, ErrandState, Way
from shared.domain.campaigns import Action, Campaign, requested
from shared.domain.links import Links
from shared.domain.tasks import DEVICE, HistoryEntry, Task, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import ManualClock
from shared.stores.campaign_interfaces import CampaignDeviceQuery, CampaignStore
from shared.stores.interfaces import DeviceStore, NewTask, PendingTasks, TaskQuery, TaskStore
from shared.stores.memory_tasks import MemoryLock
from shared.stores.person_interfaces import FirmwareStore
from tests.support.campaign_values import CAMPAIGN_ID, make_package
from tests.support.session_values import NOW_MS
from tests.support.task_values import make_task


class Died(Exception):
    """The process was killed here."""


class Fuse:
    """Counts calls of stores. At the given one, before it or after it, the process dies; or, where there is `release`,
    it hangs until that is set."""

    def __init__(self, calls: int | None = None, *, after: bool = False, release: asyncio.Event | None = None) -> None:
        self.burnt = asyncio.Event()
        self._calls = calls
        self._after = after
        self._release = release

    def watch(self, store: Any) -> Any:
        """The store, behind the fuse."""
        return _Watched(store, self)

    async def pass_by(self, *, after: bool) -> None:
        """A call comes by. Raises Died."""
        if not after and self._calls is not None:
            self._calls -= 1
        if self.burnt.is_set() or self._calls is None or self._calls >= 0 or after is not self._after:
            return
        self.burnt.set()
        if self._release is None:
            raise Died
        await self._release.wait()


class _Watched:
    def __init__(self, store: Any, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            await self._fuse.pass_by(after=False)
            answer = await getattr(self._store, name)(*args, **options)
            await self._fuse.pass_by(after=True)
            return answer

        return call


class CampaignWorld(msgspec.Struct, kw_only=True):
    """Stores, and the runner of the console that lives now."""

    campaigns: CampaignStore
    firmware: FirmwareStore
    tasks: TaskStore
    pending: PendingTasks
    devices: DeviceStore
    presence: DevicePresence
    links: Links = Links({"k1": b"1" * 32}, "https://devices.example")
    lock: MemoryLock = msgspec.field(default_factory=MemoryLock)
    clock: ManualClock = msgspec.field(default_factory=lambda: ManualClock(NOW_MS))
    metrics: ConsoleMetrics = msgspec.field(default_factory=ConsoleMetrics)
    fuse: Fuse = msgspec.field(default_factory=Fuse)
    runner: CampaignRunner | None = None

    def start(self, fuse: Fuse | None = None) -> None:
        """A new console, which knows nothing of what an earlier one had in memory."""
        self.fuse = fuse or Fuse()
        watch = self.fuse.watch
        self.runner = CampaignRunner(
            watch(self.campaigns),
            watch(self.firmware),
            watch(self.tasks),
            watch(self.pending),
            watch(self.devices),
            watch(self.presence),
            self.links,
            watch(self.lock),
            self.clock,
            self.metrics,
        )

    async def turn(self, times: int = 1) -> None:
        """Turns of the runner."""
        if self.runner is None:
            self.start()
        assert self.runner is not None
        for _ in range(times):
            self.clock.advance(1)
            await self.runner.work()

    async def campaign(self, campaign_id: str = CAMPAIGN_ID) -> Campaign:
        """As stored."""
        found = await self.campaigns.find(campaign_id)
        assert found is not None
        return found

    async def ask(self, action: Action, campaign_id: str = CAMPAIGN_ID) -> Campaign | None:
        """What the route does for an operator, once."""
        campaign = await self.campaign(campaign_id)
        after = requested(campaign, action)
        if after is None:
            return None
        assert after == campaign or await self.campaigns.replace(after)
        return after

    async def members(self, campaign_id: str = CAMPAIGN_ID) -> list[CampaignDevice]:
        """All devices of a campaign."""
        return list(await self.campaigns.devices(CampaignDeviceQuery(campaign_id=campaign_id, limit=100_000)))

    async def states(self, way: Way = Way.FORWARD, campaign_id: str = CAMPAIGN_ID) -> str:
        """One letter a device, in the campaign's order; a dash where it has no such errand."""
        errands = [device.errand(way) for device in await self.members(campaign_id)]
        return "".join("-" if errand is None else LETTERS[errand.state] for errand in errands)

    async def tasks_of(self, sn: str) -> list[Task]:
        """All of a device, oldest first."""
        return list(reversed(await self.tasks.page(TaskQuery(sns=(sn,), limit=1000))))

    async def report(self, sn: str, state: TaskState = TaskState.DONE, *, delivered: bool = True) -> None:
        """Ends the device's open task, as the device's interface does."""
        (task,) = await self.tasks.open_of(sn)
        states = [TaskState.DELIVERED, state] if delivered else [state]
        for one in states:
            entry = HistoryEntry(at_ms=self.clock.now_ms(), state=one, actor=DEVICE)
            await self.tasks.change([task.task_id], entry, sn=sn)
        await self.pending.remove_many({sn: [task.task_id]})

    async def install(self, sn: str, version: str, task_id: str) -> None:
        """What an earlier task did to a device."""
        package = make_package(version)
        task = make_task(task_id, sn, apicode=Apicode.T_UPDATE_DEVICE_VERSION, firmware=package)
        await self.tasks.add_many([NewTask(task=task)])
        await self.report(sn)

    async def listed(self, sn: str) -> list[str]:
        """What the device's heartbeats list."""
        return list((await self.pending.oldest([sn], 50))[0])


LETTERS = {
    ErrandState.WAITING: "w",
    ErrandState.OPENING: "i",
    ErrandState.OPEN: "o",
    ErrandState.DONE: "d",
    ErrandState.FAILED: "f",
    ErrandState.SKIPPED: "s",
    ErrandState.NO_EARLIER_PACKAGE: "n",
}
