"""A device in a firmware campaign: where it stands on its ways, and what becomes of it. Pure; rules are cited from
campaigns.py."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from shared.domain.firmware import FirmwareReference
from shared.domain.tasks import Task, TaskState


class ErrandState(StrEnum):
    """Where a device stands, on the way forward or back (rule 2)."""

    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    NO_EARLIER_PACKAGE = "no-earlier-package"
    """On the way back alone (rule 6)."""


BUSY_STATES = frozenset((ErrandState.OPENING, ErrandState.OPEN))
"""A device is so in one campaign at a time: in others it waits."""
LEFT_STATES = BUSY_STATES | {ErrandState.WAITING}
ENDED_STATES = frozenset(ErrandState) - LEFT_STATES


class Way(StrEnum):
    """To the campaign's package, or to the one before it."""

    FORWARD = "forward"
    BACK = "back"


class Errand(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One way of one device."""

    state: ErrandState = ErrandState.WAITING
    task_id: str | None = None
    reason: str | None = None
    """Why it failed or was skipped."""


class CampaignDevice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A device in a campaign."""

    number: int
    """Its place in the campaign's order, from 0."""
    sn: str
    stage: int
    """From 0."""
    forward: Errand = Errand()
    back: Errand | None = None
    """None until the campaign is rolled back."""
    earlier: FirmwareReference | None = None
    """What it ran before (rule 6)."""
    rev: int = 0
    """Raised by every write: one that rests on an older one changes nothing."""

    def errand(self, way: Way) -> Errand | None:
        """Its errand on a way, where it has one."""
        return self.forward if way is Way.FORWARD else self.back

    def task_id(self, way: Way) -> str:
        """The id that was drawn for its errand; empty where none was."""
        errand = self.errand(way)
        return (errand and errand.task_id) or ""

    @property
    def is_busy(self) -> bool:
        """Whether a task of this campaign is, or is about to be, with the device."""
        return self.forward.state in BUSY_STATES or (self.back is not None and self.back.state in BUSY_STATES)


# ── its making ────────────────────────────────────────────────────────────────────────────────────────────────────


def spread_over_sites(sites: Mapping[str, str | None], seed: str) -> list[str]:
    """The sns of `sites` (sn to site) so that every beginning of the list holds about the same share of each site;
    within a site, and between sites of one size, in an order that only the seed decides."""

    def drawn(sn: str) -> bytes:
        return hashlib.sha256(f"{seed}\x1f{sn}".encode()).digest()

    by_site: dict[str | None, list[str]] = {}
    for sn in sorted(sites, key=drawn):
        by_site.setdefault(sites[sn], []).append(sn)
    places = [
        ((2 * place + 1) / len(of_site), drawn(sn), sn)
        for of_site in by_site.values()
        for place, sn in enumerate(of_site)
    ]
    return [sn for _, _, sn in sorted(places)]


def stage_ends(size: int, stages: Sequence[int]) -> list[int]:
    """For each stage how many devices it and those before it hold: percentages are rounded up."""
    return [-(-size * percent // 100) for percent in stages]


def campaign_devices(sns: Sequence[str], stages: Sequence[int]) -> list[CampaignDevice]:
    """The devices of a new campaign, in its order."""
    devices: list[CampaignDevice] = []
    for stage, end in enumerate(stage_ends(len(sns), stages)):
        begin = len(devices)
        devices += [CampaignDevice(number=number, sn=sns[number], stage=stage) for number in range(begin, end)]
    return devices


# ── what becomes of a device ──────────────────────────────────────────────────────────────────────────────────────

TAKEN_BACK = "taken back"
TAKEN_BACK_LATE = "taken back after it was delivered"
NOT_INSTALLED = "nothing was installed"
UNKNOWN = "there is no such device"
DISABLED = "the device is disabled"
LOST = "its task is gone"


def with_errand(device: CampaignDevice, way: Way, errand: Errand) -> CampaignDevice:
    """The device with another errand on one of its ways."""
    return msgspec.structs.replace(device, **{way.value: errand})


def skipped(device: CampaignDevice, way: Way, reason: str) -> CampaignDevice:
    """The device is left out."""
    return with_errand(device, way, Errand(state=ErrandState.SKIPPED, reason=reason))


def opening(device: CampaignDevice, way: Way, task_id: str, earlier: FirmwareReference | None = None) -> CampaignDevice:
    """The device with the drawn id of its task. What it ran before is noted once: a later try may find it changed."""
    drawn = with_errand(device, way, Errand(state=ErrandState.OPENING, task_id=task_id))
    return msgspec.structs.replace(drawn, earlier=device.earlier or earlier)


def opened(device: CampaignDevice, way: Way) -> CampaignDevice:
    """The device's task is made and listed."""
    return with_errand(device, way, Errand(state=ErrandState.OPEN, task_id=device.task_id(way)))


def ended(device: CampaignDevice, way: Way, task: Task | None) -> CampaignDevice:
    """What its task, which has ended, made of the device; None: the task is gone."""
    task_id = device.task_id(way)
    if task is None:
        state, reason = ErrandState.FAILED, LOST
    elif task.state is TaskState.DONE:
        return with_errand(device, way, Errand(state=ErrandState.DONE, task_id=task_id))
    elif task.state is TaskState.CANCELLED:
        was_delivered = any(entry.state is TaskState.DELIVERED for entry in task.history)
        state, reason = ErrandState.SKIPPED, TAKEN_BACK_LATE if was_delivered else TAKEN_BACK
    else:
        state, reason = ErrandState.FAILED, task.state.value
    return with_errand(device, way, Errand(state=state, task_id=task_id, reason=reason))


def turned(device: CampaignDevice) -> CampaignDevice:
    """The device, whose errand forward has ended, on the way back (rule 5)."""
    forward = device.forward
    if forward.state is not ErrandState.DONE and forward.reason != TAKEN_BACK_LATE:
        return skipped(device, Way.BACK, NOT_INSTALLED)
    state = ErrandState.NO_EARLIER_PACKAGE if device.earlier is None else ErrandState.WAITING
    return with_errand(device, Way.BACK, Errand(state=state))
