"""Firmware campaigns: one package for many devices, in stages, and the way back. Pure.

1. The devices are fixed when a campaign is made, in an order that spreads each stage over the sites. A stage is a share
   of that order: 5, 25, 100 percent of all.
2. A device is waiting, then opening (its task's id is drawn), open (the task is made and listed), and at last done,
   failed or skipped. A drawn id always becomes a task, and no other is drawn until that one has ended: so nobody is
   served twice, whoever died in between.
3. The next stage opens when `success_threshold` percent of a stage's devices are done. Where `error_threshold` percent
   of any stage that is open have failed, or a stage has ended without its successes, the campaign pauses by itself.
   Skipped devices count for neither. In the last stage only errors are judged.
4. While it is paused no device is opened; what is open goes on. Resuming tries the failed devices again.
5. Cancelling takes back the tasks that have not ended. Rolling back does too; then every device that is done, or had
   been given the task when it was taken back, gets the package that it ran before, all at once, without thresholds.
6. What a device ran before is noted with its first task. Where it is not known, or was the same package, the device
   ends as one without an earlier package.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from shared.domain.campaign_devices import ENDED_STATES, LEFT_STATES, CampaignDevice, ErrandState, Way, stage_ends
from shared.domain.firmware import FirmwareReference
from shared.domain.tasks import HistoryEntry, Task, TaskState, made_task
from shared.protocol.apicodes import Apicode

MAX_DEVICES = 100_000


class CampaignState(StrEnum):
    """Where a campaign stands."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"


class Action(StrEnum):
    """What operators may ask for."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    ROLLBACK = "rollback"


class Campaign(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be installed, how carefully, and how far it is. Its devices are kept beside it."""

    campaign_id: str
    firmware: FirmwareReference
    stages: tuple[int, ...]
    """Percent of all devices, ascending to 100."""
    success_threshold: int
    error_threshold: int
    """Percent of a stage's devices."""
    size: int
    """How many devices there are."""
    site_ids: tuple[str | None, ...]
    """Where they stood when it was made."""
    state: CampaignState = CampaignState.RUNNING
    stage: int = 0
    """The last one that is open, from 0."""
    reason: str | None = None
    """Why it paused by itself."""
    is_settled: bool = False
    """Nothing is left to do for it."""
    created_at_ms: int
    created_by: str
    rev: int = 0

    @property
    def opened(self) -> int:
        """How many devices, in their order, belong to the stages that are open."""
        return stage_ends(self.size, self.stages)[self.stage]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices of a stage stand alike."""

    stage: int
    forward: ErrandState
    back: ErrandState | None
    count: int


# ── what operators ask for ────────────────────────────────────────────────────────────────────────────────────────

_State = CampaignState
_REQUESTS: Mapping[Action, tuple[frozenset[CampaignState], CampaignState, frozenset[CampaignState]]] = {
    # Where it may be asked for, what it leads to, and where it has been done already.
    Action.PAUSE: (frozenset((_State.RUNNING,)), _State.PAUSED, frozenset((_State.PAUSED,))),
    Action.RESUME: (frozenset((_State.PAUSED,)), _State.RUNNING, frozenset((_State.RUNNING,))),
    Action.CANCEL: (frozenset((_State.RUNNING, _State.PAUSED)), _State.CANCELLED, frozenset((_State.CANCELLED,))),
    Action.ROLLBACK: (
        frozenset((_State.RUNNING, _State.PAUSED, _State.COMPLETED, _State.CANCELLED)),
        _State.ROLLING_BACK,
        frozenset((_State.ROLLING_BACK, _State.ROLLED_BACK)),
    ),
}


def requested(campaign: Campaign, action: Action) -> Campaign | None:
    """The campaign after the request, the same where it has been done already; None where its state forbids it."""
    allowed, state, already = _REQUESTS[action]
    if campaign.state in already:
        return campaign
    if campaign.state not in allowed:
        return None
    return msgspec.structs.replace(campaign, state=state, reason=None, is_settled=False)


# ── what the counts decide ────────────────────────────────────────────────────────────────────────────────────────


class _Progress:
    """A stage on the way forward."""

    def __init__(self, tallies: Sequence[Tally], stage: int) -> None:
        by_state = dict.fromkeys(ErrandState, 0)
        for tally in tallies:
            if tally.stage == stage:
                by_state[tally.forward] += tally.count
        self.done, self.failed = by_state[ErrandState.DONE], by_state[ErrandState.FAILED]
        self.left = sum(by_state[state] for state in LEFT_STATES)
        self.judged = self.done + self.failed + self.left
        """Skipped ones count for nothing."""


def decided(campaign: Campaign, tallies: Sequence[Tally]) -> Campaign:
    """The campaign as its devices' states have it: the same where nothing follows from them."""
    if campaign.state is CampaignState.RUNNING:
        return _advanced(campaign, tallies)
    if any(tally.forward in LEFT_STATES for tally in tallies):
        return campaign
    if campaign.state is CampaignState.CANCELLED:
        return msgspec.structs.replace(campaign, is_settled=True)
    if campaign.state is CampaignState.ROLLING_BACK and all(tally.back in ENDED_STATES for tally in tallies):
        return msgspec.structs.replace(campaign, state=CampaignState.ROLLED_BACK, is_settled=True)
    return campaign


