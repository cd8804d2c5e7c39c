import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.campaign_devices import ErrandState, Way, campaign_devices, opening, spread_over_sites, stage_ends
from shared.domain.campaigns import Action, Campaign, CampaignState, Tally, campaign_task, decided, requested
from shared.domain.tasks import TaskState
from shared.protocol.apicodes import Apicode
from tests.support.campaign_values import make_campaign, make_devices, make_package
from tests.support.session_values import NOW_MS

S = CampaignState
DONE, FAILED, OPEN, WAITING, SKIPPED = (
    ErrandState.DONE,
    ErrandState.FAILED,
    ErrandState.OPEN,
    ErrandState.WAITING,
    ErrandState.SKIPPED,
)


def tallies(*stages: dict[ErrandState, int]) -> list[Tally]:
    """What stands how in each stage, on the way forward."""
    return [
        Tally(stage=stage, forward=state, back=None, count=count)
        for stage, counts in enumerate(stages)
        for state, count in counts.items()
    ]


def back_tallies(*counts: tuple[ErrandState, ErrandState | None]) -> list[Tally]:
    return [Tally(stage=0, forward=forward, back=back, count=1) for forward, back in counts]


# ── its making ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("size", "stages", "ends"),
    [
        (100, (5, 25, 100), [5, 25, 100]),
        (10, (5, 25, 100), [1, 3, 10]),
        (3, (5, 25, 100), [1, 1, 3]),
        (1, (1, 100), [1, 1]),
        (99_999, (1, 50, 100), [1_000, 50_000, 99_999]),
        (7, (100,), [7]),
    ],
)
def test_a_stage_is_a_share_of_all_devices_rounded_up(size: int, stages: tuple[int, ...], ends: list[int]) -> None:
    assert stage_ends(size, stages) == ends
    devices = campaign_devices([f"SN{number}" for number in range(size)], stages)
    assert [device.number for device in devices] == list(range(size))
    counts = Counter(device.stage for device in devices)
    assert [counts[stage] for stage in range(len(stages))] == [
        end - begin for begin, end in itertools.pairwise([0, *ends])
    ]


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.sampled_from(["s1", "s2", "s3", None])), st.text())
def test_every_beginning_of_the_order_holds_about_the_same_share_of_each_site(
    sites: dict[str, str | None], seed: str
) -> None:
    order = spread_over_sites(sites, seed)
    assert sorted(order) == sorted(sites)
    sizes = Counter(sites.values())
    seen: Counter[str | None] = Counter()
    for length, sn in enumerate(order, start=1):
        seen[sites[sn]] += 1
        for site, size in sizes.items():
            # Of each site the exact share, give or take what the rounding of every site may add up to.
            assert abs(seen[site] - length * size / len(sites)) <= len(sizes)


def test_the_order_rests_on_the_seed_and_not_on_how_the_devices_were_given() -> None:
    sites = {f"SN{number}": f"s{number % 3}" for number in range(50)}
    order = spread_over_sites(sites, "c1")
    assert order == spread_over_sites(dict(reversed(sites.items())), "c1")
    assert order != spread_over_sites(sites, "c2")
    assert order != sorted(order)


# ── what operators ask for ────────────────────────────────────────────────────────────────────────────────────────

