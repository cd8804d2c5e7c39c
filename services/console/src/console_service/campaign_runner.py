"""Carries out firmware campaigns, in the background of one console of several. The rules are domain/campaigns.py's.

1. Ids are drawn and stored with their devices, then the tasks are made, then listed, then that is noted. Each step
   begins from what is stored: whoever goes on after a death, or after another's lock expired, does what was left, and
   nothing twice.
2. Of each campaign a bounded part is looked at in a turn; the next turn goes on behind it.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence

from console_service.metrics import ConsoleMetrics
from console_service.presence import DevicePresence
from shared.domain.campaign_devices import (
    DISABLED,
    UNKNOWN,
    CampaignDevice,
    ErrandState,
    Way,
    ended,
    opened,
    opening,
    skipped,
    turned,
)
from shared.domain.campaigns import (
    STOPPED,
    Campaign,
    CampaignState,
    campaign_task,
    decided,
    taking_back,
    wants_tasks,
)
from shared.domain.control import PushCommand
from shared.domain.firmware import FirmwareReference
from shared.domain.links import Links
from shared.domain.tasks import NODE_BITS, Task, TaskIds, TaskState, task_param
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import Clock
from shared.stores.campaign_interfaces import CampaignDeviceQuery, CampaignStore
from shared.stores.interfaces import DeviceStore, Lock, NewTask, PendingTasks, TaskQuery, TaskStore
from shared.stores.person_interfaces import FirmwareStore

log = logging.getLogger(__name__)

DRAWN_AT_ONCE = 200
"""Devices that are opened in one turn: a large stage's downloads do not all begin at once."""
LOOKED_AT_ONCE = 1_000
ASKED_AT_ONCE = 20
"""Devices whose last package is looked up side by side."""
DECIDED_MS = 10_000
"""So often at least the counts are judged, though nothing has changed here: another process may have changed it."""


