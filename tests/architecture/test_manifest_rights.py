"""Who may call whom, and who may read and write which topic, as the manifests, the document and the design say."""

import re
from typing import Any

import pytest

from attendance_writer.settings import WriterSettings
from shared.domain.events import (
    DEAD_LETTER_TOPIC,
    PRESENCE_TOPIC,
    SENSITIVE_TOPIC,
    SIGN_IN_TOPIC,
    SYNTHETIC_TOPIC,
    TASK_TOPIC,
)
from shared.kafka.topics import DEAD_LETTER_ROOM_BYTES, TOPICS
from shared.runtime.settings import KafkaSettings
from tests.support.manifests import SERVICES, documents
from tools.k8s_check.rendering import DEPLOY

README = DEPLOY / "README.md"
POLICIES = DEPLOY / "components" / "network-policies"


# Who calls whom


def edges_of_the_table(text: str) -> set[tuple[str, str, int]]:
    rows = re.findall(r"^\| ([a-z -]+) \| ([a-z-]+) \| (\d+) \|$", text, re.MULTILINE)
    return {
        (client, server, int(port))
        for clients, server, port in rows
        for client in (SERVICES if clients == "every service" else [clients])
    }


def selected(selector: dict[str, Any]) -> list[str]:
    """The names that a selector means."""
    if "matchLabels" in selector:
        return [selector["matchLabels"]["app.kubernetes.io/name"]]
    (expression,) = selector["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("app.kubernetes.io/name", "In")
    return list(expression["values"])


def edges_of_the_policies(direction: str) -> set[tuple[str, str, int]]:
    """From what leaves (egress) or from what arrives (ingress)."""
    edges = set()
    for policy in documents(POLICIES / "servers.yaml"):
        if policy["spec"]["policyTypes"] != [direction.capitalize()]:
            continue
        own = selected(policy["spec"]["podSelector"])
        for rule in policy["spec"][direction]:
            others = [
                name
                for peer in rule["to" if direction == "egress" else "from"]
                for name in selected(peer["podSelector"])
            ]
            pairs = (
                [(a, b) for a in own for b in others]
                if direction == "egress"
                else [(b, a) for a in own for b in others]
            )
            edges |= {(client, server, port["port"]) for client, server in pairs for port in rule["ports"]}
    return edges


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_the_policies_let_through_exactly_the_rows_of_the_table(direction: str) -> None:
    table = edges_of_the_table(README.read_text(encoding="utf-8"))
    # The rows of the design, said here once more: the document is held to it, too.
    design = {
        "tcp-ingress": {"session", "redis", "kafka"},
        "session": {"mongodb", "redis", "kafka"},
        "task-api": {"mongodb", "redis", "kafka"},
        "attendance-writer": {"kafka", "mongodb"},
        "console": {"mongodb", "redis", "session", "kafka"},
        "synthetic-terminal": {"tcp-ingress", "console"},
        "topics": {"kafka"},
        "indexes": {"mongodb"},
    }
    assert {(client, server) for client, server, _ in table if server != "otel-collector"} == {
        (client, server) for client, servers in design.items() for server in servers
    }
    assert edges_of_the_policies(direction) == table


def test_a_row_too_many_in_the_table_is_seen() -> None:
    row = "| tcp-ingress | mongodb | 27017 |"
    assert edges_of_the_table(row) == {("tcp-ingress", "mongodb", 27017)}
    assert not edges_of_the_table(row) & edges_of_the_policies("egress")


def test_everything_else_is_denied() -> None:
    deny, names_looked_up = documents(POLICIES / "deny-all.yaml")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {port["port"] for rule in names_looked_up["spec"]["egress"] for port in rule["ports"]} == {53}


def test_terminals_reach_the_device_ports_and_nobody_but_operators_the_console() -> None:
    doors = {policy["metadata"]["name"]: policy["spec"] for policy in documents(POLICIES / "front-doors.yaml")}
    open_to_all = {
        (spec["podSelector"]["matchLabels"]["app.kubernetes.io/name"], port["port"])
        for spec in doors.values()
        for rule in spec.get("ingress", [])
        if "from" not in rule
        for port in rule["ports"]
    }
    assert open_to_all == {("tcp-ingress", 7000), ("tcp-ingress", 7001), ("task-api", 8443)}
    (rule,) = doors["from-operators-to-console"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"site-access/operators": "true"}}}]


# Kafka


def test_strimzis_topics_are_those_that_the_command_makes() -> None:
    topics = {each["metadata"]["name"]: each["spec"] for each in documents(DEPLOY / "components/strimzi/topics.yaml")}
    settings = KafkaSettings()
    assert set(topics) == set(TOPICS)
    for name, topic in topics.items():
        assert topic["partitions"] == settings.partitions
        assert (topic["replicas"], topic["config"]["min.insync.replicas"]) == (3, 2)
        hours = 24 if name == SYNTHETIC_TOPIC else settings.retention_hours
        assert topic["config"]["retention.ms"] == hours * 3_600_000
        room = DEAD_LETTER_ROOM_BYTES if name == DEAD_LETTER_TOPIC else 0
        assert topic["config"]["max.message.bytes"] == settings.max_message_bytes + room


def rights(operation: str) -> set[tuple[str, str]]:
    return {
        (user["metadata"]["name"].removeprefix("kafka-"), acl["resource"]["name"])
        for user in documents(DEPLOY / "components/strimzi/users.yaml")
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "topic" and operation in acl["operations"]
    }


def test_the_writer_alone_reads_biometrics_and_dead_letters() -> None:
    readers = rights("Read")
    assert {user for user, topic in readers if topic in (SENSITIVE_TOPIC, DEAD_LETTER_TOPIC)} == {"attendance-writer"}
    live = {("console", topic) for topic in (SIGN_IN_TOPIC, PRESENCE_TOPIC, TASK_TOPIC)}
    writer = {("attendance-writer", topic) for topic in TOPICS if topic != TASK_TOPIC}
    assert readers == live | writer


def test_each_topic_is_written_by_those_who_own_it() -> None:
    assert rights("Write") == {
        ("tcp-ingress", SIGN_IN_TOPIC),
        ("tcp-ingress", SENSITIVE_TOPIC),
        ("tcp-ingress", SYNTHETIC_TOPIC),
        ("tcp-ingress", PRESENCE_TOPIC),
        ("session", PRESENCE_TOPIC),
        ("task-api", TASK_TOPIC),
        ("attendance-writer", DEAD_LETTER_TOPIC),
    }
    assert rights("All") == set()


def test_the_writer_is_scaled_by_the_lag_of_its_group_and_never_beyond_the_partitions() -> None:
    (scaled,) = documents(DEPLOY / "components/autoscaling/attendance-writer.yaml")
    group = WriterSettings.model_fields["group_id"].default
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {trigger["consumerGroup"] for trigger in triggers} == {group}
    assert {trigger["topic"] for trigger in triggers} == {SIGN_IN_TOPIC, SENSITIVE_TOPIC}
    assert scaled["spec"]["maxReplicaCount"] == KafkaSettings.model_fields["partitions"].default
    groups = [
        acl["resource"]["name"]
        for user in documents(DEPLOY / "components/strimzi/users.yaml")
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "group"
    ]
    assert groups == [group]
