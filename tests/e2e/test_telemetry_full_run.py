"""contracts/telemetry.yaml against a run of the whole platform in which everything happens once: each service emits
what stands there and nothing else, by OpenTelemetry's conventions, and a metric leads to its traces."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shared.runtime import telemetry_names
from stack.guard import Guard
from tests.architecture.test_telemetry_names import conventions
from tests.fixtures.otlp import ExportedSpan, OtlpReceiver, running_receiver
from tests.fixtures.stack import RunningStack
from tests.support.telemetry_matrix import Metric, matches, read_matrix, resource_attributes
from tests.support.telemetry_run import drive
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

MATRIX = read_matrix()
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
SOMETIMES = {"error_type", "console_oldest_kept_timestamp_seconds"}
"""A label and a metric that a run has only where a client left early, or the oldest was looked for."""

# What the stable conventions require of each kind of span, or recommend where it is known. Not `url.path`, `url.query`
# and `url.full`: these name persons and credentials (docs/telemetry.md).
HTTP_SERVER = {
    "http.request.method",
    "http.response.status_code",
    "url.scheme",
    "server.address",
    "server.port",
    "network.protocol.version",
}
MESSAGING = {"messaging.system", "messaging.operation.name", "messaging.operation.type"}
OF_ONE_RECORD = MESSAGING | {"messaging.destination.name"}
DATABASE = {"db.system.name", "db.operation.name"}
REQUIRED: dict[tuple[str, str], set[str]] = {
    ("{method} {route}", "SERVER"): HTTP_SERVER | {"http.route"},
    ("{method}", "SERVER"): HTTP_SERVER,
    ("{method}", "CLIENT"): {
        "http.request.method",
        "http.response.status_code",
        "server.address",
        "server.port",
        "service.peer.name",
    },
    ("{topic} publish", "PRODUCER"): OF_ONE_RECORD,
    ("{topic} process", "CONSUMER"): OF_ONE_RECORD | {"messaging.destination.partition.id", "messaging.kafka.offset"},
    ("batch process", "CONSUMER"): MESSAGING | {"messaging.batch.message_count"},
    ("{operation} {collection}", "CLIENT"): DATABASE | {"db.collection.name"},
    ("{command}", "CLIENT"): DATABASE,
    ("device {apicode}", "SERVER"): {"site_access.apicode", "site_access.outcome"},
    ("push {apicode}", "PRODUCER"): {"network.transport", "site_access.apicode", "site_access.task_id"},
    ("list tasks", "PRODUCER"): {"network.transport", "site_access.apicode"},
}
DEVICE_ON: dict[str, set[str]] = {
    "tcp-ingress": {"network.transport", "client.address"},
    "task-api": HTTP_SERVER | {"http.route"},
}
"""What the span of a device's request has besides, by its channel."""


class FullRun(NamedTuple):
    """What was emitted."""

    receiver: OtlpReceiver
    before: dict[str, list[Family]]
    """By service, what its processes showed before anything had happened."""
    after: dict[str, list[Family]]
    sn: str


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[FullRun]:
    with running_receiver() as receiver:
        stack = RunningStack(
            tmp_path_factory.mktemp("telemetry") / "run",
            guard,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_TRACES_SAMPLER_ARG="1",
            OTEL_METRIC_EXPORT_INTERVAL="1000",
            SESSION_SITE_DEVICES_SECONDS="0.5",
        )
        stack.start()
        try:
            before, sn, after = asyncio.run(_driven(stack))
        finally:
            stack.process.stop(60)  # each process sends what it has left
        yield FullRun(receiver, before, after, sn)


async def _driven(stack: RunningStack) -> tuple[dict[str, list[Family]], str, dict[str, list[Family]]]:
    before = await shown(stack)
    sn = await drive(stack)

    async def is_counted_by_site() -> bool:
        return "session_site_devices" in metrics_of((await shown(stack))["session"])

    await eventually(is_counted_by_site)
    return before, sn, await shown(stack)


async def shown(stack: RunningStack) -> dict[str, list[Family]]:
    """What all processes of each service show under /metrics, as Prometheus asks for it."""
    found: dict[str, list[Family]] = {service: [] for service in MATRIX}
    async with aiohttp.ClientSession(headers=OPENMETRICS) as http:
        for service, families in found.items():
            for url in stack.admin(service):
                async with http.get(f"{url}/metrics") as answer:
                    parsed = text_string_to_metric_families(await answer.text())  # type: ignore[no-untyped-call]  # as prometheus_client has it
                families += [family for family in parsed if family.name != "target"]
    return found


def metrics_of(families: list[Family]) -> dict[str, Metric]:
    """As the matrix has them."""
    found: dict[str, Metric] = {}
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        earlier = found.get(name, Metric(family.type, "", frozenset(), True)).labels
        labels = earlier.union(*(sample.labels for sample in family.samples)) - {"le"}
        unit = "s" if "_seconds" in name else "By" if "bytes" in name else ""
        found[name] = Metric(family.type, unit, labels, True)
    return found