def _advanced(campaign: Campaign, tallies: Sequence[Tally]) -> Campaign:
    progress = [_Progress(tallies, stage) for stage in range(len(campaign.stages))]
    stage = campaign.stage
    while True:
        for number, one in enumerate(progress[: stage + 1], start=1):
            if one.failed and one.failed * 100 >= campaign.error_threshold * one.judged:
                return _paused(campaign, stage, f"stage {number} reached the error threshold")
        if stage == len(progress) - 1:
            break
        current = progress[stage]
        if current.done * 100 < campaign.success_threshold * current.judged:
            if not current.left:
                return _paused(campaign, stage, f"stage {stage + 1} ended below the success threshold")
            break
        stage += 1
    is_over = not any(one.left for one in progress)
    state = CampaignState.COMPLETED if is_over else campaign.state
    return msgspec.structs.replace(campaign, stage=stage, state=state, is_settled=is_over)


def _paused(campaign: Campaign, stage: int, reason: str) -> Campaign:
    return msgspec.structs.replace(campaign, stage=stage, state=CampaignState.PAUSED, reason=reason)


# ── its tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────


STOPPED: Mapping[CampaignState, str] = {
    CampaignState.CANCELLED: "the campaign was cancelled",
    CampaignState.ROLLING_BACK: "the campaign was rolled back",
}
"""Why the devices that still wait are left out, in the states that open no more of them."""


def wants_tasks(campaign: Campaign, way: Way) -> bool:
    """Whether tasks of this way stand; those of a way that the campaign has left are taken back."""
    if way is Way.BACK:
        return campaign.state is CampaignState.ROLLING_BACK
    return campaign.state in (CampaignState.RUNNING, CampaignState.PAUSED)


def actor(campaign: Campaign) -> str:
    """Who makes and takes back the campaign's tasks, as their history names it."""
    return f"campaign:{campaign.campaign_id}"


def campaign_task(campaign: Campaign, device: CampaignDevice, way: Way, now_ms: int) -> Task:
    """The task whose id was drawn for a device that is opening. Where the campaign wants it no more it is cancelled
    from the start: its id is taken then, and whoever was about to make it cannot (rule 2)."""
    task = made_task(
        device.task_id(way),
        device.sn,
        Apicode.T_UPDATE_DEVICE_VERSION,
        at_ms=now_ms,
        actor=actor(campaign),
        push=True,
        firmware=campaign.firmware if way is Way.FORWARD else device.earlier,
    )
    if wants_tasks(campaign, way):
        return task
    return msgspec.structs.replace(task, history=(*task.history, taking_back(campaign, now_ms)))


def taking_back(campaign: Campaign, now_ms: int) -> HistoryEntry:
    """How the history of a task says that the campaign took it back."""
    return HistoryEntry(at_ms=now_ms, state=TaskState.CANCELLED, actor=actor(campaign))
