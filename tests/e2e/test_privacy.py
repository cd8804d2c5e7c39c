"""Nothing that must not be told is told (design rule 8): after a run with everything, right and wrong, each log, trace,
metric, topic and error is searched for every secret, token, signature, identity number, phone, picture and iris value
that the run used; and MongoDB and Redis for what they may hold sealed or hashed alone."""

import asyncio
import gzip
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from shared.runtime.settings import KafkaSettings
from stack.guard import Guard
from stack.http_client import get
from tests.fixtures.otlp import OtlpReceiver, running_receiver
from tests.fixtures.stack import RunningStack
from tests.support.privacy.deletion import database_contents
from tests.support.privacy.drive import drive
from tests.support.privacy.operators import SERVICES
from tests.support.privacy.run import Run
from tests.support.privacy.search import findings
from tests.support.topics import read_topic

TOLD = ("attendance.sign-in.v1", "device.presence.v1", "device.task.v1")
"""The topics that others than the writer read."""

pytestmark = pytest.mark.timeout(900)


@dataclass
class Evidence:
    """What is left of the run, by place."""

    run: Run
    logs: Mapping[str, bytes]
    traces: Mapping[str, bytes]
    metrics: Mapping[str, bytes]
    topics: Mapping[str, bytes]
    databases: Mapping[str, bytes]

    @property
    def errors(self) -> Mapping[str, bytes]:
        return {"errors": b"\n".join(self.run.errors)}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[Evidence]:
    with running_receiver() as receiver:
        stack = RunningStack(
            tmp_path_factory.mktemp("privacy") / "run",
            guard,
            LOG_LEVEL="DEBUG",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_TRACES_SAMPLER_ARG="1",
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_METRIC_EXPORT_INTERVAL="500",
        )
        stack.start()
        try:
            run = asyncio.run(drive(stack))
            before = metrics_of(stack)
            databases = database_contents(stack)
            topics = asyncio.run(contents(stack.description["kafka"]))
        finally:
            stack.process.stop(60)
        yield Evidence(run, logs_of(stack), exported(receiver), before, topics, databases)


def metrics_of(stack: RunningStack) -> Mapping[str, bytes]:
    return {url: get(f"{url}/metrics").encode() for service in SERVICES for url in stack.admin(service)}


def logs_of(stack: RunningStack) -> Mapping[str, bytes]:
    files = {file.name: file.read_bytes() for file in (stack.directory / "logs").iterdir()}
    told = re.sub(r"^  admin token .*$", "", stack.output(), flags=re.MULTILINE)  # to whoever started it, on purpose
    return {**files, "the stack's own output": told.encode()}


def exported(receiver: OtlpReceiver) -> Mapping[str, bytes]:
    bodies = [gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body for body in receiver.bodies]
    return {"exports": b"\n".join(bodies)}


async def contents(bootstrap: str) -> Mapping[str, bytes]:
    """Keys, values and headers."""
    found: dict[str, bytes] = {}
    for topic in TOLD:
        parts: list[bytes] = []
        for record in await read_topic(KafkaSettings(bootstrap=bootstrap), topic):
            parts += [record.key or b"", record.value or b""]
            parts += [part for name, value in record.headers for part in (name.encode(), value)]
        found[topic] = b"\n".join(parts)
    return found


def test_the_run_had_every_error_of_the_protocol_and_of_the_operators_api(evidence: Evidence) -> None:
    assert evidence.run.codes == {"400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01"}
    assert evidence.run.statuses >= {400, 401, 403, 404, 405, 409, 413, 415, 416, 422, 503}


def test_every_place_has_what_the_run_did_so_that_the_search_is_of_the_right_ones(evidence: Evidence) -> None:
    sn = evidence.run.sns[0].encode()
    assert {f"{name}.log" for name in ("tcp-ingress-2", "task-api", "console", "session")} <= evidence.logs.keys()
    assert b"dead letter from" in evidence.logs["attendance-writer.log"]
    assert b"POST /api/v1/persons/search" in evidence.traces["exports"]
    assert sn in evidence.traces["exports"]
    assert all(sn in content for content in evidence.topics.values())
    assert sn in evidence.databases["mongo attendance"]
    assert sn in evidence.databases["redis keys and values"]
    assert len(evidence.metrics) == 6
    assert len(evidence.run.errors) > 500


@pytest.mark.parametrize("kind", ["logs", "traces", "metrics", "topics", "errors"])
def test_design_rule_8_no_secret_and_nothing_biometric_is_told(evidence: Evidence, kind: str) -> None:
    assert findings(getattr(evidence, kind), evidence.run.secret) == []


@pytest.mark.parametrize("kind", ["logs", "traces", "metrics", "errors"])
def test_design_rule_8_no_name_health_or_code_of_a_worker_is_told(evidence: Evidence, kind: str) -> None:
    assert findings(getattr(evidence, kind), evidence.run.personal) == []


def test_design_rule_8_at_rest_secrets_and_identity_data_are_sealed_or_hashed(evidence: Evidence) -> None:
    """Pictures, iris data and unknown members are MongoDB's to keep, and accessKey. A device's token is the key of its
    session in Redis, for as long as it lives, and stands nowhere else."""
    kinds = ("accessSecret", "token", "number", "phone", "admin", "session", "sealing", "signature", "dead letter")
    values = {name: value for name, value in evidence.run.secret.items() if any(kind in name for kind in kinds)}
    in_redis = {name: value for name, value in values.items() if not name.startswith("device token")}
    places = dict(evidence.databases)
    redis = {"redis": places.pop("redis keys and values")}
    assert findings(places, values) + findings(redis, in_redis) == []


def test_design_rule_10_nothing_of_a_deleted_person_is_left_in_any_collection_or_key(evidence: Evidence) -> None:
    """Face, name, identity data (sealed and hashed, too), pictures, iris data, health and code: all of it was there."""
    run = evidence.run
    in_clear = {
        name: value for name, value in run.erased.items() if name.partition(" ")[0] not in ("idcardNo", "phone")
    }
    assert len(in_clear) == 12
    before = findings(run.databases, in_clear)
    assert [name for name in in_clear if not any(f": {name}, as it is" in found for found in before)] == []
    assert findings(evidence.databases, run.erased) == []
    assert b"P-put" in evidence.databases["mongo attendance"]  # the rows stay: wages are computed from them


def test_the_search_finds_each_value_that_the_run_used_wherever_it_is_planted(evidence: Evidence) -> None:
    """Else all of the above would prove nothing: each is put at a random place of a copy, and found there alone."""
    used = {**evidence.run.secret, **evidence.run.personal}
    drawn = random.Random(8)
    for kind in ("logs", "traces", "metrics", "topics", "errors"):
        places = dict(getattr(evidence, kind))
        for name, value in drawn.sample(sorted(used.items()), 20):
            place = drawn.choice(sorted(places))
            at = drawn.randrange(len(places[place]) + 1)
            planted = {place: places[place][:at] + value + places[place][at:]}
            assert f"{place}: {name}, as it is" in findings(planted, {name: value})