class CampaignRunner:
    """One turn is one call of `work`."""

    def __init__(
        self,
        campaigns: CampaignStore,
        firmware: FirmwareStore,
        tasks: TaskStore,
        pending: PendingTasks,
        devices: DeviceStore,
        presence: DevicePresence,
        links: Links,
        lock: Lock,
        clock: Clock,
        metrics: ConsoleMetrics,
    ) -> None:
        self._campaigns = campaigns
        self._firmware = firmware
        self._tasks = tasks
        self._pending = pending
        self._devices = devices
        self._presence = presence
        self._links = links
        self._lock = lock
        self._clock = clock
        self._metrics = metrics
        self._ids = TaskIds(clock.now_ms, secrets.randbits(NODE_BITS))
        self._passed: dict[tuple[str, Way, ErrandState], int] = {}
        """Rule 2: the number of the device that was looked at last."""
        self._judged: dict[str, tuple[int, int]] = {}
        """By campaign: its rev when its counts were judged last, and when."""

    async def work(self) -> None:
        """One turn with each campaign that is not settled. Raises Unavailable."""
        for campaign in await self._campaigns.unsettled():
            await self._work_on(campaign)
            if not await self._lock.hold():
                return

    async def _work_on(self, campaign: Campaign) -> None:
        changes = 0
        if campaign.state is CampaignState.RUNNING:
            changes += await self._draw(campaign, Way.FORWARD)
        elif not wants_tasks(campaign, Way.FORWARD):
            changes += await self._leave_out(campaign)
        ways = [Way.FORWARD]
        if campaign.state is CampaignState.ROLLING_BACK:
            changes += await self._turn(campaign)
            changes += await self._draw(campaign, Way.BACK)
            ways.append(Way.BACK)
        for way in ways:
            changes += await self._make(campaign, way)
            changes += await self._gather(campaign, way)
        if campaign.state is not CampaignState.PAUSED:  # in which counts decide nothing
            await self._decide(campaign, is_due=changes > 0)

    async def _draw(self, campaign: Campaign, way: Way) -> int:
        """Draws the ids of devices that wait; leaves out those that cannot be served."""
        before = campaign.opened if way is Way.FORWARD else None
        waiting = await self._next(campaign, way, ErrandState.WAITING, DRAWN_AT_ONCE, before)
        known = await self._devices.find([device.sn for device in waiting])
        fit = [device for device in waiting if device.sn in known and not known[device.sn].disabled]
        earlier = await self._earlier_packages(campaign, fit) if way is Way.FORWARD else {}
        drawn = [opening(device, way, self._ids.next(), earlier.get(device.sn)) for device in fit]
        drawn += [
            skipped(device, way, DISABLED if device.sn in known else UNKNOWN) for device in waiting if device not in fit
        ]
        await self._campaigns.put_devices(campaign.campaign_id, drawn)
        return len(drawn)

    async def _leave_out(self, campaign: Campaign) -> int:
        """Skips devices that wait for a stage that will not open any more."""
        waiting = await self._next(campaign, Way.FORWARD, ErrandState.WAITING, LOOKED_AT_ONCE)
        left_out = [skipped(device, Way.FORWARD, STOPPED[campaign.state]) for device in waiting]
        await self._campaigns.put_devices(campaign.campaign_id, left_out)
        return len(left_out)

    async def _make(self, campaign: Campaign, way: Way) -> int:
        """Makes and lists the tasks whose ids are drawn."""
        devices = await self._campaigns.devices(
            CampaignDeviceQuery(
                campaign_id=campaign.campaign_id, way=way, state=ErrandState.OPENING, limit=LOOKED_AT_ONCE
            )
        )
        if not devices:
            return 0
        now_ms = self._clock.now_ms()
        made = await self._tasks.find([device.task_id(way) for device in devices])
        new = [campaign_task(campaign, device, way, now_ms) for device in devices if device.task_id(way) not in made]
        await self._tasks.add_many([NewTask(task=task) for task in new])
        self._metrics.campaign_tasks += len(new)
        listed = [task for task in (*made.values(), *new) if task.is_open]
        # Pushed once: a terminal that was told already may begin anew. Heartbeats list it in any case (C2).
        push = [self._command(task, now_ms) for task in new if task.is_open]
        await self._pending.add_many({task.sn: [task.task_id] for task in listed}, push)
        await self._campaigns.put_devices(campaign.campaign_id, [opened(device, way) for device in devices])
        return len(devices)

    def _command(self, task: Task, now_ms: int) -> PushCommand:
        return PushCommand(task.sn, task.task_id, task.apicode, task_param(task, self._links, now_ms))

    async def _gather(self, campaign: Campaign, way: Way) -> int:
        """Takes over how tasks ended; takes back those that are not wanted any more."""
        devices = await self._next(campaign, way, ErrandState.OPEN, LOOKED_AT_ONCE)
        if not devices:
            return 0
        task_ids = [device.task_id(way) for device in devices]
        if not wants_tasks(campaign, way):
            await self._tasks.change(task_ids, taking_back(campaign, self._clock.now_ms()))
            await self._pending.remove_many({device.sn: [device.task_id(way)] for device in devices})
        tasks = await self._tasks.find(task_ids)
        over = [
            ended(device, way, task)
            for device in devices
            if (task := tasks.get(device.task_id(way))) is None or not task.is_open
        ]
        await self._campaigns.put_devices(campaign.campaign_id, over)
        return len(over)

    async def _turn(self, campaign: Campaign) -> int:
        """Sends devices on their way back."""
        devices = await self._campaigns.not_turned(campaign.campaign_id, LOOKED_AT_ONCE)
        await self._campaigns.put_devices(campaign.campaign_id, [turned(device) for device in devices])
        return len(devices)

    async def _decide(self, campaign: Campaign, *, is_due: bool) -> None:
        campaign_id, now_ms = campaign.campaign_id, self._clock.now_ms()
        rev, at_ms = self._judged.get(campaign_id, (-1, 0))
        if not is_due and rev == campaign.rev and now_ms - at_ms < DECIDED_MS:
            return
        after = decided(campaign, await self._campaigns.tallies(campaign_id))
        if after == campaign:
            self._judged[campaign_id] = (campaign.rev, now_ms)
        elif await self._campaigns.replace(after):  # else an operator was faster: the next turn judges what is then
            log.info("campaign %s is %s in stage %d", campaign_id, after.state, after.stage + 1)
            self._metrics.campaigns_paused += after.state is CampaignState.PAUSED
        if after.is_settled:
            self._judged.pop(campaign_id, None)

    async def _next(
        self, campaign: Campaign, way: Way, state: ErrandState, limit: int, before: int | None = None
    ) -> Sequence[CampaignDevice]:
        key = (campaign.campaign_id, way, state)
        query = CampaignDeviceQuery(
            campaign_id=campaign.campaign_id,
            way=way,
            state=state,
            after=self._passed.pop(key, -1),
            before=before,
            limit=limit,
        )
        found = await self._campaigns.devices(query)
        if len(found) == limit:
            self._passed[key] = found[-1].number
        return found

    async def _earlier_packages(
        self, campaign: Campaign, devices: Sequence[CampaignDevice]
    ) -> dict[str, FirmwareReference]:
        """What each device runs, by sn, where that is a package (rule 6 of the domain): as it tells itself, else what
        its last task installed."""
        told = {sn: one.device_version for sn, one in (await self._presence.of([one.sn for one in devices])).items()}
        packages = await self._firmware.of_versions({version for version in told.values() if version is not None})
        found = {
            sn: packages[version].reference
            for sn, version in told.items()
            if version is not None and version in packages
        }
        rest = [device.sn for device in devices if device.sn not in found]
        for start in range(0, len(rest), ASKED_AT_ONCE):
            part = rest[start : start + ASKED_AT_ONCE]
            last = await asyncio.gather(*(self._last_installed(sn) for sn in part))
            found |= {sn: package for sn, package in zip(part, last, strict=True) if package is not None}
        return {sn: package for sn, package in found.items() if package.version != campaign.firmware.version}

    async def _last_installed(self, sn: str) -> FirmwareReference | None:
        query = TaskQuery(sns=(sn,), state=TaskState.DONE, apicode=Apicode.T_UPDATE_DEVICE_VERSION, limit=1)
        return next((task.firmware for task in await self._tasks.page(query)), None)
