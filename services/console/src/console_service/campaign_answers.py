"""Campaigns as the REST API shows them."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.times import Moment
from shared.domain import campaigns
from shared.domain.attendance import rfc3339
from shared.domain.campaign_devices import BUSY_STATES, CampaignDevice, Errand, ErrandState, Way
from shared.domain.campaigns import CampaignState, Tally


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class CampaignCounts(_Answer):
    """How many terminals stand where, on the way forward."""

    waiting: int = Field(examples=[75])
    open: int = Field(description="Their task is made and has not ended.", examples=[3])
    done: int = Field(examples=[21])
    failed: int = Field(examples=[1])
    skipped: int = Field(description="Disabled, unknown, or taken back.", examples=[0])


class RollbackCounts(CampaignCounts):
    """How many terminals stand where, on the way back; skipped are those on which nothing was installed."""

    no_earlier_package: int = Field(
        description="It is not known which package they ran before, so they keep the campaign's.", examples=[0]
    )


class CampaignHead(_Answer):
    """A campaign, without the counts of its terminals."""

    campaign_id: str = Field(examples=["c019ab4d2f30c8d5e6f70"])
    firmware_id: str = Field(examples=["f019ab4d2f30c8d5e6f70"])
    version: str = Field(description="Of the package.", examples=["v2.4.1"])
    state: CampaignState
    reason: str | None = Field(description="Why it paused by itself.", examples=["stage 1 reached the error threshold"])
    stages: list[int] = Field(examples=[[5, 25, 100]])
    stage: int = Field(description="The last one that is open, from 1.", examples=[1])
    success_threshold: int = Field(examples=[90])
    error_threshold: int = Field(examples=[10])
    devices: int = Field(description="How many terminals there are.", examples=[100])
    created_at: Moment
    created_by: str = Field(examples=["admin"])


class Campaign(CampaignHead):
    """A package for many terminals, in stages."""

    counts: CampaignCounts
    rollback: RollbackCounts | None = Field(description="null until it is rolled back.")


class CampaignPage(_Answer):
    """Campaigns, newest first."""

    items: list[CampaignHead]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


class CampaignErrand(_Answer):
    """A terminal on one way."""

    state: ErrandState
    taskid: str | None = Field(examples=["6541951958563696640"])
    reason: str | None = Field(description="Why it failed or was skipped.", examples=[None])


class CampaignMember(CampaignErrand):
    """A terminal in a campaign."""

    sn: str = Field(examples=["84E0F42C5D1A"])
    stage: int = Field(description="From 1.", examples=[1])
    earlier_version: str | None = Field(description="The package that it ran before.", examples=["v2.3.0"])
    rollback: CampaignErrand | None = Field(description="null until the campaign is rolled back.")


class CampaignMemberPage(_Answer):
    """Terminals in the campaign's order."""

    items: list[CampaignMember]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def shown_head(campaign: campaigns.Campaign) -> CampaignHead:
    """The campaign alone."""
    return CampaignHead(
        campaign_id=campaign.campaign_id,
        firmware_id=campaign.firmware.firmware_id,
        version=campaign.firmware.version,
        state=campaign.state,
        reason=campaign.reason,
        stages=list(campaign.stages),
        stage=campaign.stage + 1,
        success_threshold=campaign.success_threshold,
        error_threshold=campaign.error_threshold,
        devices=campaign.size,
        created_at=rfc3339(campaign.created_at_ms),
        created_by=campaign.created_by,
    )


def shown(campaign: campaigns.Campaign, tallies: Sequence[Tally]) -> Campaign:
    """The campaign with its counts."""
    has_turned = campaign.state in (CampaignState.ROLLING_BACK, CampaignState.ROLLED_BACK)
    return Campaign(
        **dict(shown_head(campaign)),
        counts=CampaignCounts(**_counts(tallies, Way.FORWARD)),
        rollback=RollbackCounts(**_counts(tallies, Way.BACK)) if has_turned else None,
    )


def shown_member(device: CampaignDevice) -> CampaignMember:
    """A terminal of a campaign."""
    return CampaignMember(
        **_errand(device.forward),
        sn=device.sn,
        stage=device.stage + 1,
        earlier_version=None if device.earlier is None else device.earlier.version,
        rollback=None if device.back is None else CampaignErrand(**_errand(device.back)),
    )


def _errand(errand: Errand) -> dict[str, Any]:
    return {"state": errand.state, "taskid": errand.task_id, "reason": errand.reason}


def _counts(tallies: Sequence[Tally], way: Way) -> dict[str, int]:
    counts = dict.fromkeys(ErrandState, 0)
    for tally in tallies:
        # What has not been turned yet still has its way back before it.
        state = tally.forward if way is Way.FORWARD else tally.back or ErrandState.WAITING
        counts[ErrandState.OPEN if state in BUSY_STATES else state] += tally.count
    del counts[ErrandState.OPENING]
    return {state.replace("-", "_"): count for state, count in counts.items()}