def pattern_of(span: ExportedSpan, patterns: set[tuple[str, str]]) -> tuple[str, str] | None:
    """The pattern that a span is of. GET is a command of Redis and a method of HTTP: there the attributes decide."""
    found = [
        (pattern, kind)
        for pattern, kind in patterns
        if kind == span.kind and matches(pattern, span.name) and REQUIRED[pattern, kind] <= span.attributes.keys()
    ]
    assert len(found) < 2, (span.name, found)
    return found[0] if found else None


def test_each_service_emits_the_spans_of_the_matrix_with_what_the_conventions_require_and_no_other(
    full_run: FullRun,
) -> None:
    unknown: set[tuple[str, ...]] = set()
    emitted: dict[str, set[tuple[str, str]]] = {service: set() for service in MATRIX}
    for span in full_run.receiver.spans:
        pattern = pattern_of(span, MATRIX[span.service].spans)
        if pattern is None:
            unknown.add((span.service, span.kind, span.name, *sorted(span.attributes)))
        else:
            emitted[span.service].add(pattern)
    assert unknown == set()
    assert emitted == {service: of_service.spans for service, of_service in MATRIX.items()}


def test_the_span_of_a_devices_request_has_what_its_channel_knows(full_run: FullRun) -> None:
    for service, wanted in DEVICE_ON.items():
        spans = [
            one
            for one in full_run.receiver.spans
            if one.service == service and one.name.startswith("device ")
            if one.kind == "SERVER"
        ]
        assert spans
        assert set().union(*(wanted - span.attributes.keys() for span in spans)) == set(), service


def test_every_attribute_is_of_the_registry_or_of_the_conventions_and_each_of_the_registry_is_emitted(
    full_run: FullRun,
) -> None:
    own = {
        value for name, value in vars(telemetry_names).items() if name.isupper() and value.startswith("site_access.")
    }
    emitted = {name for span in full_run.receiver.spans for name in span.attributes}
    assert emitted - conventions() == own
    assert set().union(*REQUIRED.values()) - own <= conventions()


def test_every_process_says_what_it_is(full_run: FullRun) -> None:
    assert full_run.receiver.resources.keys() == MATRIX.keys()
    for service, attributes in full_run.receiver.resources.items():
        assert resource_attributes() <= attributes.keys()
        assert attributes["service.name"] == service


def test_each_service_shows_the_metrics_of_the_matrix_and_no_other(full_run: FullRun) -> None:
    for service, of_service in MATRIX.items():
        found = metrics_of(full_run.after[service])
        assert found.keys() ^ of_service.metrics.keys() <= SOMETIMES, service
        for name, metric in found.items():
            wanted = of_service.metrics[name]
            assert (name, metric.type, metric.unit) == (name, wanted.type, wanted.unit)
            assert metric.labels <= wanted.labels, name
            assert wanted.labels - metric.labels <= SOMETIMES, name


def test_what_is_not_of_open_labels_is_shown_before_anything_has_happened(full_run: FullRun) -> None:
    for service, of_service in MATRIX.items():
        at_start = {name for name, metric in of_service.metrics.items() if metric.at_start}
        assert at_start - metrics_of(full_run.before[service]).keys() == set(), service


def test_over_otlp_go_the_same_metrics(full_run: FullRun) -> None:
    def plain(name: str) -> str:
        return name.replace(".", "_").removesuffix("_total").removesuffix("_seconds")

    for service, of_service in MATRIX.items():
        sent = {plain(name) for of, name in full_run.receiver.metrics if of == service}
        assert sent ^ {plain(name) for name in of_service.metrics} <= {plain(name) for name in SOMETIMES}, service


def test_an_exemplar_leads_from_a_slow_bucket_to_the_trace_of_its_sign_in(full_run: FullRun) -> None:
    traces = {one.trace_id for one in full_run.receiver.named("device C_SIGN_IN", site_access__sn=full_run.sn)}
    exemplars = [
        sample.exemplar.labels["trace_id"]
        for family in full_run.after["tcp-ingress"]
        for sample in family.samples
        if family.name == "tcp_ingress_answer_seconds"
        and sample.labels["apicode"] == "C_SIGN_IN"
        and sample.exemplar is not None
    ]
    assert exemplars
    assert set(exemplars) <= traces


def test_a_span_that_the_matrix_does_not_have_is_found() -> None:
    def span(name: str, kind: str, **attributes: str) -> ExportedSpan:
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        return ExportedSpan("session", name, kind, "", "", "", [], named, False, 0, 0.0)

    patterns = MATRIX["session"].spans
    redis = {"db__system__name": "redis", "db__operation__name": "GET"}
    assert pattern_of(span("GET", "CLIENT", **redis), patterns) == ("{command}", "CLIENT")
    assert pattern_of(span("GET", "CLIENT"), patterns) is None
    assert pattern_of(span("GET", "SERVER", **redis), patterns) is None
    assert pattern_of(span("made up", "CLIENT", **redis), patterns) is None
