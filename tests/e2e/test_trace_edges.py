"""Every edge of a trace over the whole platform: from the frame over session, Redis and Kafka to MongoDB."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from stack.guard import Guard
from terminal_simulator.face import picture
from tests.fixtures.otlp import ExportedSpan, OtlpReceiver, running_receiver
from tests.fixtures.stack import RunningStack
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.operators import Operators, event_id, open_operators
from tests.support.task_api import ask_over_https, make_body
from tests.support.terminal import connect

PERSON = "330106199001011234"
"""Also the form of an identity number."""
TOPICS = {"attendance.sign-in.v1": "attendance", "attendance.sensitive.v1": "pictures"}
"""And the collection that each is stored in."""
CONNECTIONS = 20
"""Of two ingress processes each takes one of these at least, but for one case in half a million."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced_stack(
    tmp_path_factory: pytest.TempPathFactory, guard: Guard, receiver: OtlpReceiver
) -> Iterator[RunningStack]:
    """A platform of its own in which everything is traced."""
    stack = RunningStack(
        tmp_path_factory.mktemp("traced") / "run",
        guard,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_SAMPLER_ARG="1",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_METRIC_EXPORT_INTERVAL="500",
    )
    stack.start()
    yield stack
    stack.process.stop(60)


@pytest.fixture
async def operators(traced_stack: RunningStack) -> AsyncIterator[Operators]:
    async with open_operators(traced_stack.console, traced_stack.admin_token) as operators:
        yield operators


@pytest.fixture
def sn() -> str:
    return f"TRACED{secrets.token_hex(6)}"


def child(receiver: OtlpReceiver, parent: ExportedSpan, name: str) -> ExportedSpan:
    """The only child of this name, which is in its parent's trace."""
    (found,) = (span for span in receiver.spans if span.parent == parent.span_id and span.name == name)
    assert found.trace_id == parent.trace_id
    return found


def published_and_in_a_batch(receiver: OtlpReceiver, sn: str) -> set[str]:
    """The topics of a device's sign-in whose record was published, and is part of a batch that the writer finished."""
    frames = {one.span_id for one in receiver.named("device C_SIGN_IN", site_access__sn=sn)}
    published = {(one.trace_id, one.span_id): one for one in receiver.spans if one.parent in frames}
    linked = {link for batch in receiver.named("batch process") for link in batch.links}
    return {published[link].attributes["messaging.destination.name"] for link in published.keys() & linked}


async def parent(receiver: OtlpReceiver, child: ExportedSpan) -> ExportedSpan:
    """The span that it is a child of, waited for: another process may export it later."""
    await receiver.wait_for(lambda got: any(one.span_id == child.parent for one in got.spans))
    return next(one for one in receiver.spans if one.span_id == child.parent)


