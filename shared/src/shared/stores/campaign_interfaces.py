"""What the console asks of the store of campaigns. Every method may raise Unavailable, as in interfaces.py."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from shared.domain.campaign_devices import CampaignDevice, ErrandState, Way
from shared.domain.campaigns import Campaign, Tally


class CampaignDeviceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which devices of a campaign, in its order."""

    campaign_id: str
    way: Way = Way.FORWARD
    """Which of their errands `state` is about."""
    state: ErrandState | None = None
    """None: all."""
    after: int = -1
    """The number of the last device of the earlier page."""
    before: int | None = None
    """Only devices of lower numbers."""
    limit: int = 50


class CampaignStore(Protocol):
    """`campaigns` and `campaign_devices`. A device is busy in one campaign at a time, whoever writes."""

    async def add(self, campaign: Campaign, devices: Sequence[CampaignDevice]) -> None:
        """The campaign is there once all of its devices are."""
        ...

    async def find(self, campaign_id: str) -> Campaign | None: ...

    async def page(self, before: str | None, limit: int) -> Sequence[Campaign]:
        """Newest first, before `before`."""
        ...

    async def unsettled(self) -> Sequence[Campaign]:
        """Those with which something is left to do, oldest first."""
        ...

    async def replace(self, campaign: Campaign) -> bool:
        """Stores it with the next `rev`; False where it was changed since it was read."""
        ...

    async def devices(self, query: CampaignDeviceQuery) -> Sequence[CampaignDevice]: ...

    async def not_turned(self, campaign_id: str, limit: int) -> Sequence[CampaignDevice]:
        """Some that have no errand back yet, and are not busy."""
        ...

    async def put_devices(self, campaign_id: str, devices: Sequence[CampaignDevice]) -> None:
        """Stores each with the next `rev`. One that was changed since it was read, or would be busy while it is in
        another campaign, stays as it is."""
        ...

    async def retry_failed(self, campaign_id: str) -> None:
        """Every device that has failed on the way forward waits again."""
        ...

    async def tallies(self, campaign_id: str) -> Sequence[Tally]:
        """How many devices stand how, by stage."""
        ...
