"""A console that is killed between any two calls of its stores: the next one goes on, and serves nobody twice."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.domain.campaign_devices import ErrandState, Way
from shared.domain.campaigns import Action, CampaignState
from shared.domain.control import PushCommand
from shared.domain.tasks import TaskState
from shared.stores.memory import MemoryControlStream
from tests.support.campaign_values import CAMPAIGN_ID, make_campaign, make_devices
from tests.support.campaigns import CampaignWorld, Died, Fuse
from tests.support.session_values import make_device
from tests.unit.console_service.campaign_world import memory_world

SIZE = 4
SNS = [f"SN{number}" for number in range(SIZE)]
V1_TASKS = 1
"""Each device ran v1 before, by one task."""


async def make_world(control: MemoryControlStream | None = None, **changes: object) -> CampaignWorld:
    world = memory_world(control)
    await world.devices.register([make_device(sn) for sn in SNS])
    for number, sn in enumerate(SNS):
        await world.install(sn, "v1", str(number + 1))
    campaign = make_campaign(SIZE, **changes)  # type: ignore[arg-type]  # the test's own changes
    await world.campaigns.add(campaign, make_devices(campaign))
    return world


async def run_until_death(world: CampaignWorld, fuse: Fuse) -> bool:
    """Turns with a runner that dies where the fuse says; False where two turns have less calls than that."""
    world.start(fuse)
    try:
        await world.turn(2)
    except Died:
        return True
    return False


def deaths() -> Iterator[tuple[int, bool]]:
    for calls in range(60):
        yield calls, False
        yield calls, True


async def check_served_once(world: CampaignWorld, way: Way, version: str, sns: list[str]) -> None:
    """Each of the devices has one task to this version, which is the one of its errand, and is listed."""
    by_sn = {device.sn: device for device in await world.members()}
    for sn in sns:
        tasks = [task for task in (await world.tasks_of(sn))[V1_TASKS:] if task.firmware.version == version]  # type: ignore[union-attr]  # all have one
        assert [task.task_id for task in tasks] == [by_sn[sn].task_id(way)], sn
        assert await world.listed(sn) == [tasks[0].task_id]


async def test_wherever_a_console_dies_that_opens_a_stage_nobody_is_served_twice() -> None:
    died = 0
    for calls, after in deaths():
        control = MemoryControlStream()
        assert await control.read(1) is None
        world = await make_world(control)
        died += await run_until_death(world, Fuse(calls, after=after))
        world.start()
        await world.turn(2)
        assert await world.states() == "oooo", (calls, after)
        await check_served_once(world, Way.FORWARD, "v2", SNS)
        pushed = [entry.task_id for entry in await control.read(1) or () if isinstance(entry, PushCommand)]
        assert len(pushed) == len(set(pushed))
    assert 20 < died < 120  # every point was met, and points behind the last one too


async def test_wherever_a_console_dies_that_gathers_the_outcomes_the_campaign_completes() -> None:
    for calls, after in deaths():
        world = await make_world()
        await world.turn()
        for sn in SNS:
            await world.report(sn)
        if not await run_until_death(world, Fuse(calls, after=after)):
            return
        world.start()
        await world.turn(2)
        assert (await world.campaign()).state is CampaignState.COMPLETED, (calls, after)
        assert [len(await world.tasks_of(sn)) for sn in SNS] == [V1_TASKS + 1] * SIZE
    pytest.fail("the fuse was always too short")


async def test_wherever_a_console_dies_that_rolls_back_nobody_is_served_twice() -> None:
    for calls, after in deaths():
        world = await make_world()
        await world.turn()
        for sn in SNS[:2]:
            await world.report(sn)
        await world.turn()
        await world.ask(Action.ROLLBACK)
        if not await run_until_death(world, Fuse(calls, after=after)):
            return
        world.start()
        await world.turn(2)
        assert (await world.states(), await world.states(Way.BACK)) == ("ddss", "ooss"), (calls, after)
        await check_served_once(world, Way.BACK, "v1", SNS[:2])
        assert [await world.listed(sn) for sn in SNS[2:]] == [[], []]
    pytest.fail("the fuse was always too short")


async def test_two_consoles_at_once_since_one_hung_past_its_lock_serve_nobody_twice() -> None:
    hung = 0
    for calls, after in deaths():
        world = await make_world()
        release = asyncio.Event()
        fuse = Fuse(calls, after=after, release=release)
        world.start(fuse)
        first = asyncio.ensure_future(world.turn())
        waiting = asyncio.ensure_future(fuse.burnt.wait())
        await asyncio.wait([first, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        hung += fuse.burnt.is_set()
        world.start()
        await world.turn()
        await world.report("SN0")
        release.set()
        await asyncio.gather(first, return_exceptions=True)  # it may find that its ids are taken
        await world.turn(2)
        assert await world.states() == "dooo", (calls, after)
        await check_served_once(world, Way.FORWARD, "v2", SNS[1:])
        assert [len(await world.tasks_of(sn)) for sn in SNS] == [V1_TASKS + 1] * SIZE
    assert 20 < hung < 120


@pytest.mark.parametrize("action", [Action.CANCEL, Action.ROLLBACK])
async def test_a_task_that_a_console_was_about_to_make_when_it_was_cancelled_can_never_be_open(action: Action) -> None:
    """It hangs between drawing and making; another one takes over, and then it goes on after all."""
    world = await make_world()
    late = world.tasks.add_many
    held: list[Any] = []

    async def hang(new: Any) -> None:
        held.append(new)
        raise Died

    world.tasks.add_many = hang  # type: ignore[method-assign]  # a console that hangs
    with pytest.raises(Died):
        await world.turn()
    world.tasks.add_many = late  # type: ignore[method-assign]  # the store itself
    await world.ask(action)
    world.start()
    await world.turn(3)
    with pytest.raises(Exception, match="taken"):
        await world.tasks.add_many(held[0])
    assert [task.task_id for task in await world.tasks.open_of("SN0")] == []
    assert await world.states() == "ssss"


class Campaigns(RuleBasedStateMachine):
    """Whatever operators ask for, devices report and consoles die of, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.world: CampaignWorld = self.run(make_world(stages=(25, 50, 100), error_threshold=60))
        self.asked: list[Action] = []

    def run(self, coroutine: Any) -> Any:
        return self.loop.run(coroutine)

    def teardown(self) -> None:
        self.run(self.settle())
        self.loop.close()

    @rule(calls=st.integers(0, 25), after=st.booleans())
    def a_console_dies(self, calls: int, after: bool) -> None:
        self.run(run_until_death(self.world, Fuse(calls, after=after)))
        self.world.start()

    @rule()
    def a_turn_passes(self) -> None:
        self.run(self.world.turn())

    @rule(sn=st.sampled_from(SNS), state=st.sampled_from([TaskState.DONE, TaskState.FAILED, TaskState.UNSUPPORTED]))
    def a_device_reports(self, sn: str, state: TaskState) -> None:
        if self.run(self.world.tasks.open_of(sn)):
            self.run(self.world.report(sn, state))

    @rule(action=st.sampled_from([Action.PAUSE, Action.RESUME, Action.CANCEL]))
    def an_operator_asks(self, action: Action) -> None:
        self.run(self.world.ask(action))

    @precondition(lambda self: len(self.asked) == 0)
    @rule()
    def an_operator_rolls_back(self) -> None:
        if self.run(self.world.ask(Action.ROLLBACK)):
            self.asked.append(Action.ROLLBACK)

    @invariant()
    def no_device_has_two_open_tasks_and_each_is_its_errands(self) -> None:
        for device in self.run(self.world.members()):
            open_ids = [task.task_id for task in self.run(self.world.tasks.open_of(device.sn))]
            assert len(open_ids) <= 1
            assert set(open_ids) <= {device.task_id(Way.FORWARD), device.task_id(Way.BACK)}

    @invariant()
    def nothing_waits_outside_the_stages_but_untouched(self) -> None:
        campaign = self.run(self.world.campaign())
        if campaign.state in (CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.COMPLETED):
            for device in self.run(self.world.members())[campaign.opened :]:
                assert device.forward.state is ErrandState.WAITING

    @invariant()
    def a_campaign_that_completed_has_nothing_left(self) -> None:
        if self.run(self.world.campaign()).state is CampaignState.COMPLETED:
            assert set(self.run(self.world.states())) <= set("dfs")

    async def settle(self) -> None:
        """Left alone, with devices that install what they are given, a campaign comes to its end."""
        world = self.world
        for _ in range(20):
            if (await world.campaign()).state is CampaignState.PAUSED:
                await world.ask(Action.RESUME)
                await world.campaigns.retry_failed(CAMPAIGN_ID)
            await world.turn()
            for sn in SNS:
                if await world.tasks.open_of(sn):
                    await world.report(sn)
        await world.turn(11)
        campaign = await world.campaign()
        ends = {CampaignState.COMPLETED, CampaignState.CANCELLED, CampaignState.ROLLED_BACK}
        assert campaign.state in ends
        assert campaign.is_settled
        for device in await world.members():
            done = [task for task in await world.tasks_of(device.sn) if task.state is TaskState.DONE]
            assert [one.firmware.version for one in done] in (["v1"], ["v1", "v2"], ["v1", "v2", "v1"], ["v1", "v1"])  # type: ignore[union-attr]  # all have one
            if campaign.state is CampaignState.ROLLED_BACK:
                assert device.back is not None
                assert done[-1].firmware.version == "v1" or device.back.state is ErrandState.FAILED  # type: ignore[union-attr]  # as above


TestCampaigns = Campaigns.TestCase
TestCampaigns.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
