"""Prints one trace of each kind as text, from a platform of its own in which everything is traced.

    .venv/bin/python -m tests.bench.show_traces

A line is a span: its name, its service, its length in milliseconds, and the traces that it links to.
"""

import asyncio
import secrets
import tempfile
from pathlib import Path

from stack.guard import Guard
from terminal_simulator.face import picture
from tests.fixtures.otlp import ExportedSpan, OtlpReceiver, running_receiver
from tests.fixtures.stack import RunningStack
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.operators import event_id, open_operators
from tests.support.task_api import ask_over_https, make_body
from tests.support.terminal import connect

PERSON = "4508004291609636864"


def tree(receiver: OtlpReceiver, root: ExportedSpan) -> str:
    """The trace below a span, children in the order in which they began."""
    lines: list[str] = []

    def add(span: ExportedSpan, indent: str) -> None:
        links = f"   → {', '.join(trace[:8] for trace, _ in span.links)}" if span.links else ""
        name = f"{indent}{span.name}"
        lines.append(f"{name:52} {span.service:18} {span.milliseconds:8.1f} ms{links}")
        children = [one for one in receiver.spans if one.parent == span.span_id]
        for child in sorted(children, key=lambda one: one.start_ns):
            add(child, indent + "    ")

    add(root, "")
    return f"trace {root.trace_id}\n" + "\n".join(lines)


async def work(stack: RunningStack, receiver: OtlpReceiver) -> list[ExportedSpan]:
    """Lets a terminal and an operator do something of each kind; gives the roots of the traces."""
    sn, record_time = f"SHOWN{secrets.token_hex(4)}", now_ms()
    async with open_operators(stack.console, stack.admin_token) as operators:
        _, vendor = await operators.create_vendor()
        async with connect(*stack.tcp) as terminal:
            token = await terminal.authenticate(vendor, sn)
            await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))
            await terminal.ask(
                make_sign_in(
                    vendor.access_secret, sn, token, person_id=PERSON, record_time=record_time, picture=picture(1)
                )
            )
            await operators.stored(event_id(sn, PERSON, record_time, 1), with_image=True)
            (task,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=sn, push=True)
            await terminal.receive()  # the command
            await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))  # lists the task
            device = {"sn": sn, "token": token, "secret": vendor.access_secret}
            await ask_over_https(stack.https, stack.ca, make_body("T_GET_TASKS", {"taskids": [task]}, **device))
            report = {"task": [{"taskid": task, "status": 1}]}
            await ask_over_https(stack.https, stack.ca, make_body("T_UPDATE_TASKS_STATUS", report, **device))
            await asyncio.sleep(2)
    of_device = {"site_access__sn": sn}
    return [
        receiver.named("POST /api/v1/vendors")[-1],
        receiver.one("device C_AUTH", **of_device),
        *receiver.named("device C_HEARTBEAT", **of_device),
        receiver.one("device C_SIGN_IN", **of_device),
        *receiver.named("batch process")[-2:],
        receiver.named("POST /api/v1/tasks")[-1],
        receiver.one("device T_GET_TASKS", **of_device),
        receiver.one("device T_UPDATE_TASKS_STATUS", **of_device),
    ]


def main() -> None:
    """Starts the platform, and prints."""
    guard = Guard()
    with running_receiver() as receiver, tempfile.TemporaryDirectory() as directory:
        stack = RunningStack(
            Path(directory) / "run",
            guard,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_TRACES_SAMPLER_ARG="1",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        stack.start()
        try:
            roots = asyncio.run(work(stack, receiver))
        finally:
            stack.process.stop(60)
            guard.close()
        print("\n\n".join(tree(receiver, root) for root in roots))


if __name__ == "__main__":
    main()
