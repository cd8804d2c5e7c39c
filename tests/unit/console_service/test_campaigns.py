import itertools
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from console_service.cursors import encode_cursor
from shared.domain.audit import AuditOutcome
from shared.domain.campaign_devices import ErrandState, Way, ended, opening, with_errand
from shared.domain.campaigns import Campaign, CampaignState
from shared.domain.devices import Device, SiteSpan
from shared.domain.operators import Role
from shared.domain.sites import Site
from shared.stores.campaign_interfaces import CampaignDeviceQuery
from tests.support.campaign_values import make_package
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem


async def package_bytes() -> AsyncIterator[bytes]:
    yield b"package"


async def make_parts() -> tuple[Parts, str]:
    """SN1 to SN4 stand at s1, SN5 and SN6 at s2, SN7 nowhere; and the id of package v2."""
    parts = Parts()
    stand = {f"SN{number}": "s1" if number < 5 else "s2" if number < 7 else None for number in range(1, 8)}
    await parts.devices.register(
        [
            Device(sn=sn, vendor_id="v1", registered_at_ms=0, site_history=(SiteSpan(0, site_id, None),))
            for sn, site_id in stand.items()
        ]
    )
    for site_id in ("s1", "s2", "s3"):
        await parts.sites.add(Site(site_id=site_id, name="West Lake Tower", created_at_ms=0))
    return parts, (await parts.firmware.add("v2", package_bytes(), NOW_MS)).firmware_id


async def create(parts: Parts, firmware_id: str, **wish: object) -> dict[str, Any]:
    parts.clock.advance(0.001)
    wish = {"siteIds": ["s1", "s2"], **wish} if "sns" not in wish else wish
    answer = await parts.ask("POST", "/campaigns", json_body={"firmwareId": firmware_id, **wish})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    return made


async def act(parts: Parts, campaign: dict[str, Any], action: str, status: int = 200) -> str:
    answer = await parts.ask("POST", f"/campaigns/{campaign['campaignId']}/{action}")
    assert answer.status == status, answer.body
    return str(answer.json()["state"]) if status == 200 else check_problem(answer, status)


async def members(parts: Parts, campaign: dict[str, Any], query: str = "", **options: Any) -> list[dict[str, Any]]:
    answer = await parts.ask("GET", f"/campaigns/{campaign['campaignId']}/devices{query}", **options)
    assert answer.status == 200, answer.body
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def set_state(parts: Parts, campaign: dict[str, Any], state: CampaignState) -> None:
    found = await parts.campaigns.find(campaign["campaignId"])
    assert found is not None
    assert await parts.campaigns.replace(msgspec.structs.replace(found, state=state))


# ── making ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_campaign_shows_the_members_of_the_contract() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id, stages=[50, 100], successThreshold=80, errorThreshold=20)
    expected = {
        "campaignId": campaign["campaignId"],
        "firmwareId": firmware_id,
        "version": "v2",
        "state": "running",
        "reason": None,
        "stages": [50, 100],
        "stage": 1,
        "successThreshold": 80,
        "errorThreshold": 20,
        "devices": 6,
        "createdAt": "2026-11-24T07:00:00.001Z",
        "createdBy": "admin",
        "counts": {"waiting": 6, "open": 0, "done": 0, "failed": 0, "skipped": 0},
        "rollback": None,
    }
    assert campaign == expected
    assert (await parts.ask("GET", f"/campaigns/{campaign['campaignId']}")).json() == expected
    head = {name: value for name, value in expected.items() if name not in ("counts", "rollback")}
    assert (await parts.ask("GET", "/campaigns")).json() == {"items": [head], "next": None}


async def test_what_is_left_out_is_one_stage_with_the_contracts_thresholds() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    assert (campaign["stages"], campaign["successThreshold"], campaign["errorThreshold"]) == ([100], 90, 10)


