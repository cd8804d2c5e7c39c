"""What downstream builds on: the records that we write are what contracts/ says, and contracts/ refuses what is not."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from opentelemetry.trace import SpanKind

from attendance_writer.dead_letters import dead_letter
from attendance_writer.decode import Rejected, StoreFault
from shared.domain.attendance import AttendanceEvent, Coordinate, SensitiveParts
from shared.domain.devices import Direction
from shared.domain.events import SYNTHETIC_TOPIC, Fault, Record, sensitive_records, sign_in_record
from shared.kafka.record_spans import with_traceparent
from shared.protocol.params import parse_param
from shared.protocol.sign_in import read_sign_in
from tcp_ingress.handlers import attendance
from tests.support.attendance import JPEG, RECEIVED_MS, consumed, make_event, with_picture
from tests.support.session_values import make_session
from tests.support.spans import KeptSpans

CONTRACTS = Path(__file__).parents[2] / "contracts"
SIGN_IN = "attendance.sign-in.v1.schema.json"
PICTURE = "attendance.sensitive.v1.picture.schema.json"
DETAILS = "attendance.sensitive.v1.details.schema.json"
DEAD_LETTER = "attendance.dead-letter.v1.schema.json"


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CONTRACTS / "events" / name).read_text(encoding="utf-8"))
    return loaded


def validate(name: str, record: Record) -> None:
    """The value where it is JSON, and the headers, each as text."""
    headers = {key: value.decode() for key, value in record.headers}
    Draft202012Validator(schema(name)["$defs"]["headers"]).validate(headers)
    if headers.get("content-type") == "application/json" and name != DEAD_LETTER:
        Draft202012Validator(schema(name)).validate(json.loads(record.value))


def full_event() -> AttendanceEvent:
    return with_picture(
        make_event(
            sn="设备",
            bit_type=3,
            site_id="s1",
            direction=Direction.IN,
            temperature=36.7,
            coordinate=Coordinate(120.1, 30.25),
            qr_code_info=msgspec.Raw(b'{"a.b":{"$set":123456789012345678901234567890}}'),
            health_info=msgspec.Raw(b"{}"),
            image_dropped="not base64",
        )
    )


@pytest.mark.parametrize("name", [SIGN_IN, PICTURE, DETAILS, DEAD_LETTER])
def test_every_schema_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    Draft202012Validator.check_schema(schema(name)["$defs"]["headers"])


@pytest.mark.parametrize("event", [make_event(), full_event()], ids=["least", "full"])
def test_the_sign_ins_that_we_write_are_what_the_contract_says(event: AttendanceEvent) -> None:
    validate(SIGN_IN, sign_in_record(event, RECEIVED_MS))


def test_the_sensitive_records_that_we_write_are_what_the_contract_says() -> None:
    parts = SensitiveParts(picture=JPEG, iris_info="iris", extra='{"$set":1}')
    picture, details = sensitive_records(full_event(), parts, RECEIVED_MS)
    validate(PICTURE, picture)
    validate(DETAILS, details)
    with pytest.raises(ValidationError):
        validate(DETAILS, picture)


@pytest.mark.parametrize(
    ("picture", "content_type"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"no known kind", "application/octet-stream"),
        (b"<svg/>", "application/octet-stream"),
    ],
)
def test_j6_the_records_of_an_img_of_any_kind_are_what_the_contract_says(picture: bytes, content_type: str) -> None:
    img = base64.b64encode(picture).decode()
    text = json.dumps({"personId": "P1", "type": 1, "recordTime": RECEIVED_MS - 1000, "img": img})
    passage = read_sign_in(parse_param(text), RECEIVED_MS)
    event, parts = attendance(make_session("token"), passage, RECEIVED_MS - 1000, RECEIVED_MS)
    assert event.image is not None
    assert event.image.content_type == content_type
    validate(SIGN_IN, sign_in_record(event, RECEIVED_MS))
    (record,) = sensitive_records(event, parts, RECEIVED_MS)
    validate(PICTURE, record)


@pytest.mark.parametrize(
    "content_type", ["", "image/", "text/html", "application/octet-stream; x", "xapplication/json"]
)
def test_the_contract_refuses_a_picture_of_a_type_that_is_never_told(content_type: str) -> None:
    with pytest.raises(ValidationError):
        validate(SIGN_IN, spoilt(image={"sha256": "0" * 64, "size": 1, "contentType": content_type}))


def test_a_record_of_a_traced_request_is_what_the_contract_says() -> None:
    kept = KeptSpans()
    with kept.tracing.start("frame", SpanKind.SERVER) as span:
        validate(SIGN_IN, with_traceparent(sign_in_record(full_event(), RECEIVED_MS), span))


@pytest.mark.parametrize("reason", [*Fault, *StoreFault])
def test_the_dead_letters_that_we_write_are_what_the_contract_says(reason: Fault | StoreFault) -> None:
    record = consumed(sign_in_record(full_event(), RECEIVED_MS))
    validate(DEAD_LETTER, dead_letter(record, Rejected(reason, "one clause"), RECEIVED_MS))


def spoilt(**members: Any) -> Record:
    """A sign-in with members replaced, or left out where they are `...`."""
    record = sign_in_record(full_event(), RECEIVED_MS)
    body = json.loads(record.value) | members
    value = json.dumps({name: member for name, member in body.items() if member is not ...}).encode()
    return msgspec.structs.replace(record, value=value)


@pytest.mark.parametrize("member", ["img", "picture", "irisInfo", "extra", "idcardNo", "phone"])
def test_design_9_the_contract_refuses_a_sign_in_with_anything_sensitive_in_it(member: str) -> None:
    with pytest.raises(ValidationError, match="Additional properties"):
        validate(SIGN_IN, spoilt(**{member: "x"}))
    with pytest.raises(ValidationError, match="not valid under any"):
        validate(SIGN_IN, spoilt(image={"sha256": "0" * 64, "size": 1, "contentType": "image/png", member: "x"}))


@pytest.mark.parametrize("member", schema(SIGN_IN)["required"])
def test_the_contract_refuses_a_sign_in_without_a_required_member(member: str) -> None:
    with pytest.raises(ValidationError, match="is a required property"):
        validate(SIGN_IN, spoilt(**{member: ...}))


@pytest.mark.parametrize(
    "members",
    [
        {"type": 128},
        {"type": "1"},
        {"recordTime": "1609744974000"},
        {"receivedAt": "2021-01-04 07:22:54"},
        {"direction": "sideways"},
        {"eventId": "fc080dc9-48af-48fb-b10e-67c3178bb19b"},
        {"coordinate": {"longitude": 181, "latitude": 0}},
        {"healthInfo": "text"},
    ],
)
def test_the_contract_refuses_a_sign_in_with_a_wrong_value(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(SIGN_IN, spoilt(**members))


@pytest.mark.parametrize("header", schema(SIGN_IN)["$defs"]["headers"]["required"])
def test_the_contract_refuses_a_record_without_a_required_attribute(header: str) -> None:
    record = sign_in_record(full_event(), RECEIVED_MS)
    headers = tuple(pair for pair in record.headers if pair[0] != header)
    with pytest.raises(ValidationError, match="is a required property"):
        validate(SIGN_IN, msgspec.structs.replace(record, headers=headers))


def references(node: Any) -> list[str]:
    """Every $ref of a document."""
    if isinstance(node, dict):
        here = [node["$ref"]] if "$ref" in node else []
        return here + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def resolve(document: Any, pointer: str) -> Any:
    for part in pointer.strip("/").split("/") if pointer else []:
        document = document[part]
    return document


def test_asyncapi_names_every_schema_and_every_reference_leads_somewhere() -> None:
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert document["asyncapi"].startswith("3.")
    named = set()
    for reference in references(document):
        file, _, pointer = reference.partition("#")
        target = json.loads((CONTRACTS / file).read_text(encoding="utf-8")) if file else document
        assert resolve(target, pointer), reference
        named.add(Path(file).name)
    assert named - {""} == {path.name for path in (CONTRACTS / "events").iterdir()}


def test_a_synthetic_sign_in_has_the_form_of_a_sign_in() -> None:
    record = sign_in_record(make_event(), RECEIVED_MS, SYNTHETIC_TOPIC)
    assert record.topic == "attendance.synthetic.v1"
    validate(SIGN_IN, record)
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text(encoding="utf-8"))
    channels = document["channels"]
    assert channels["synthetic"]["messages"] == channels["signIns"]["messages"]
    letter = dead_letter(consumed(record), Rejected(Fault.JSON, "one clause"), RECEIVED_MS)
    validate(DEAD_LETTER, letter)


def test_asyncapi_has_a_channel_and_an_operation_for_each_topic_that_is_written() -> None:
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text(encoding="utf-8"))
    addresses = {name: channel["address"] for name, channel in document["channels"].items()}
    assert sorted(addresses.values()) == [
        "attendance.dead-letter.v1",
        "attendance.sensitive.v1",
        "attendance.sign-in.v1",
        "attendance.synthetic.v1",
        "device.presence.v1",
        "device.task.v1",
    ]
    sent = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert sent == {f"#/channels/{name}" for name in addresses}
