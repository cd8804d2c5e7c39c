import msgspec
import pytest

from shared.domain.campaign_devices import (
    CampaignDevice,
    Errand,
    ErrandState,
    Way,
    ended,
    opened,
    opening,
    skipped,
    turned,
    with_errand,
)
from shared.domain.tasks import HistoryEntry, TaskState
from tests.support.campaign_values import make_campaign, make_devices, make_package
from tests.support.session_values import NOW_MS
from tests.support.task_values import make_task

V1 = make_package("v1")
LATE = "taken back after it was delivered"


def make_device(**changes: object) -> CampaignDevice:
    device = make_devices(make_campaign(1))[0]
    return msgspec.structs.replace(device, **changes)


def after(state: TaskState, *, delivered: bool = False, way: Way = Way.FORWARD) -> CampaignDevice:
    """An open device whose task has ended."""
    states = [TaskState.DELIVERED, state] if delivered else [state]
    task = make_task("17", "SN0")
    entries = [HistoryEntry(at_ms=NOW_MS, state=one, actor="device") for one in states]
    task = msgspec.structs.replace(task, history=(*task.history, *entries))
    return ended(opened(opening(make_device(), way, "17", V1), way), way, task)


def test_an_id_stays_with_its_device_from_the_drawing_on() -> None:
    drawn = opening(make_device(), Way.FORWARD, "17", V1)
    assert drawn.forward == Errand(state=ErrandState.OPENING, task_id="17")
    assert opened(drawn, Way.FORWARD).forward == Errand(state=ErrandState.OPEN, task_id="17")
    assert drawn.back is None


def test_what_a_device_ran_before_is_noted_with_its_first_task_alone() -> None:
    first = opening(make_device(), Way.FORWARD, "17", V1)
    again = opening(with_errand(first, Way.FORWARD, Errand()), Way.FORWARD, "18", make_package("v1.5"))
    assert (first.earlier, again.earlier) == (V1, V1)
    assert opening(make_device(), Way.FORWARD, "17", None).earlier is None


@pytest.mark.parametrize(
    ("state", "delivered", "expected"),
    [
        (TaskState.DONE, True, (ErrandState.DONE, None)),
        (TaskState.FAILED, True, (ErrandState.FAILED, "failed")),
        (TaskState.UNSUPPORTED, False, (ErrandState.FAILED, "unsupported")),
        (TaskState.EXPIRED, False, (ErrandState.FAILED, "expired")),
        (TaskState.CANCELLED, False, (ErrandState.SKIPPED, "taken back")),
        (TaskState.CANCELLED, True, (ErrandState.SKIPPED, LATE)),
    ],
)
@pytest.mark.parametrize("way", Way)
def test_the_end_of_its_task_is_the_end_of_a_devices_errand(
    way: Way, state: TaskState, delivered: bool, expected: tuple[ErrandState, str | None]
) -> None:
    errand = after(state, delivered=delivered, way=way).errand(way)
    assert errand == Errand(state=expected[0], task_id="17", reason=expected[1])


def test_a_device_whose_task_is_gone_has_failed() -> None:
    device = ended(opening(make_device(), Way.FORWARD, "17"), Way.FORWARD, None)
    assert (device.forward.state, device.forward.reason) == (ErrandState.FAILED, "its task is gone")


@pytest.mark.parametrize(
    ("device", "forward", "back"),
    [
        (after(TaskState.DONE), ErrandState.DONE, ErrandState.WAITING),
        (after(TaskState.CANCELLED, delivered=True), ErrandState.SKIPPED, ErrandState.WAITING),
        (after(TaskState.CANCELLED), ErrandState.SKIPPED, ErrandState.SKIPPED),
        (after(TaskState.FAILED), ErrandState.FAILED, ErrandState.SKIPPED),
        (skipped(make_device(), Way.FORWARD, "disabled"), ErrandState.SKIPPED, ErrandState.SKIPPED),
        (
            make_device(forward=Errand(state=ErrandState.DONE, task_id="17")),
            ErrandState.DONE,
            ErrandState.NO_EARLIER_PACKAGE,
        ),
    ],
)
def test_only_what_may_have_installed_the_package_gets_the_earlier_one(
    device: CampaignDevice, forward: ErrandState, back: ErrandState
) -> None:
    after_turning = turned(device)
    assert after_turning.back is not None
    assert (after_turning.forward.state, after_turning.back.state) == (forward, back)


def test_a_device_is_busy_from_the_drawing_to_the_end_on_either_way() -> None:
    for way in Way:
        drawn = opening(make_device(), way, "17")
        assert [drawn.is_busy, opened(drawn, way).is_busy, ended(drawn, way, None).is_busy] == [True, True, False]
    assert not make_device().is_busy