LEADS_TO = {
    (S.RUNNING, Action.PAUSE): S.PAUSED,
    (S.RUNNING, Action.RESUME): S.RUNNING,
    (S.RUNNING, Action.CANCEL): S.CANCELLED,
    (S.RUNNING, Action.ROLLBACK): S.ROLLING_BACK,
    (S.PAUSED, Action.PAUSE): S.PAUSED,
    (S.PAUSED, Action.RESUME): S.RUNNING,
    (S.PAUSED, Action.CANCEL): S.CANCELLED,
    (S.PAUSED, Action.ROLLBACK): S.ROLLING_BACK,
    (S.COMPLETED, Action.ROLLBACK): S.ROLLING_BACK,
    (S.CANCELLED, Action.CANCEL): S.CANCELLED,
    (S.CANCELLED, Action.ROLLBACK): S.ROLLING_BACK,
    (S.ROLLING_BACK, Action.ROLLBACK): S.ROLLING_BACK,
    (S.ROLLED_BACK, Action.ROLLBACK): S.ROLLED_BACK,
}
"""Every other pair is refused."""


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("action", Action)
def test_a_request_leads_where_the_table_says_and_is_refused_elsewhere(state: CampaignState, action: Action) -> None:
    campaign = make_campaign(1, state=state, reason="because", is_settled=True)
    after = requested(campaign, action)
    wanted = LEADS_TO.get((state, action))
    assert (after and after.state) == wanted
    if after is not None and wanted is not state:
        assert (after.reason, after.is_settled) == (None, False)
    if wanted is state:
        assert after == campaign  # what has been done already changes nothing


# ── what the counts decide ────────────────────────────────────────────────────────────────────────────────────────


def staged(stage: int = 0, state: CampaignState = S.RUNNING) -> Campaign:
    """20 devices: 2 in the first stage, 8 in the second, 10 in the third."""
    return make_campaign(20, stages=(10, 50, 100), stage=stage, state=state)


@pytest.mark.parametrize(
    ("stage", "counts", "expected"),
    [
        # Nothing has come yet, or not enough.
        (0, [{WAITING: 2}, {WAITING: 8}, {WAITING: 10}], (S.RUNNING, 0)),
        (0, [{OPEN: 1, DONE: 1}, {WAITING: 8}, {WAITING: 10}], (S.RUNNING, 0)),
        # The first is through.
        (0, [{DONE: 2}, {WAITING: 8}, {WAITING: 10}], (S.RUNNING, 1)),
        # Skipped ones count for nothing.
        (0, [{DONE: 1, SKIPPED: 1}, {WAITING: 8}, {WAITING: 10}], (S.RUNNING, 1)),
        (0, [{SKIPPED: 2}, {WAITING: 8}, {WAITING: 10}], (S.RUNNING, 1)),
        # A stage that went through already lets the next one be judged at once.
        (0, [{DONE: 2}, {DONE: 8}, {WAITING: 10}], (S.RUNNING, 2)),
        # One of eight: 12.5 percent.
        (1, [{DONE: 2}, {DONE: 7, FAILED: 1}, {WAITING: 10}], (S.PAUSED, 1)),
        (1, [{DONE: 2}, {OPEN: 7, FAILED: 1}, {WAITING: 10}], (S.PAUSED, 1)),
        # One of ten: 10 percent is the threshold.
        (2, [{DONE: 2}, {DONE: 8}, {OPEN: 9, FAILED: 1}], (S.PAUSED, 2)),
        # A failure that comes late, in a stage that was through.
        (2, [{DONE: 1, FAILED: 1}, {DONE: 8}, {OPEN: 10}], (S.PAUSED, 2)),
        # The end.
        (2, [{DONE: 2}, {DONE: 8}, {DONE: 9, OPEN: 1}], (S.RUNNING, 2)),
        (2, [{DONE: 2}, {DONE: 7, OPEN: 1}, {DONE: 10}], (S.RUNNING, 2)),
        (2, [{DONE: 2}, {DONE: 8}, {DONE: 10}], (S.COMPLETED, 2)),
        (2, [{SKIPPED: 2}, {SKIPPED: 8}, {SKIPPED: 10}], (S.COMPLETED, 2)),
        (0, [{DONE: 2}, {DONE: 8}, {DONE: 10}], (S.COMPLETED, 2)),
    ],
)
def test_stages_follow_one_another_by_their_thresholds(
    stage: int, counts: list[dict[ErrandState, int]], expected: tuple[CampaignState, int]
) -> None:
    campaign = decided(staged(stage=stage), tallies(*counts))
    assert (campaign.state, campaign.stage) == expected
    assert campaign.is_settled == (campaign.state is S.COMPLETED)
    assert (campaign.reason is not None) == (campaign.state is S.PAUSED)