async def test_the_devices_are_those_of_now_spread_over_their_sites() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id, stages=[50, 100])
    listed = await members(parts, campaign)
    assert sorted(one["sn"] for one in listed) == ["SN1", "SN2", "SN3", "SN4", "SN5", "SN6"]
    first = [one["sn"] for one in listed if one["stage"] == 1]
    assert len(first) == 3
    assert len({"SN5", "SN6"} & set(first)) == 1  # a third of the stage, as of all
    assert listed[0] == {
        "sn": listed[0]["sn"],
        "stage": 1,
        "state": "waiting",
        "taskid": None,
        "reason": None,
        "earlierVersion": None,
        "rollback": None,
    }


async def test_devices_can_be_named_each_counts_once() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id, sns=["SN7", "SN1", "SN7"])
    assert sorted(one["sn"] for one in await members(parts, campaign)) == ["SN1", "SN7"]


@pytest.mark.parametrize(
    "wish",
    [
        {"firmwareId": "none"},
        {"sns": ["SN1", "SN9"]},
        {"sns": []},
        {"sns": [""]},
        {"sns": ["S" * 65]},
        {"siteIds": []},
        {"siteIds": ["s1", "s9"]},
        {"siteIds": ["s3"]},
        {"siteIds": None},
        {"siteIds": ["s1"], "sns": ["SN1"]},
        {"stages": []},
        {"stages": [50]},
        {"stages": [100, 50]},
        {"stages": [50, 50, 100]},
        {"stages": [0, 100]},
        {"stages": [50, 101]},
        {"stages": [5.5, 100]},
        {"successThreshold": 0},
        {"successThreshold": 101},
        {"errorThreshold": 0},
        {"errorThreshold": 101},
        {"unknown": 1},
    ],
)
async def test_a_wish_that_is_not_coherent_is_a_422_problem_and_makes_nothing(wish: dict[str, object]) -> None:
    parts, firmware_id = await make_parts()
    sns_alone = "sns" in wish and "siteIds" not in wish
    body = {"firmwareId": firmware_id, **({} if sns_alone else {"siteIds": ["s1"]}), **wish}
    check_problem(await parts.ask("POST", "/campaigns", json_body=body), 422)
    assert (await parts.ask("GET", "/campaigns")).json()["items"] == []


async def test_the_problem_names_devices_and_sites_that_are_not_there() -> None:
    parts, firmware_id = await make_parts()
    body = {"firmwareId": firmware_id, "sns": ["SN1", "SN8", "SN9"]}
    assert check_problem(await parts.ask("POST", "/campaigns", json_body=body), 422).endswith("devices: SN8, SN9")
    body = {"firmwareId": firmware_id, "siteIds": ["s1", "s8"]}
    assert check_problem(await parts.ask("POST", "/campaigns", json_body=body), 422).endswith("sites: s8")


async def test_ten_thousand_devices_can_be_named() -> None:
    parts, firmware_id = await make_parts()
    sns = [f"84E0F42C{number:05d}" for number in range(10_000)]
    await parts.devices.register([Device(sn=sn, vendor_id="v1", registered_at_ms=0) for sn in sns])
    assert (await create(parts, firmware_id, sns=sns))["devices"] == 10_000


# ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_campaigns_are_listed_newest_first_and_paged() -> None:
    parts, firmware_id = await make_parts()
    made = [(await create(parts, firmware_id))["campaignId"] for _ in range(3)]
    first = (await parts.ask("GET", "/campaigns?limit=2")).json()
    assert [one["campaignId"] for one in first["items"]] == [made[2], made[1]]
    second = (await parts.ask("GET", f"/campaigns?limit=2&cursor={first['next']}")).json()
    assert ([one["campaignId"] for one in second["items"]], second["next"]) == ([made[0]], None)


