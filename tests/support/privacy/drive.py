"""The whole run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.fixtures.stack import RunningStack
from tests.support.operators import open_operators
from tests.support.privacy.deaths import drive_deaths
from tests.support.privacy.deletion import drive_deletion
from tests.support.privacy.operators import drive_operators
from tests.support.privacy.persons import drive_persons
from tests.support.privacy.run import Run
from tests.support.privacy.terminals import drive_terminals


async def drive(stack: RunningStack) -> Run:
    """The whole run."""
    run = Run(stack)
    kept = json.loads((stack.directory / "secrets.json").read_text(encoding="utf-8"))
    run.hide("admin token", stack.admin_token)
    run.hide("session token", kept["session_token"])
    run.hide("sealing key", kept["sealing_keys"].partition(":")[2])
    async with open_operators(stack.console, stack.admin_token) as operators, admin(stack) as http:
        await drive_persons(run, operators, http)
        await drive_terminals(run, operators, http)
        await drive_operators(run, operators, http)
        await drive_deaths(run, operators, http)
        await drive_deletion(run, operators, http)
    return run


@asynccontextmanager
async def admin(stack: RunningStack) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the console with the admin's token, which ends no request early."""
    headers = {"Authorization": f"Bearer {stack.admin_token}"}
    async with aiohttp.ClientSession(stack.console, headers=headers, timeout=aiohttp.ClientTimeout(60)) as http:
        yield http
