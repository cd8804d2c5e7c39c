"""Presence events as records and back: their ids, and what a consumer refuses."""

import json
import uuid
from typing import Any

import msgspec
import pytest

from shared.domain.events import ConsumedRecord, Fault, InvalidRecord, Record
from shared.domain.presence import OfflineReason, PresenceState, presence_event_id, presence_record, read_presence
from tests.support.attendance import consumed
from tests.support.presence import SN, make_presence
from tests.support.session_values import NOW_MS

NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")
ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED


@pytest.mark.parametrize(
    ("state", "parts"),
    [(ONLINE, (SN, "7", "online")), (CHANGED, (SN, "7", "changed", "2026-11-24T06:00:00.000Z"))],
)
def test_design_2_the_id_is_computed_from_what_the_event_is(state: PresenceState, parts: tuple[str, ...]) -> None:
    assert presence_event_id(make_presence(state, 7)) == str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def test_design_2_whoever_tells_the_end_of_a_connection_gives_it_the_same_id() -> None:
    by_ingress = make_presence(OFFLINE, 7, reason=OfflineReason.CLOSED)
    by_sweep = make_presence(OFFLINE, 7, at="2026-11-24T06:01:15.000Z", reason=OfflineReason.INGRESS_LOST)
    assert presence_event_id(by_ingress) == presence_event_id(by_sweep)
    assert presence_event_id(by_ingress) != presence_event_id(make_presence(OFFLINE, 8))
    assert (
        dict(presence_record(by_ingress).headers)["ce_source"] == dict(presence_record(by_sweep).headers)["ce_source"]
    )


def test_the_record_is_keyed_by_sn_and_stamped_with_the_time_at_which_it_happened() -> None:
    record = presence_record(make_presence(ONLINE, 7, device_version="v14", clock_skew_seconds=-3))
    assert (record.topic, record.key, record.timestamp_ms) == ("device.presence.v1", SN.encode(), NOW_MS)
    at = "2026-11-24T06:00:00.000Z"
    assert json.loads(record.value) == {
        "sn": SN, "vendorId": "v1", "state": "online", "epoch": 7, "at": at, "lastSeenAt": at, "address": None,
        "deviceVersion": "v14", "deviceIp": None, "clockSkewSeconds": -3, "reason": None,
    }  # fmt: skip


@pytest.mark.parametrize("state", PresenceState)
def test_what_is_written_is_read_back(state: PresenceState) -> None:
    event = make_presence(state, 7, address="192.0.2.1", reason=OfflineReason.SILENT)
    assert read_presence(consumed(presence_record(event))) == event


def spoilt(**members: Any) -> ConsumedRecord:
    """A record with members of its value replaced."""
    record = presence_record(make_presence(ONLINE, 7))
    value = json.dumps(json.loads(record.value) | members).encode()
    return consumed(msgspec.structs.replace(record, value=value))


def with_header(name: str, value: bytes) -> ConsumedRecord:
    """A record with an attribute replaced."""
    record = presence_record(make_presence(ONLINE, 7))
    headers = tuple((key, value if key == name else old) for key, old in record.headers)
    return consumed(msgspec.structs.replace(record, headers=headers))


def without(member: str) -> ConsumedRecord:
    """A record without its key or value."""
    return msgspec.structs.replace(consumed(presence_record(make_presence(ONLINE, 7))), **{member: None})


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (spoilt(epoch="7"), Fault.MEMBERS),
        (spoilt(epoch=0), Fault.MEMBERS),
        (spoilt(epoch=2**63), Fault.MEMBERS),
        (spoilt(clockSkewSeconds=-(2**70)), Fault.MEMBERS),
        (spoilt(state="asleep"), Fault.MEMBERS),
        (spoilt(at="yesterday"), Fault.TIME),
        (spoilt(lastSeenAt="2026-11-24T06:00:00"), Fault.TIME),
        (spoilt(sn="other"), Fault.KEY),
        (spoilt(epoch=8), Fault.ID),
        (with_header("ce_specversion", b"0.3"), Fault.ATTRIBUTE),
        (with_header("ce_type", b"picture"), Fault.TYPE),
        (with_header("ce_id", b""), Fault.ATTRIBUTE),
        (without("key"), Fault.KEY),
        (without("value"), Fault.VALUE),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_reason(record: ConsumedRecord, fault: Fault) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read_presence(record)
    assert refused.value.fault is fault


def test_a_member_of_a_later_version_is_passed_over() -> None:
    assert read_presence(spoilt(added={"x": 1})) == make_presence(ONLINE, 7)


def test_a_value_that_is_no_json_is_refused() -> None:
    record: Record = msgspec.structs.replace(presence_record(make_presence()), value=b"{")
    with pytest.raises(InvalidRecord, match="not JSON"):
        read_presence(consumed(record))
