"""A firmware campaign through the whole platform: uploaded, pushed by stages, downloaded, reported, rolled back."""

import asyncio
import hashlib
import json
import secrets
import ssl
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.https_terminal import HttpsTerminal, https_terminal
from tests.support.operators import Operators
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

UPDATE = "T_UPDATE_DEVICE_VERSION"


async def install(stack: RunningStack, tcp: Terminal, https: HttpsTerminal) -> tuple[str, bytes]:
    """A terminal takes the command that is pushed to it, loads the package, and reports that it runs. Gives the
    package's version and bytes."""
    command = await tcp.receive(10)
    assert (command.success, command.apicode) == (True, UPDATE)
    pushed: dict[str, Any] = command.response or {}
    (task,) = await https.get_tasks(pushed["taskid"])
    param = json.loads(task["param"])
    assert {name: param[name] for name in ("version", "size", "sha256")} == {
        name: pushed["param"][name] for name in ("version", "size", "sha256")
    }
    trusted = ssl.create_default_context(cafile=stack.ca)
    async with aiohttp.ClientSession() as http, http.get(param["downloadUrl"], ssl=trusted) as answer:
        assert answer.status == 200
        data = await answer.read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (param["size"], param["sha256"])
    assert await https.report([pushed["taskid"]], 1) == ""
    return param["version"], data


async def test_a_package_reaches_the_terminals_stage_by_stage_and_the_one_before_it_comes_back(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor
) -> None:
    run = secrets.token_hex(4)
    packages = {f"{run}-v{number}": secrets.token_bytes(700_000) for number in (1, 2)}
    terminals: dict[str, tuple[Terminal, HttpsTerminal]] = {}
    async with AsyncExitStack() as stack:
        for number in range(2):
            sn = f"E2EFW{run}{number}"
            tcp = await stack.enter_async_context(connect(*platform_stack.tcp))
            token = await tcp.authenticate(vendor, sn)
            terminal = https_terminal(platform_stack.https, platform_stack.ca, sn, token, vendor.access_secret)
            terminals[sn] = (tcp, await stack.enter_async_context(terminal))
        for version, data in packages.items():
            firmware_id = await operators.upload_firmware(version, data)
            campaign_id = await operators.create_campaign(firmwareId=firmware_id, sns=list(terminals), stages=[50, 100])
            members = await operators.get(f"/campaigns/{campaign_id}/devices")
            for member in members["items"]:
                assert await install(platform_stack, *terminals[member["sn"]]) == (version, data)
            await eventually(lambda campaign_id=campaign_id: is_in(operators, campaign_id, "completed"))
        await operators.act_on_campaign(campaign_id, "rollback")
        installed = await asyncio.gather(*(install(platform_stack, *one) for one in terminals.values()))
        assert installed == [next(iter(packages.items()))] * 2
        await eventually(lambda: is_in(operators, campaign_id, "rolled-back"))
        shown = await operators.get(f"/campaigns/{campaign_id}")
        assert (shown["counts"]["done"], shown["rollback"]["done"]) == (2, 2)


async def is_in(operators: Operators, campaign_id: str, state: str) -> bool:
    return bool((await operators.get(f"/campaigns/{campaign_id}"))["state"] == state)
