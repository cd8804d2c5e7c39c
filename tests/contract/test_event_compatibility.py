"""contracts/ against contracts/released/: whoever built on a released topic goes on reading it.

A new release of the contract is a copy of asyncapi.yaml and events/ into contracts/released/, with the change that
needs it; what breaks a consumer is no release of `.v1` but a topic `.v2`.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.domain.events import DEAD_LETTER_TOPIC
from shared.kafka.topics import DEAD_LETTER_ROOM_BYTES, TOPICS
from shared.runtime.settings import KafkaSettings
from tests.support.event_compatibility import breaking_changes

CONTRACTS = Path(__file__).parents[2] / "contracts"
RELEASED = CONTRACTS / "released" / "v1"
SCHEMAS = sorted(path.name for path in (RELEASED / "events").iterdir())
SIGN_IN = "attendance.sign-in.v1.schema.json"
DEAD_LETTER = "attendance.dead-letter.v1.schema.json"
PRESENCE = "device.presence.v1.schema.json"


def schema(root: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / "events" / name).read_text(encoding="utf-8"))
    return loaded


def asyncapi(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "asyncapi.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_written_to_a_topic_breaks_nobody_who_reads_what_was_released(name: str) -> None:
    assert breaking_changes(schema(RELEASED, name), schema(CONTRACTS, name)) == []


def test_topics_keys_headers_and_retention_are_what_was_released() -> None:
    assert breaking_changes(asyncapi(RELEASED), asyncapi(CONTRACTS)) == []


def test_every_schema_of_a_topic_is_released_so_that_a_change_of_it_is_noticed() -> None:
    assert sorted(path.name for path in (CONTRACTS / "events").iterdir()) == SCHEMAS
    assert len(SCHEMAS) == 6


def test_the_retention_and_the_sizes_that_the_contract_promises_are_those_that_topics_are_made_with() -> None:
    promised = {
        channel["address"]: channel["bindings"]["kafka"]["topicConfiguration"]
        for channel in asyncapi(CONTRACTS)["channels"].values()
    }
    assert sorted(promised) == sorted(TOPICS)
    settings = KafkaSettings()
    for topic, promise in promised.items():
        room = DEAD_LETTER_ROOM_BYTES if topic == DEAD_LETTER_TOPIC else 0
        assert promise == {
            "cleanup.policy": ["delete"],
            "retention.ms": (24 if topic == "attendance.synthetic.v1" else settings.retention_hours) * 3_600_000,
            "max.message.bytes": settings.max_message_bytes + room,
        }


Change = Callable[[dict[str, Any]], object]


def members(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["properties"]
    return found


def headers(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["$defs"]["headers"]
    return found


def renamed(document: dict[str, Any]) -> None:
    members(document)["person"] = members(document).pop("personId")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(
            lambda it: members(it).pop("temperature"), "/properties/temperature: removed", id="member removed"
        ),
        pytest.param(renamed, "/properties/personId: removed", id="member renamed"),
        pytest.param(
            lambda it: members(it)["type"].update(type="string"),
            "/properties/type/type: was 'integer', is 'string'",
            id="another type",
        ),
        pytest.param(
            lambda it: members(it)["temperature"].update(anyOf=[{"type": "number"}]),
            "/properties/temperature/anyOf: was ",
            id="type narrowed",
        ),
        pytest.param(
            lambda it: members(it)["temperature"]["anyOf"][0].update(type="integer"),
            "/properties/temperature/anyOf/0/type: was 'number', is 'integer'",
            id="type narrowed inside",
        ),
        pytest.param(
            lambda it: members(it)["qrCodeInfo"].update(type=["object", "null", "string"]),
            "/properties/qrCodeInfo/type: was ",
            id="type widened",
        ),
        pytest.param(
            lambda it: members(it)["direction"].update(enum=["in", "out", None]),
            "/properties/direction/enum: was ",
            id="value removed",
        ),
        pytest.param(
            lambda it: members(it)["direction"].update(enum=["in", "out", "both", None, "sideways"]),
            "/properties/direction/enum: was ",
            id="value added where consumers decide by it",
        ),
        pytest.param(
            lambda it: members(it)["personId"].update(maxLength=32),
            "/properties/personId/maxLength: was 64, is 32",
            id="range narrowed",
        ),
        pytest.param(
            lambda it: members(it)["temperature"].update(minimum=30),
            "/properties/temperature/minimum: was None, is 30",
            id="range where there was none",
        ),
        pytest.param(
            lambda it: members(it)["sentAt"].update(pattern=".*"), "/properties/sentAt/pattern: was ", id="another form"
        ),
        pytest.param(
            lambda it: it["required"].remove("siteId"), "/required/siteId: no longer always there", id="become absent"
        ),
        pytest.param(
            lambda it: (members(it).update(lane={"type": "integer"}), it["required"].append("lane")),
            "/required/lane: records of before lack it",
            id="new member required",
        ),
        pytest.param(
            lambda it: members(it)["coordinate"]["anyOf"][0]["properties"].pop("latitude"),
            "/properties/coordinate/anyOf/0/properties/latitude: removed",
            id="member of a member removed",
        ),
        pytest.param(
            lambda it: it.update(additionalProperties=True), "/additionalProperties: was False, is True", id="opened"
        ),
        pytest.param(
            lambda it: headers(it)["properties"].pop("ce_dataref"),
            "/$defs/headers/properties/ce_dataref: removed",
            id="header removed",
        ),
        pytest.param(
            lambda it: headers(it)["properties"]["ce_type"].update(const="attendance"),
            "/$defs/headers/properties/ce_type/const: was ",
            id="header of another value",
        ),
        pytest.param(
            lambda it: headers(it)["required"].remove("ce_id"),
            "/$defs/headers/required/ce_id: no longer always there",
            id="header become absent",
        ),
    ],
)
def test_a_change_that_breaks_a_reader_of_sign_ins_is_found(change: Change, found: str) -> None:
    released = schema(RELEASED, SIGN_IN)
    changed = copy.deepcopy(released)
    change(changed)
    (only,) = breaking_changes(released, changed)
    assert only.startswith(found)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda it: members(it).update(lane={"type": ["integer", "null"]}), id="optional member"),
        pytest.param(
            lambda it: members(it)["image"]["anyOf"][0]["properties"].update(width={"type": "integer"}),
            id="optional member of a member",
        ),
        pytest.param(lambda it: headers(it)["properties"].update(ce_dataschema={"type": "string"}), id="header"),
        pytest.param(lambda it: members(it)["type"].update(description="Other words."), id="other words"),
        pytest.param(lambda it: it["required"].reverse(), id="another order of required"),
    ],
)
def test_what_only_comes_to_it_breaks_nobody(change: Change) -> None:
    released = schema(RELEASED, SIGN_IN)
    changed = copy.deepcopy(released)
    change(changed)
    assert changed != released
    assert breaking_changes(released, changed) == []


@pytest.mark.parametrize("member", ["dl_reason", "dl_topic"])
def test_reasons_and_topics_of_dead_letters_may_become_more_but_not_fewer(member: str) -> None:
    released = schema(RELEASED, DEAD_LETTER)
    more, fewer = copy.deepcopy(released), copy.deepcopy(released)
    headers(more)["properties"][member]["enum"].append("another")
    gone = headers(fewer)["properties"][member]["enum"].pop()
    assert breaking_changes(released, more) == []
    assert breaking_changes(released, fewer) == [f"/$defs/headers/properties/{member}/enum: {gone!r} removed"]


def test_states_of_presence_may_not_become_more_but_reasons_may() -> None:
    released = schema(RELEASED, PRESENCE)
    reasons, states = copy.deepcopy(released), copy.deepcopy(released)
    members(reasons)["reason"]["enum"].append("asleep")
    members(states)["state"]["enum"].append("asleep")
    assert breaking_changes(released, reasons) == []
    assert len(breaking_changes(released, states)) == 1


def test_a_true_is_not_a_one() -> None:
    assert breaking_changes({"const": 1}, {"const": True}) == ["/const: was 1, is True"]
