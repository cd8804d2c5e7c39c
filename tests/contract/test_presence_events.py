"""`device.presence.v1`: the records that we write are what contracts/ says, and contracts/ refuses what is not."""

import json
from typing import Any

import msgspec
import pytest
from jsonschema import ValidationError

from shared.domain.events import Record
from shared.domain.presence import OfflineReason, PresenceEvent, PresenceState, presence_record
from tests.contract.test_events import schema, validate
from tests.support.presence import make_presence

PRESENCE = "device.presence.v1.schema.json"
FULL = make_presence(
    PresenceState.CHANGED,
    1_795_500_000_000_000,
    sn="设备",
    address="2001:db8::1",
    device_version="v14.8.7",
    device_ip="192.168.1.11",
    clock_skew_seconds=-599,
)


@pytest.mark.parametrize(
    "event",
    [
        make_presence(),
        FULL,
        *(make_presence(PresenceState.OFFLINE, reason=reason) for reason in OfflineReason),
    ],
    ids=["least", "full", *OfflineReason],
)
def test_the_presence_events_that_we_write_are_what_the_contract_says(event: PresenceEvent) -> None:
    validate(PRESENCE, presence_record(event))


def spoilt(**members: Any) -> Record:
    """An event with members replaced, or left out where they are `...`."""
    record = presence_record(FULL)
    body = json.loads(record.value) | members
    value = json.dumps({name: member for name, member in body.items() if member is not ...}).encode()
    return msgspec.structs.replace(record, value=value)


@pytest.mark.parametrize(
    "members",
    [
        {"epoch": 0},
        {"epoch": "1"},
        {"state": "asleep"},
        {"state": "offline"},
        {"reason": "silent"},
        {"at": "2026-11-24T06:00:00Z"},
        {"clockSkewSeconds": 0.5},
        {"deviceVersion": "v" * 129},
        {"token": "x"},
    ],
)
def test_the_contract_refuses_a_presence_event_with_a_wrong_value(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(PRESENCE, spoilt(**members))


@pytest.mark.parametrize("member", schema(PRESENCE)["required"])
def test_the_contract_refuses_a_presence_event_without_a_required_member(member: str) -> None:
    with pytest.raises(ValidationError, match="is a required property"):
        validate(PRESENCE, spoilt(**{member: ...}))
