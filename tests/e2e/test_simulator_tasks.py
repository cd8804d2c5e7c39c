"""The terminal simulator does the tasks that operators make, however its terminals write and sign (3.1, 3.2)."""

import asyncio
import json
import os
import secrets
import sys

import pytest

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import Operators
from tests.support.waiting import eventually


async def simulator(stack: RunningStack, vendor: Vendor, prefix: str, *options: str) -> asyncio.subprocess.Process:
    """Two terminals, which beat once a second and fail no task."""
    host, port = stack.tcp
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "terminal_simulator", "--tcp", f"{host}:{port}", "--https", stack.https,
        "--ca", str(stack.ca), "--access-id", vendor.access_id, "--access-key", vendor.access_key,
        "--terminals", "2", "--sn-prefix", prefix, "--heartbeat-seconds", "1", "--start-spread-seconds", "0",
        "--failed-tasks", "0", "--unsupported-tasks", "0", "--lost-answers", "0", "--report-json-lines", *options,
        env={**os.environ, "TERMINAL_SIMULATOR_ACCESS_SECRET": vendor.access_secret},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--sign-form", "compact"),
        ("--param-style", "loose", "--sign-form", "sorted", "--layout", "nine"),
        ("--param-style", "loose"),
    ],
    ids=["strict", "compact", "loose and sorted", "loose"],
)
async def test_terminals_fetch_listed_tasks_take_pushed_ones_and_report_both(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, options: tuple[str, ...]
) -> None:
    prefix = f"E2ESIM{secrets.token_hex(4)}"
    process = await simulator(platform_stack, vendor, prefix, *options)
    try:
        first, second = f"{prefix}00001", f"{prefix}00002"

        async def are_there() -> bool:
            return None not in [await operators.get(f"/devices/{sn}") for sn in (first, second)]

        await eventually(are_there, seconds=10)
        (fetched,) = await operators.create_tasks(apicode="T_SEND_PERSON", sn=first)
        (pushed,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=second, push=True)

        async def are_done() -> bool:
            return {(await operators.task_states(taskid))[-1] for taskid in (fetched, pushed)} == {"done"}

        await eventually(are_done, seconds=10)
        assert await operators.task_states(fetched) == ["pending", "delivered", "done"]
        assert (await operators.get(f"/tasks/{fetched}"))["personCount"] == 0
        assert (await operators.get(f"/tasks/{pushed}"))["personCount"] == 0
    finally:
        process.terminate()
        out, _ = await process.communicate()
    report = json.loads(out.splitlines()[-1])
    assert report["tasksReported"] == {"done": 2}
    assert (report["tasksFetched"], report["commands"], report["errors"]) == (1, 1, {})