async def test_a_campaigns_devices_are_paged_and_found_by_state_on_either_way() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    campaign_id = campaign["campaignId"]
    stored = await parts.campaigns.devices(CampaignDeviceQuery(campaign_id=campaign_id))
    v1 = make_package("v1")
    failed = ended(opening(stored[1], Way.FORWARD, "17", v1), Way.FORWARD, None)
    drawn = opening(stored[2], Way.FORWARD, "18", v1)
    back = with_errand(stored[4], Way.BACK, failed.forward)
    await parts.campaigns.put_devices(campaign_id, [failed, drawn, back])
    order = [device.sn for device in stored]

    path = f"/campaigns/{campaign_id}/devices"
    pages, cursor = [], ""
    while True:
        page = (await parts.ask("GET", f"{path}?limit=4{cursor}")).json()
        pages.append([one["sn"] for one in page["items"]])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == [order[:4], order[4:]]

    (one,) = await members(parts, campaign, "?state=failed")
    assert one == {
        "sn": order[1],
        "stage": 1,
        "state": "failed",
        "taskid": "17",
        "reason": "its task is gone",
        "earlierVersion": "v1",
        "rollback": None,
    }
    assert [one["sn"] for one in await members(parts, campaign, "?state=opening")] == [order[2]]
    (one,) = await members(parts, campaign, "?rollback=failed")
    assert (one["sn"], one["state"], one["rollback"]["taskid"]) == (order[4], "waiting", "17")
    check_problem(await parts.ask("GET", f"{path}?state=failed&rollback=failed"), 422)
    check_problem(await parts.ask("GET", f"{path}?state=unheard-of"), 422)
    beyond = encode_cursor(f"campaigns {campaign_id} failed None", (10**30,))
    check_problem(await parts.ask("GET", f"{path}?state=failed&cursor={beyond}"), 400)
    shown = (await parts.ask("GET", f"/campaigns/{campaign_id}")).json()
    assert shown["counts"] == {"waiting": 4, "open": 1, "done": 0, "failed": 1, "skipped": 0}


@pytest.mark.parametrize("path", ["", "/devices", "/pause", "/resume", "/cancel", "/rollback"])
async def test_an_unknown_campaign_is_a_404_problem(path: str) -> None:
    parts, _ = await make_parts()
    method = "GET" if path in ("", "/devices") else "POST"
    check_problem(await parts.ask(method, f"/campaigns/none{path}"), 404)


# ── actions ───────────────────────────────────────────────────────────────────────────────────────────────────────

ALLOWED = {
    "pause": {"running": "paused", "paused": "paused"},
    "resume": {"running": "running", "paused": "running"},
    "cancel": {"running": "cancelled", "paused": "cancelled", "cancelled": "cancelled"},
    "rollback": {
        "running": "rolling-back",
        "paused": "rolling-back",
        "completed": "rolling-back",
        "cancelled": "rolling-back",
        "rolling-back": "rolling-back",
        "rolled-back": "rolled-back",
    },
}


@pytest.mark.parametrize(("action", "state"), list(itertools.product(ALLOWED, CampaignState)))
async def test_an_action_may_be_repeated_and_is_a_409_problem_where_the_state_forbids_it(
    action: str, state: CampaignState
) -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    await set_state(parts, campaign, state)
    parts.audit.entries.clear()
    if state not in ALLOWED[action]:
        assert await act(parts, campaign, action, 409) == f"the campaign is {state}"
        assert parts.audit.only().outcome is AuditOutcome.REFUSED
        return
    wanted = ALLOWED[action][state]
    assert await act(parts, campaign, action) == wanted
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == (
        f"campaign.{action}",
        campaign["campaignId"],
        AuditOutcome.DONE,
    )
    assert (entry.before, entry.after) == ({"state": state}, {"state": wanted})
    assert await act(parts, campaign, action) == wanted


async def test_resuming_tries_the_failed_again_and_resuming_what_runs_does_not() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    campaign_id = campaign["campaignId"]
    for state, expected in ((CampaignState.PAUSED, ErrandState.WAITING), (CampaignState.RUNNING, ErrandState.FAILED)):
        stored = await parts.campaigns.devices(CampaignDeviceQuery(campaign_id=campaign_id))
        await parts.campaigns.put_devices(campaign_id, [ended(stored[0], Way.FORWARD, None)])
        await set_state(parts, campaign, state)
        assert await act(parts, campaign, "resume") == "running"
        stored = await parts.campaigns.devices(CampaignDeviceQuery(campaign_id=campaign_id))
        assert stored[0].forward.state is expected


