"""Campaigns and packages for tests, made from what a test cares about."""

import hashlib

from shared.domain.campaign_devices import CampaignDevice, campaign_devices
from shared.domain.campaigns import Campaign
from shared.domain.firmware import FirmwareReference
from tests.support.session_values import NOW_MS

CAMPAIGN_ID = "c1"


def make_package(version: str) -> FirmwareReference:
    """A package that is nothing but its name."""
    sha256 = hashlib.sha256(version.encode()).hexdigest()
    return FirmwareReference(firmware_id=f"f-{version}", version=version, size=len(version), sha256=sha256)


def make_campaign(size: int, campaign_id: str = CAMPAIGN_ID, **changes: object) -> Campaign:
    """One that runs, in one stage unless a test says otherwise, with the contract's thresholds."""
    values = {
        "firmware": make_package("v2"),
        "stages": (100,),
        "success_threshold": 90,
        "error_threshold": 10,
        "site_ids": ("s1",),
        "created_at_ms": NOW_MS,
        "created_by": "admin",
        **changes,
    }
    return Campaign(campaign_id=campaign_id, size=size, **values)  # type: ignore[arg-type]  # the test's own changes


def make_devices(campaign: Campaign, prefix: str = "SN") -> list[CampaignDevice]:
    """Its devices as they are made: SN0, SN1 and so on."""
    return campaign_devices([f"{prefix}{number}" for number in range(campaign.size)], campaign.stages)
