"""Firmware campaigns: a package for many terminals, in stages."""

import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query

from console_service.audit import Auditor
from console_service.campaign_answers import (
    Campaign,
    CampaignMemberPage,
    CampaignPage,
    shown,
    shown_head,
    shown_member,
)
from console_service.campaign_wishes import NewCampaign
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Operating, Viewing
from shared.domain import campaigns
from shared.domain.campaign_devices import ErrandState, Way, campaign_devices, spread_over_sites
from shared.domain.campaigns import MAX_DEVICES, Action, requested
from shared.domain.devices import stands_at
from shared.domain.operators import Operator
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable
from shared.stores.campaign_interfaces import CampaignDeviceQuery, CampaignStore
from shared.stores.interfaces import DeviceStore, SiteStore
from shared.stores.person_interfaces import FirmwareStore

LISTED = "campaigns"
MAX_BODY_BYTES = 1024 * 1024
MAKING_SECONDS = 60.0
"""Longest time that the making of a campaign of MAX_DEVICES may take."""
_ATTEMPTS = 10
"""Of a change that the runner keeps overtaking."""
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "The campaign's state forbids it"}}

_Number = Annotated[int, msgspec.Meta(ge=0, lt=MAX_DEVICES)]
CampaignId = Annotated[str, Path(alias="campaignId", examples=["c019ab4d2f30c8d5e6f70"])]


