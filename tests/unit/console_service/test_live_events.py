import json

import msgspec
import pytest

from console_service.live_events import TOPICS, LiveKind, event_block, read_event
from shared.domain.events import SENSITIVE_TOPIC, InvalidRecord
from shared.domain.presence import OfflineReason, PresenceState, presence_record
from shared.domain.task_events import task_record
from shared.domain.tasks import PLATFORM, TaskState
from tests.support.attendance import consumed, event_record, make_event, picture_record
from tests.support.live import read_blocks
from tests.support.presence import make_presence
from tests.support.task_values import TASK_ID, make_task


def test_design_9_the_sensitive_topic_is_not_followed() -> None:
    assert set(TOPICS) == set(LiveKind)
    assert set(TOPICS.values()) == {"attendance.sign-in.v1", "device.presence.v1", "device.task.v1"}
    with pytest.raises(InvalidRecord):
        read_event(consumed(picture_record(make_event())))
    assert SENSITIVE_TOPIC not in TOPICS.values()


def test_a_sign_in_is_an_item_of_the_list_without_has_image_and_extra() -> None:
    event = make_event(sn="SN1", person_id="P1", site_id="s1", temperature=36.5)
    live = read_event(consumed(event_record(event)))
    assert (live.kind, live.sn, live.site_id) == (LiveKind.SIGN_IN, "SN1", "s1")
    shown = json.loads(live.data)
    assert (shown["eventId"], shown["personId"], shown["temperature"]) == (event.event_id, "P1", 36.5)
    assert shown["recordTime"] == 1_763_999_990_123
    assert {"hasImage", "extra"} & shown.keys() == set()


def test_a_member_that_the_api_does_not_name_is_not_shown() -> None:
    record = event_record(make_event())
    value = json.dumps(json.loads(record.value) | {"img": "biometrics"}).encode()
    live = read_event(consumed(msgspec.structs.replace(record, value=value)))
    assert b"biometrics" not in live.data


@pytest.mark.parametrize(
    ("state", "online"), [(PresenceState.ONLINE, True), (PresenceState.CHANGED, True), (PresenceState.OFFLINE, False)]
)
def test_presence_says_whether_the_terminal_is_online(state: PresenceState, online: bool) -> None:
    reason = OfflineReason.SILENT if state is PresenceState.OFFLINE else None
    event = make_presence(state, device_ip="10.0.0.7", reason=reason)
    live = read_event(consumed(presence_record(event)))
    shown = json.loads(live.data)
    assert (live.kind, live.sn, live.site_id) == (LiveKind.PRESENCE, event.sn, None)
    assert (shown["sn"], shown["online"], shown["state"], shown["at"]) == (event.sn, online, state, event.at)
    assert (shown["deviceIp"], shown["deviceVersion"]) == ("10.0.0.7", None)
    assert shown["reason"] == (None if online else "silent")


def test_a_task_shows_its_new_state_and_who_made_it() -> None:
    live = read_event(consumed(task_record(make_task(sn="SN1"), 0)))
    shown = json.loads(live.data)
    assert (live.kind, live.sn) == (LiveKind.TASK, "SN1")
    assert (shown["taskid"], shown["apicode"], shown["state"]) == (TASK_ID, "T_SEND_PERSON", TaskState.PENDING)
    assert (shown["actor"], shown["reason"]) == (PLATFORM, None)


@pytest.mark.parametrize("changes", [{"key": b"SN2"}, {"value": b"{}"}, {"value": b""}, {"headers": ()}])
def test_a_record_that_is_not_what_its_topic_promises_is_no_event(changes: dict[str, object]) -> None:
    for record in (
        event_record(make_event()),
        presence_record(make_presence()),
        task_record(make_task(), 0),
    ):
        read_event(consumed(record))
        with pytest.raises(InvalidRecord):
            read_event(consumed(msgspec.structs.replace(record, **changes)))


def test_a_task_record_of_another_tasks_id_is_no_event() -> None:
    record = task_record(make_task(), 0)
    headers = tuple((name, b"1-0" if name == "ce_id" else value) for name, value in record.headers)
    with pytest.raises(InvalidRecord):
        read_event(consumed(msgspec.structs.replace(record, headers=headers)))


def test_line_ends_between_members_do_not_break_the_stream() -> None:
    """J5: healthInfo is kept as the terminal wrote it, white space included."""
    health = b'{\n "code":\r"green",\r\n\r\n"n":1}'
    event = make_event(health_info=msgspec.Raw(health))
    live = read_event(consumed(event_record(event)))
    (block,) = read_blocks(event_block("sign-in", "id1", live.data).decode())
    assert (block.name, block.event_id) == ("sign-in", "id1")
    assert block.data is not None
    assert json.loads(block.data)["healthInfo"] == {"code": "green", "n": 1}