async def test_a_change_that_the_runner_was_faster_than_is_made_again_on_what_it_left() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    real = parts.campaigns.replace
    overtaken = iter([True, False])

    async def replace(campaign: Campaign) -> bool:
        if next(overtaken):
            found = await parts.campaigns.find(campaign.campaign_id)
            assert found is not None
            await real(found)
        return await real(campaign)

    parts.campaigns.replace = replace  # type: ignore[method-assign]  # the runner in between
    assert await act(parts, campaign, "pause") == "paused"


async def test_a_campaign_on_its_way_back_shows_both_counts() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    await act(parts, campaign, "rollback")
    shown = (await parts.ask("GET", f"/campaigns/{campaign['campaignId']}")).json()
    assert shown["rollback"] == {
        "waiting": 6,
        "open": 0,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "noEarlierPackage": 0,
    }


# ── who may ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_viewers_look_and_operators_change() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    viewer, operator = [await parts.make_token(role) for role in (Role.VIEWER, Role.OPERATOR)]
    body = {"firmwareId": firmware_id, "siteIds": ["s1"]}
    path = f"/campaigns/{campaign['campaignId']}"
    assert (await parts.ask("GET", path, token=viewer)).status == 200
    for target, sent in (("/campaigns", body), (f"{path}/pause", None)):
        check_problem(await parts.ask("POST", target, json_body=sent, token=viewer), 403)
        assert (await parts.ask("POST", target, json_body=sent, token=operator)).status in (200, 201)


async def test_a_bound_operator_makes_and_sees_campaigns_of_its_own_sites_alone() -> None:
    parts, firmware_id = await make_parts()
    both = await create(parts, firmware_id)
    foreign = await create(parts, firmware_id, siteIds=["s2"])
    nowhere = await create(parts, firmware_id, sns=["SN7"])
    token = await parts.make_token(Role.OPERATOR, "s1")
    own = await parts.ask(
        "POST", "/campaigns", json_body={"firmwareId": firmware_id, "sns": ["SN1", "SN2"]}, token=token
    )
    assert (own.status, own.json()["createdBy"]) == (201, "token:t0")
    listed = (await parts.ask("GET", "/campaigns?limit=1", token=token)).json()
    assert ([one["campaignId"] for one in listed["items"]], listed["next"]) == ([own.json()["campaignId"]], None)
    for campaign in (both, foreign, nowhere):
        path = f"/campaigns/{campaign['campaignId']}"
        for method, target in (("GET", path), ("GET", f"{path}/devices"), ("POST", f"{path}/cancel")):
            check_problem(await parts.ask(method, target, token=token), 404)
    for wish in ({"siteIds": ["s2"]}, {"siteIds": ["s1", "s2"]}, {"sns": ["SN1", "SN5"]}, {"sns": ["SN7"]}):
        body = {"firmwareId": firmware_id, **wish}
        check_problem(await parts.ask("POST", "/campaigns", json_body=body, token=token), 422)


async def test_the_making_of_a_campaign_is_in_the_audit() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id, stages=[5, 100])
    entry = parts.audit.only()
    assert (entry.action, entry.target) == ("campaign.create", campaign["campaignId"])
    assert entry.what == {
        "firmwareId": firmware_id,
        "sns": None,
        "siteIds": ["s1", "s2"],
        "stages": [5, 100],
        "successThreshold": 90,
        "errorThreshold": 10,
    }
    assert entry.after == {"state": "running", "devices": 6}


async def test_a_store_that_is_away_is_a_503_problem() -> None:
    parts, firmware_id = await make_parts()
    campaign = await create(parts, firmware_id)
    parts.campaigns.available = False
    for method, target in (("GET", "/campaigns"), ("POST", f"/campaigns/{campaign['campaignId']}/pause")):
        check_problem(await parts.ask(method, target), 503)