def campaign_routes(
    store: CampaignStore,
    firmware: FirmwareStore,
    devices: DeviceStore,
    sites: SiteStore,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /campaigns."""
    router = APIRouter(prefix="/campaigns", tags=["campaigns"])

    @router.post("", status_code=201, summary="Make a campaign")
    async def create_campaign(operator: Operating, wish: NewCampaign) -> Campaign:
        """It runs at once. Its terminals are those of now, in an order that spreads every stage over the sites. Each
        gets a T_UPDATE_DEVICE_VERSION task when its stage opens; one that has an open task of another campaign waits
        for its end. Where the answer is 503, look at the list before trying again."""
        campaign_id = f"c{clock.now_ms():012x}{secrets.token_hex(4)}"
        what = {
            "firmwareId": wish.firmware_id,
            "sns": None if wish.sns is None else len(wish.sns),
            "siteIds": wish.site_ids,
            "stages": wish.stages,
            "successThreshold": wish.success_threshold,
            "errorThreshold": wish.error_threshold,
        }
        async with auditor.change(operator.who, "campaign.create", campaign_id, what) as change:
            package = (await firmware.find([wish.firmware_id])).get(wish.firmware_id)
            if package is None:
                raise Problem(422, "there is no such firmware")
            stand = await chosen(operator, wish)
            campaign = campaigns.Campaign(
                campaign_id=campaign_id,
                firmware=package.reference,
                stages=tuple(wish.stages),
                success_threshold=wish.success_threshold,
                error_threshold=wish.error_threshold,
                size=len(stand),
                site_ids=tuple(dict.fromkeys(stand.values())),
                created_at_ms=clock.now_ms(),
                created_by=operator.who,
            )
            order = spread_over_sites(stand, campaign_id)
            await store.add(campaign, campaign_devices(order, campaign.stages))
            change.after = {"state": campaign.state, "devices": campaign.size}
        return await answer(campaign)

    @router.get("", summary="List campaigns")
    async def list_campaigns(operator: Viewing, cursor: Cursor = None, limit: Limit = 50) -> CampaignPage:
        """Newest first. A token that is bound to sites sees the campaigns whose terminals all stood there when they
        were made."""
        before = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found: list[campaigns.Campaign] = []
        while len(found) <= limit:
            page = await store.page(before, limit + 1)
            found += [campaign for campaign in page if _is_seen(operator, campaign)]
            if len(page) <= limit:
                break
            before = page[-1].campaign_id
        following = encode_cursor(LISTED, (found[limit - 1].campaign_id,)) if len(found) > limit else None
        return CampaignPage(items=[shown_head(campaign) for campaign in found[:limit]], next=following)

    @router.get("/{campaignId}", summary="Show a campaign")
    async def show_campaign(operator: Viewing, campaign_id: CampaignId) -> Campaign:
        """One campaign with the counts of its terminals."""
        return await answer(await stored(operator, campaign_id))

    @router.get("/{campaignId}/devices", summary="List a campaign's terminals")
    async def list_campaign_devices(
        operator: Viewing,
        campaign_id: CampaignId,
        state: Annotated[ErrandState | None, Query(description="Those that stand there")] = None,
        rollback: Annotated[ErrandState | None, Query(description="Those that stand there on the way back")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> CampaignMemberPage:
        """In the campaign's order, which its stages follow."""
        if state is not None and rollback is not None:
            raise Problem(422, "at most one of state and rollback can be given")
        listed = f"{LISTED} {campaign_id} {state} {rollback}"
        await stored(operator, campaign_id)
        query = CampaignDeviceQuery(
            campaign_id=campaign_id,
            way=Way.FORWARD if rollback is None else Way.BACK,
            state=state if rollback is None else rollback,
            after=-1 if cursor is None else decode_cursor(listed, cursor, tuple[_Number])[0],
            limit=limit + 1,
        )
        found = await store.devices(query)
        following = encode_cursor(listed, (found[limit - 1].number,)) if len(found) > limit else None
        return CampaignMemberPage(items=[shown_member(device) for device in found[:limit]], next=following)

    @router.post("/{campaignId}/pause", summary="Pause a campaign", responses=_CONFLICT)
    async def pause_campaign(operator: Operating, campaign_id: CampaignId) -> Campaign:
        """No further terminal gets a task; those that have one go on. Harmless when repeated; 409 where the campaign
        has ended or is rolled back."""
        return await act(operator, campaign_id, Action.PAUSE)

    @router.post("/{campaignId}/resume", summary="Resume a campaign", responses=_CONFLICT)
    async def resume_campaign(operator: Operating, campaign_id: CampaignId) -> Campaign:
        """Terminals that have failed get a new task. Harmless when repeated; 409 where the campaign has ended or is
        rolled back."""
        return await act(operator, campaign_id, Action.RESUME)

    @router.post("/{campaignId}/cancel", summary="Cancel a campaign", responses=_CONFLICT)
    async def cancel_campaign(operator: Operating, campaign_id: CampaignId) -> Campaign:
        """Tasks that have not ended are taken back within seconds; what a terminal has begun it may still do. Harmless
        when repeated; 409 where the campaign has ended or is rolled back."""
        return await act(operator, campaign_id, Action.CANCEL)

    @router.post("/{campaignId}/rollback", summary="Roll a campaign back", responses=_CONFLICT)
    async def roll_campaign_back(operator: Operating, campaign_id: CampaignId) -> Campaign:
        """Tasks that have not ended are taken back, and every terminal that is done, or had been given its task by
        then, gets the package that it ran before: all at once, without thresholds. Harmless when repeated."""
        return await act(operator, campaign_id, Action.ROLLBACK)

    async def act(operator: Operator, campaign_id: str, action: Action) -> Campaign:
        async with auditor.change(operator.who, f"campaign.{action}", campaign_id, {}) as change:
            for _ in range(_ATTEMPTS):
                campaign = await stored(operator, campaign_id)
                after = requested(campaign, action)
                if after is None:
                    raise Problem(409, f"the campaign is {campaign.state}")
                if action is Action.RESUME and after != campaign:
                    # Before it runs: its failures of before would pause it again.
                    await store.retry_failed(campaign_id)
                if after == campaign or await store.replace(after):
                    change.before, change.after = {"state": campaign.state}, {"state": after.state}
                    return await answer(after)
        raise Unavailable("the campaign is being changed by others all the time")

    async def chosen(operator: Operator, wish: NewCampaign) -> dict[str, str | None]:
        """Where each terminal of the campaign stands."""
        now_ms = clock.now_ms()
        if wish.sns is not None:
            found = await devices.find(wish.sns)
            stand = {sn: stands_at(found[sn], now_ms)[0] for sn in wish.sns if sn in found}
            stand = {sn: site_id for sn, site_id in stand.items() if operator.sees(site_id)}
            if unknown := [sn for sn in wish.sns if sn not in stand]:
                raise Problem(422, f"there are no such devices: {', '.join(unknown[:10])}")
            return stand
        site_ids = wish.site_ids or []
        known = await sites.find(site_ids)
        if unknown := [one for one in site_ids if one not in known or not operator.sees(one)]:
            raise Problem(422, f"there are no such sites: {', '.join(unknown[:10])}")
        stand = {}
        for site_id in site_ids:
            stand |= {device.sn: site_id for device in await devices.at_site(site_id, now_ms)}
            if len(stand) > MAX_DEVICES:
                raise Problem(422, f"a campaign takes at most {MAX_DEVICES} devices")
        if not stand:
            raise Problem(422, "no device stands at these sites")
        return stand

    async def stored(operator: Operator, campaign_id: str) -> campaigns.Campaign:
        campaign = await store.find(campaign_id)
        if campaign is None or not _is_seen(operator, campaign):
            raise Problem(404, "no such campaign")
        return campaign

    async def answer(campaign: campaigns.Campaign) -> Campaign:
        return shown(campaign, await store.tallies(campaign.campaign_id))

    return router


def _is_seen(operator: Operator, campaign: campaigns.Campaign) -> bool:
    return all(operator.sees(site_id) for site_id in campaign.site_ids)
