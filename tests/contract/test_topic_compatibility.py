"""The check of contracts/asyncapi.yaml against its release can fail: topics, keys, kinds of records, retention."""

import copy

import pytest

from tests.contract.test_event_compatibility import RELEASED, Change, asyncapi
from tests.support.event_compatibility import breaking_changes


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda it: it["channels"].pop("signIns"), "/channels/signIns: removed", id="topic removed"),
        pytest.param(
            lambda it: it["channels"]["signIns"].update(address="attendance.sign-in"),
            "/channels/signIns/address: was ",
            id="topic renamed",
        ),
        pytest.param(
            lambda it: it["channels"]["signIns"]["bindings"]["kafka"]["topicConfiguration"].update({"retention.ms": 1}),
            "/channels/signIns/bindings/kafka/topicConfiguration/retention.ms: was ",
            id="kept for less long",
        ),
        pytest.param(
            lambda it: it["channels"]["sensitive"]["messages"].pop("details"),
            "/channels/sensitive/messages/details: removed",
            id="kind of record removed",
        ),
        pytest.param(
            lambda it: it["components"]["messages"]["signIn"].update(contentType="application/avro"),
            "/components/messages/signIn/contentType: was ",
            id="another encoding",
        ),
        pytest.param(
            lambda it: it["components"]["messages"]["signIn"]["bindings"]["kafka"].update(
                key={"$ref": "#/components/schemas/personId"}
            ),
            "/components/messages/signIn/bindings/kafka/key/$ref: was ",
            id="another key",
        ),
        pytest.param(
            lambda it: it["components"]["messages"]["signIn"].pop("headers"),
            "/components/messages/signIn/headers: was ",
            id="headers removed",
        ),
        pytest.param(
            lambda it: it["components"]["schemas"]["sn"].update(type="integer"),
            "/components/schemas/sn/type: was ",
            id="key of another type",
        ),
    ],
)
def test_a_change_of_topics_keys_or_headers_is_found(change: Change, found: str) -> None:
    released = asyncapi(RELEASED)
    changed = copy.deepcopy(released)
    change(changed)
    (only,) = breaking_changes(released, changed)
    assert only.startswith(found)


def test_a_further_topic_breaks_nobody() -> None:
    released = asyncapi(RELEASED)
    changed = copy.deepcopy(released)
    changed["channels"]["signIns2"] = {"address": "attendance.sign-in.v2", "messages": {}}
    changed["info"]["version"] = "1.1.0"
    assert breaking_changes(released, changed) == []