async def test_a_passage_is_one_trace_from_the_frame_to_mongodb(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    record_time = now_ms()
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        answer = await terminal.ask(
            make_sign_in(vendor.access_secret, sn, token, person_id=PERSON, record_time=record_time, picture=picture(1))
        )
        assert answer.success
    await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
    await receiver.wait_for(lambda got: published_and_in_a_batch(got, sn) == set(TOPICS))
    frame = receiver.one("device C_SIGN_IN", site_access__sn=sn)
    assert (frame.service, frame.kind, frame.parent) == ("tcp-ingress", "SERVER", "")
    assert frame.attributes["site_access.outcome"] == "success"
    assert frame.attributes["network.transport"] == "tcp"
    for topic, collection in TOPICS.items():
        published = child(receiver, frame, f"{topic} publish")
        assert (published.service, published.kind) == ("tcp-ingress", "PRODUCER")
        assert published.attributes["messaging.destination.name"] == topic
        processed = child(receiver, published, f"{topic} process")
        assert (processed.service, processed.kind) == ("attendance-writer", "CONSUMER")
        assert processed.links == [(published.trace_id, published.span_id)]
        stored = child(receiver, processed, f"insert {collection}")
        assert (stored.service, stored.kind) == ("attendance-writer", "CLIENT")
        assert stored.attributes["db.system.name"] == "mongodb"
        batch = next(
            one for one in receiver.named("batch process") if (published.trace_id, published.span_id) in one.links
        )
        assert batch.trace_id != frame.trace_id
        commands = [one for one in receiver.spans if one.parent == batch.span_id]
        assert f"insert {collection}" in [one.name for one in commands]


async def test_a_session_that_is_not_held_is_looked_up_in_redis_within_the_trace(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
    for _ in range(CONNECTIONS):
        async with connect(*traced_stack.tcp) as terminal:
            assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
    await receiver.wait_for(lambda got: len(got.named("device C_HEARTBEAT", site_access__sn=sn)) == CONNECTIONS)
    beats = {one.span_id: one for one in receiver.named("device C_HEARTBEAT", site_access__sn=sn)}
    look_ups = [one for one in receiver.named("MGET") if one.parent in beats]
    assert [one.kind for one in look_ups] == ["CLIENT"]
    assert look_ups[0].trace_id == beats[look_ups[0].parent].trace_id
    assert look_ups[0].attributes["db.system.name"] == "redis"


async def test_an_authentication_is_one_trace_over_session_to_mongodb_and_redis(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    async with connect(*traced_stack.tcp) as terminal:
        await terminal.authenticate(vendor, sn)
    await receiver.wait_for(lambda got: bool(got.named("device C_AUTH", site_access__sn=sn)))
    frame = receiver.one("device C_AUTH", site_access__sn=sn)
    assert (frame.service, frame.kind, frame.parent) == ("tcp-ingress", "SERVER", "")
    await receiver.wait_for(
        lambda got: (
            any(one.trace_id == frame.trace_id and one.name == "EVALSHA" for one in got.spans)
            and any(
                one.trace_id == frame.trace_id and one.service == "session" and one.kind == "SERVER"
                for one in got.spans
            )
        )
    )
    call = child(receiver, frame, "POST")
    assert (call.service, call.kind) == ("tcp-ingress", "CLIENT")
    served = child(receiver, call, "POST /internal/v1/authenticate")
    assert (served.service, served.kind) == ("session", "SERVER")
    below = {one.name for one in receiver.spans if one.parent == served.span_id}
    assert below >= {"aggregate credentials", "find devices", "insert devices", "EVALSHA"}
    scripts = [one.attributes for one in receiver.named("EVALSHA") if one.parent == served.span_id]
    assert {(one["db.system.name"], one["db.stored_procedure.name"]) for one in scripts} == {("redis", "open_many")}


async def test_a_terminal_that_comes_on_line_is_told_to_mongodb_in_the_trace_of_its_c_auth(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    async with connect(*traced_stack.tcp) as terminal:
        await terminal.authenticate(vendor, sn)
        await receiver.wait_for(lambda got: bool(got.named("device C_AUTH", site_access__sn=sn)))
        frame = receiver.one("device C_AUTH", site_access__sn=sn)
        topic = "device.presence.v1"
        await receiver.wait_for(
            lambda got: (
                any(
                    (one.trace_id, one.name) == (frame.trace_id, "update devices")
                    and one.service == "attendance-writer"
                    and one.parent in {processed.span_id for processed in got.named(f"{topic} process")}
                    for one in got.spans
                )
                and any(one.parent == frame.span_id for one in got.named(f"{topic} publish"))
            )
        )
    published = child(receiver, frame, f"{topic} publish")
    assert (published.service, published.kind) == ("tcp-ingress", "PRODUCER")
    processed = child(receiver, published, f"{topic} process")
    assert (processed.service, processed.kind) == ("attendance-writer", "CONSUMER")
    assert processed.links == [(published.trace_id, published.span_id)]
    assert child(receiver, processed, "update devices").attributes["db.system.name"] == "mongodb"


async def test_what_an_operator_does_at_session_is_one_trace(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators
) -> None:
    before = len(receiver.named("POST /api/v1/vendors"))
    await operators.create_vendor("Traced Works")
    await receiver.wait_for(lambda got: len(got.named("POST /api/v1/vendors")) > before)
    request = receiver.named("POST /api/v1/vendors")[-1]
    assert (request.service, request.parent) == ("console", "")
    await receiver.wait_for(lambda got: any(one.parent == request.span_id for one in got.named("POST")))
    call = child(receiver, request, "POST")
    await receiver.wait_for(lambda got: any(one.parent == call.span_id for one in got.spans))
    assert child(receiver, call, "POST /internal/v1/vendors").service == "session"


async def test_a_task_is_one_trace_from_the_operator_over_its_delivery_to_its_end(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
    (task,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn)
    device = {"sn": sn, "token": token, "secret": vendor.access_secret}
    await ask_over_https(traced_stack.https, traced_stack.ca, make_body("T_GET_TASKS", {"taskids": [task]}, **device))
    report = {"task": [{"taskid": task, "status": 1}]}
    await ask_over_https(traced_stack.https, traced_stack.ca, make_body("T_UPDATE_TASKS_STATUS", report, **device))
    of_task = {"site_access__task_id": task}
    await receiver.wait_for(
        lambda got: (
            len(got.named("device.task.v1 publish", **of_task)) == 3
            and bool(got.named("device T_UPDATE_TASKS_STATUS", site_access__sn=sn))
        )
    )
    made = await parent(receiver, receiver.named("device.task.v1 publish", **of_task)[0])
    assert (made.service, made.name, made.parent) == ("console", "POST /api/v1/tasks", "")
    asked = {
        state: receiver.one(f"device {apicode}", site_access__sn=sn)
        for state, apicode in (("delivered", "T_GET_TASKS"), ("done", "T_UPDATE_TASKS_STATUS"))
    }
    for state in ("pending", "delivered", "done"):
        told = receiver.one("device.task.v1 publish", site_access__task_state=state, **of_task)
        assert (told.service, told.kind, told.trace_id, told.parent) == (
            "task-api",
            "PRODUCER",
            made.trace_id,
            made.span_id,
        )
        by = asked.get(state)
        assert told.links == ([] if by is None else [(by.trace_id, by.span_id)])
    for request in asked.values():
        assert (request.service, request.kind, request.parent) == ("task-api", "SERVER", "")
        assert request.links == [(made.trace_id, made.span_id)]


async def test_the_first_heartbeat_that_lists_a_task_is_a_step_of_its_trace_and_linked_to_its_own(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    beats_with_it = 0
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        beat = make_heartbeat(vendor.access_secret, sn, token)
        assert (await terminal.ask(beat)).response == {}
        (task,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn)
        async with asyncio.timeout(10):
            while beats_with_it < 3:
                beats_with_it += (await terminal.ask(beat)).response == {"taskids": [task]}
    device = {"sn": sn, "token": token, "secret": vendor.access_secret}
    await ask_over_https(traced_stack.https, traced_stack.ca, make_body("T_GET_TASKS", {"taskids": [task]}, **device))
    await receiver.wait_for(
        lambda got: (
            bool(got.named("list tasks", site_access__sn=sn))
            and bool(
                got.named("device.task.v1 publish", site_access__task_id=task, site_access__task_state="delivered")
            )
        )
    )
    listed = receiver.one("list tasks", site_access__sn=sn)
    made = await parent(receiver, listed)
    assert (made.service, made.name) == ("console", "POST /api/v1/tasks")
    assert (listed.service, listed.kind, listed.trace_id) == ("tcp-ingress", "PRODUCER", made.trace_id)
    (link,) = listed.links
    beats = {(one.trace_id, one.span_id): one for one in receiver.named("device C_HEARTBEAT", site_access__sn=sn)}
    assert beats[link].links == [(made.trace_id, made.span_id)]
    told = receiver.one("device.task.v1 publish", site_access__task_id=task, site_access__task_state="delivered")
    assert told.trace_id == made.trace_id


async def test_a_pushed_command_is_in_the_trace_of_its_task(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        (task,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn, push=True)
        assert (await terminal.receive()).response == {"taskid": task}
    await receiver.wait_for(lambda got: bool(got.named("push T_CLEAR_DEVICE_PERSON", site_access__task_id=task)))
    pushed = receiver.one("push T_CLEAR_DEVICE_PERSON", site_access__task_id=task)
    made = await parent(receiver, pushed)
    assert (made.service, made.name) == ("console", "POST /api/v1/tasks")
    assert (pushed.service, pushed.trace_id) == ("tcp-ingress", made.trace_id)


async def test_the_metrics_of_every_service_arrive_too(traced_stack: RunningStack, receiver: OtlpReceiver) -> None:
    services = {"tcp-ingress", "session", "attendance-writer", "task-api", "console"}
    await receiver.wait_for(lambda got: {service for service, _ in got.metrics} == services)
    assert ("tcp-ingress", "tcp_ingress_answers") in receiver.metrics


async def test_design_rule_8_nothing_secret_and_no_person_is_in_anything_that_was_exported(
    traced_stack: RunningStack, receiver: OtlpReceiver, operators: Operators, sn: str
) -> None:
    _, vendor = await operators.create_vendor()
    record_time, image = now_ms(), picture(2)
    async with connect(*traced_stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        message = make_sign_in(
            vendor.access_secret, sn, token, person_id=PERSON, record_time=record_time, picture=image
        )
        assert (await terminal.ask(message)).success
        refused = make_sign_in("0" * 32, sn, token, person_id=PERSON, record_time=record_time)
        assert not (await terminal.ask(refused)).success
    event = event_id(sn, PERSON, record_time, 1)
    await operators.stored(event, with_image=True)
    await operators.get("/attendance", personId=PERSON)
    await receiver.wait_for(
        lambda got: (
            len(got.named("device C_SIGN_IN", site_access__sn=sn)) == 2 and bool(got.named("GET /api/v1/attendance"))
        )
    )
    exported = b"".join(receiver.bodies)
    assert sn.encode() in exported  # the search finds what is there
    secret = {
        "secret": vendor.access_secret,
        "key": vendor.access_key,
        "token": token,
        "sign": message[-32:].decode(),
        "person": PERSON,
        "admin's token": traced_stack.admin_token,
    }
    assert [name for name, text in secret.items() if text.encode() in exported] == []
    assert image[100:140] not in exported
    assert receiver.named("device C_SIGN_IN", site_access__sn=sn, site_access__outcome="400_04")
