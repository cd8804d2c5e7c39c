"""Turns of the runner over stores in memory. How it resumes after a death at any point is in
test_campaign_runner_deaths.py."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from console_service.presence import DevicePresence
from shared.domain.campaign_devices import ErrandState, Way
from shared.domain.campaigns import Action, CampaignState
from shared.domain.control import PushCommand
from shared.domain.presence import Presence
from shared.domain.tasks import PLATFORM, HistoryEntry, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.unavailable import Unavailable
from shared.stores.memory import MemoryControlStream
from tests.support.campaign_values import CAMPAIGN_ID, make_campaign, make_devices, make_package
from tests.support.campaigns import CampaignWorld
from tests.support.session_values import NOW_MS, make_device
from tests.unit.console_service.campaign_world import Presences, memory_world

OTHER = "c2"


async def make_world(size: int = 10, **changes: object) -> CampaignWorld:
    """SN0 and so on, all in one campaign to v2."""
    world = memory_world()
    await world.devices.register([make_device(f"SN{number}") for number in range(size)])
    campaign = make_campaign(size, **changes)  # type: ignore[arg-type]  # the test's own changes
    await world.campaigns.add(campaign, make_devices(campaign))
    return world


async def package_bytes() -> AsyncIterator[bytes]:
    yield b"package"


async def report(world: CampaignWorld, letters: str) -> None:
    """One letter a device in order: d done, f failed, u unsupported; anything else says nothing."""
    states = {"d": TaskState.DONE, "f": TaskState.FAILED, "u": TaskState.UNSUPPORTED}
    for device, letter in zip(await world.members(), letters, strict=False):
        if letter in states:
            await world.report(device.sn, states[letter])


async def test_each_device_of_an_open_stage_gets_one_task_and_the_others_wait() -> None:
    world = await make_world(10, stages=(20, 100))
    await world.turn(3)
    assert await world.states() == "oowwwwwwww"
    (task,) = await world.tasks_of("SN0")
    assert (task.apicode, task.firmware, task.push) == (Apicode.T_UPDATE_DEVICE_VERSION, make_package("v2"), True)
    assert [entry.actor for entry in task.history] == ["campaign:c1"]
    assert (await world.members())[0].forward.task_id == task.task_id
    assert await world.listed("SN0") == [task.task_id]
    assert await world.tasks_of("SN2") == []
    assert world.metrics.campaign_tasks == 2


async def test_a_task_is_pushed_with_its_package() -> None:
    control = MemoryControlStream()
    assert await control.read(1) is None
    world = memory_world(control)
    await world.devices.register([make_device("SN0")])
    campaign = make_campaign(1)
    await world.campaigns.add(campaign, make_devices(campaign))
    await world.turn(3)
    pushed = [entry for entry in await control.read(1) or () if isinstance(entry, PushCommand)]
    (task,) = await world.tasks_of("SN0")
    assert [(one.sn, one.task_id, one.apicode) for one in pushed] == [("SN0", task.task_id, "T_UPDATE_DEVICE_VERSION")]
    param = json.loads(pushed[0].param or "")
    package = make_package("v2")
    assert (param["version"], param["size"], param["sha256"]) == ("v2", package.size, package.sha256)
    assert param["downloadUrl"].startswith("https://devices.example/")


async def test_stages_follow_one_another_to_the_end() -> None:
    world = await make_world(10, stages=(10, 30, 100))
    await world.turn()
    await report(world, "d")
    await world.turn(2)
    assert await world.states() == "doowwwwwww"
    await report(world, ".dd")
    await world.turn(2)
    assert await world.states() == "dddooooooo"
    await report(world, "...dddddd")
    await world.turn(2)
    assert (await world.campaign()).state is CampaignState.RUNNING
    await report(world, ".........d")
    await world.turn()
    campaign = await world.campaign()
    assert (campaign.state, campaign.stage, campaign.is_settled) == (CampaignState.COMPLETED, 2, True)
    assert [len(await world.tasks_of(f"SN{number}")) for number in range(10)] == [1] * 10


async def test_errors_over_the_threshold_pause_and_what_is_open_goes_on() -> None:
    world = await make_world(10, stages=(50, 100))
    await world.turn()
    await report(world, "df")
    await world.turn(3)
    campaign = await world.campaign()
    assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, "stage 1 reached the error threshold")
    assert await world.states() == "dfooowwwww"
    assert world.metrics.campaigns_paused == 1
    await report(world, "..ddd")
    await world.turn(3)
    assert await world.states() == "dfdddwwwww"
    assert (await world.campaign()).state is CampaignState.PAUSED


async def test_resumed_it_goes_on_where_it_was() -> None:
    world = await make_world(4, stages=(50, 100))
    await world.ask(Action.PAUSE)
    await world.turn(2)
    assert await world.states() == "wwww"
    await world.ask(Action.RESUME)
    await world.turn()
    assert await world.states() == "ooww"


async def test_cancelling_takes_back_what_is_open_and_leaves_what_is_done() -> None:
    world = await make_world(10, stages=(50, 100), error_threshold=100)
    await world.turn()
    await report(world, "df")
    await world.turn()
    await world.ask(Action.CANCEL)
    await world.turn(2)
    assert await world.states() == "dfssssssss"
    assert {device.forward.reason for device in (await world.members())[2:5]} == {"taken back"}
    assert {device.forward.reason for device in (await world.members())[5:]} == {"the campaign was cancelled"}
    (task,) = await world.tasks_of("SN2")
    assert (task.state, task.history[-1].actor) == (TaskState.CANCELLED, "campaign:c1")
    assert await world.listed("SN2") == []
    assert (await world.campaign()).is_settled


async def test_a_report_that_comes_before_the_taking_back_counts() -> None:
    world = await make_world(1)
    await world.turn()
    await world.ask(Action.CANCEL)
    await report(world, "d")
    await world.turn(2)
    assert await world.states() == "d"


async def test_rolled_back_the_done_get_what_they_ran_before_and_nobody_else_anything() -> None:
    world = await make_world(6, error_threshold=100)
    for number in range(6):
        await world.install(f"SN{number}", "v1", str(number + 1))
    await world.turn()
    await report(world, "ddf")
    delivered = HistoryEntry(at_ms=NOW_MS, state=TaskState.DELIVERED, actor=PLATFORM)
    await world.tasks.change([(await world.members())[3].forward.task_id or ""], delivered)
    await world.turn()
    await world.ask(Action.ROLLBACK)
    await world.turn(2)
    assert await world.states() == "ddfsss"
    # The fourth had been given the task when it was taken back: it may have installed the package.
    assert await world.states(Way.BACK) == "oososs"
    last = [(await world.tasks_of(sn))[-1] for sn in ("SN0", "SN1", "SN3")]
    assert {task.firmware and task.firmware.version for task in last} == {"v1"}
    assert [await world.listed(task.sn) for task in last] == [[task.task_id] for task in last]
    assert [len(await world.tasks_of(sn)) for sn in ("SN2", "SN4")] == [2, 2]
    for task in last:
        await world.report(task.sn, TaskState.FAILED if task.sn == "SN1" else TaskState.DONE)
    await world.turn(2)
    assert await world.states(Way.BACK) == "dfsdss"
    campaign = await world.campaign()
    assert (campaign.state, campaign.is_settled) == (CampaignState.ROLLED_BACK, True)


async def test_what_a_device_ran_before_is_what_it_tells_else_what_its_last_task_installed() -> None:
    world = await make_world(5)
    presence = Presences()
    world.presence = DevicePresence(presence, presence)  # type: ignore[arg-type]  # the two methods that are called
    told = await world.firmware.add("v1.9", package_bytes(), NOW_MS)
    target = make_package("v2").version
    for number, version in enumerate(["v1.9", "unheard of", target]):
        presence.records[f"SN{number}"] = Presence(
            sn=f"SN{number}", vendor_id="v1", online=True, epoch=1, last_seen_ms=NOW_MS, device_version=version
        )
    for number in (0, 1, 3):
        await world.install(f"SN{number}", "v1.1", str(2 * number + 1))
        await world.install(f"SN{number}", "v1.2", str(2 * number + 2))
    await world.install("SN4", target, "100")
    await world.turn()
    earlier = [device.earlier for device in await world.members()]
    v12 = make_package("v1.2")
    # Whoever runs the campaign's own package has nothing to go back to.
    assert earlier == [told.reference, v12, None, v12, None]
    await report(world, "ddddd")
    await world.ask(Action.ROLLBACK)
    await world.turn(4)
    assert await world.states(Way.BACK) == "oonon"


async def test_a_completed_campaign_can_be_rolled_back() -> None:
    world = await make_world(2)
    await world.install("SN0", "v1", "1")
    await world.turn()
    await report(world, "dd")
    await world.turn()
    assert (await world.campaign()).state is CampaignState.COMPLETED
    await world.ask(Action.ROLLBACK)
    await world.turn()
    assert await world.states(Way.BACK) == "on"


async def test_disabled_and_unknown_devices_are_skipped_with_the_reason() -> None:
    world = memory_world()
    await world.devices.register([make_device("SN0", disabled=True), make_device("SN2")])
    campaign = make_campaign(3)
    await world.campaigns.add(campaign, make_devices(campaign))
    await world.turn()
    assert await world.states() == "sso"
    reasons = [device.forward.reason for device in await world.members()]
    assert reasons == ["the device is disabled", "there is no such device", None]
    assert await world.tasks_of("SN0") == await world.tasks_of("SN1") == []


async def test_a_device_that_another_campaign_has_open_waits_and_holds_nobody_up() -> None:
    world = await make_world(2)
    await world.devices.register([make_device("SN2")])
    other = make_campaign(3, OTHER, firmware=make_package("v3"))
    await world.campaigns.add(other, make_devices(other))
    await world.turn(2)
    assert (await world.states(), await world.states(campaign_id=OTHER)) == ("oo", "wwo")
    await report(world, "d")
    await world.turn(2)
    assert await world.states(campaign_id=OTHER) == "owo"


async def test_a_task_that_an_operator_cancelled_skips_its_device() -> None:
    world = await make_world(1)
    await world.turn()
    (task,) = await world.tasks_of("SN0")
    await world.tasks.change([task.task_id], HistoryEntry(at_ms=NOW_MS, state=TaskState.CANCELLED, actor="admin"))
    await world.turn()
    assert await world.states() == "s"
    assert (await world.campaign()).state is CampaignState.COMPLETED


async def test_large_stages_are_opened_and_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console_service.campaign_runner.DRAWN_AT_ONCE", 3)
    monkeypatch.setattr("console_service.campaign_runner.LOOKED_AT_ONCE", 2)
    world = await make_world(8)
    await world.turn()
    # Three are drawn, two of them made; the third is first next time
    assert await world.states() == "ooiwwwww"
    await world.turn(6)
    assert await world.states() == "oooooooo"
    await report(world, "dddddddd")
    await world.turn(8)
    assert await world.states() == "dddddddd"


async def test_an_operator_who_is_faster_than_the_counts_wins() -> None:
    world = await make_world(1)
    await world.turn()
    await report(world, "d")
    real = world.campaigns.tallies

    async def overtaken(campaign_id: str) -> object:
        await world.ask(Action.CANCEL)
        return await real(campaign_id)

    world.campaigns.tallies = overtaken  # type: ignore[method-assign,assignment]  # an operator in between
    world.start()
    await world.turn()
    world.campaigns.tallies = real  # type: ignore[method-assign]  # as it was
    assert (await world.campaign()).state is CampaignState.CANCELLED
    await world.turn()
    assert (await world.campaign()).is_settled


async def test_counts_that_another_process_changed_are_judged_within_ten_seconds() -> None:
    world = await make_world(1)
    await world.turn()
    await report(world, "d")
    (device,) = await world.members()
    done = msgspec.structs.replace(device.forward, state=ErrandState.DONE)
    await world.campaigns.put_devices(CAMPAIGN_ID, [msgspec.structs.replace(device, forward=done)])
    await world.turn()
    assert (await world.campaign()).state is CampaignState.RUNNING
    await world.turn(10)
    assert (await world.campaign()).state is CampaignState.COMPLETED


async def test_what_is_out_of_reach_is_made_up_for_in_a_later_turn() -> None:
    world = await make_world(2)
    pending = world.pending
    pending.available = False  # type: ignore[attr-defined]  # of the twin
    with pytest.raises(Unavailable):
        await world.turn()
    assert await world.states() == "ii"
    pending.available = True  # type: ignore[attr-defined]  # of the twin
    await world.turn()
    assert await world.states() == "oo"
    (task,) = await world.tasks_of("SN0")
    assert await world.listed("SN0") == [task.task_id]


async def test_a_turn_ends_where_the_lock_was_lost() -> None:
    world = await make_world(1)
    await world.devices.register([make_device("OTHER0")])
    other = make_campaign(1, OTHER)
    await world.campaigns.add(other, make_devices(other, "OTHER"))
    world.lock.held_elsewhere = True
    await world.turn()
    assert (await world.states(), await world.states(campaign_id=OTHER)) == ("o", "w")
