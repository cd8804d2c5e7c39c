"""Campaigns in dicts: for unit tests, and for reading how their store must behave."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from shared.domain.campaign_devices import CampaignDevice, Errand, ErrandState
from shared.domain.campaigns import Campaign, Tally
from shared.runtime.unavailable import Unavailable
from shared.stores.campaign_interfaces import CampaignDeviceQuery


class MemoryCampaignStore:
    """CampaignStore in dicts. `available = False` makes every call raise Unavailable."""

    def __init__(self) -> None:
        self.available = True
        self._campaigns: dict[str, Campaign] = {}
        self._devices: dict[str, list[CampaignDevice]] = {}

    async def add(self, campaign: Campaign, devices: Sequence[CampaignDevice]) -> None:
        self._reach()
        self._devices[campaign.campaign_id] = list(devices)
        self._campaigns[campaign.campaign_id] = campaign

    async def find(self, campaign_id: str) -> Campaign | None:
        self._reach()
        return self._campaigns.get(campaign_id)

    async def page(self, before: str | None, limit: int) -> Sequence[Campaign]:
        self._reach()
        found = sorted(self._campaigns.items(), reverse=True)
        return [campaign for campaign_id, campaign in found if before is None or campaign_id < before][:limit]

    async def unsettled(self) -> Sequence[Campaign]:
        self._reach()
        return [campaign for _, campaign in sorted(self._campaigns.items()) if not campaign.is_settled]

    async def replace(self, campaign: Campaign) -> bool:
        self._reach()
        if self._campaigns[campaign.campaign_id].rev != campaign.rev:
            return False
        self._campaigns[campaign.campaign_id] = msgspec.structs.replace(campaign, rev=campaign.rev + 1)
        return True

    async def devices(self, query: CampaignDeviceQuery) -> Sequence[CampaignDevice]:
        self._reach()
        found = [
            device
            for device in self._devices.get(query.campaign_id, [])[query.after + 1 : query.before]
            if query.state is None or ((errand := device.errand(query.way)) and errand.state is query.state)
        ]
        return found[: query.limit]

    async def not_turned(self, campaign_id: str, limit: int) -> Sequence[CampaignDevice]:
        self._reach()
        found = [device for device in self._devices[campaign_id] if device.back is None and not device.is_busy]
        return found[:limit]

    async def put_devices(self, campaign_id: str, devices: Sequence[CampaignDevice]) -> None:
        self._reach()
        stored = self._devices[campaign_id]
        for device in devices:
            if stored[device.number].rev == device.rev and not (device.is_busy and self._is_busy(device, campaign_id)):
                stored[device.number] = msgspec.structs.replace(device, rev=device.rev + 1)

    async def retry_failed(self, campaign_id: str) -> None:
        self._reach()
        self._devices[campaign_id] = [
            msgspec.structs.replace(device, forward=Errand(), rev=device.rev + 1)
            if device.forward.state is ErrandState.FAILED
            else device
            for device in self._devices[campaign_id]
        ]

    async def tallies(self, campaign_id: str) -> Sequence[Tally]:
        self._reach()
        counts = Counter(
            (device.stage, device.forward.state, device.back.state if device.back else None)
            for device in self._devices[campaign_id]
        )
        return [
            Tally(stage=stage, forward=forward, back=back, count=count)
            for (stage, forward, back), count in counts.items()
        ]

    def _is_busy(self, wanted: CampaignDevice, campaign_id: str) -> bool:
        return any(
            device.is_busy and device.sn == wanted.sn
            for other, devices in self._devices.items()
            if other != campaign_id
            for device in devices
        )

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable("MemoryCampaignStore: made unavailable")