def test_ninety_percent_are_enough_for_the_next_stage_and_less_are_not() -> None:
    campaign = make_campaign(20, stages=(50, 100), error_threshold=50)
    assert decided(campaign, tallies({DONE: 9, OPEN: 1}, {WAITING: 10})).stage == 1
    assert decided(campaign, tallies({DONE: 8, OPEN: 2}, {WAITING: 10})).stage == 0


def test_a_stage_that_ended_without_its_successes_pauses_though_errors_are_few() -> None:
    campaign = make_campaign(20, stages=(50, 100), error_threshold=50)
    paused = decided(campaign, tallies({DONE: 8, FAILED: 2}, {WAITING: 10}))
    assert (paused.state, paused.reason) == (S.PAUSED, "stage 1 ended below the success threshold")
    last = decided(
        msgspec.structs.replace(campaign, stage=1), tallies({DONE: 10}, {DONE: 6, FAILED: 4})
    )  # in the last one only errors are judged
    assert last.state is S.COMPLETED


@pytest.mark.parametrize("state", [S.PAUSED, S.COMPLETED, S.ROLLED_BACK])
def test_what_does_not_run_is_moved_by_no_count(state: CampaignState) -> None:
    campaign = staged(state=state)
    assert decided(campaign, tallies({DONE: 2}, {DONE: 8}, {DONE: 10})) == campaign


@pytest.mark.parametrize(
    ("left", "is_settled"),
    [(DONE, True), (SKIPPED, True), (OPEN, False), (WAITING, False), (ErrandState.OPENING, False)],
)
def test_a_cancelled_campaign_is_settled_when_nothing_is_left_of_it(left: ErrandState, is_settled: bool) -> None:
    assert decided(staged(state=S.CANCELLED), tallies({DONE: 2}, {left: 1})).is_settled is is_settled


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ([(DONE, None)], S.ROLLING_BACK),
        ([(DONE, WAITING)], S.ROLLING_BACK),
        ([(DONE, ErrandState.OPENING)], S.ROLLING_BACK),
        ([(DONE, OPEN)], S.ROLLING_BACK),
        ([(OPEN, None), (DONE, DONE)], S.ROLLING_BACK),
        ([(DONE, DONE), (DONE, FAILED), (SKIPPED, SKIPPED), (DONE, ErrandState.NO_EARLIER_PACKAGE)], S.ROLLED_BACK),
    ],
)
def test_a_campaign_is_rolled_back_when_every_device_has_ended_on_the_way_back(
    counts: list[tuple[ErrandState, ErrandState | None]], state: CampaignState
) -> None:
    campaign = decided(staged(state=S.ROLLING_BACK), back_tallies(*counts))
    assert (campaign.state, campaign.is_settled) == (state, state is S.ROLLED_BACK)


# ── its tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("way", "state", "package", "is_open"),
    [
        (Way.FORWARD, S.RUNNING, "v2", True),
        (Way.FORWARD, S.PAUSED, "v2", True),
        (Way.FORWARD, S.CANCELLED, "v2", False),
        (Way.FORWARD, S.ROLLING_BACK, "v2", False),
        (Way.BACK, S.ROLLING_BACK, "v1", True),
    ],
)
def test_a_drawn_id_always_becomes_a_task_one_that_has_ended_where_it_is_wanted_no_more(
    way: Way, state: CampaignState, package: str, is_open: bool
) -> None:
    campaign = make_campaign(1, state=state)
    device = opening(make_devices(campaign)[0], way, "17", make_package("v1"))
    task = campaign_task(campaign, device, way, NOW_MS)
    assert (task.task_id, task.sn, task.apicode, task.push) == ("17", "SN0", Apicode.T_UPDATE_DEVICE_VERSION, True)
    assert task.firmware == make_package(package)
    assert {entry.actor for entry in task.history} == {"campaign:c1"}
    states = [TaskState.PENDING] if is_open else [TaskState.PENDING, TaskState.CANCELLED]
    assert [entry.state for entry in task.history] == states
