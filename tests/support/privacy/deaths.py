"""Services are killed and parts hang while terminals and operators are at work."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from tests.e2e.test_kill import hanging, kill_and_wait
from tests.support.builders import (
    Vendor,
    make_sign_in,
)
from tests.support.operators import Operators
from tests.support.privacy.operators import refused_or_done
from tests.support.privacy.run import API, Run, face, idcard_no
from tests.support.privacy.search import piece
from tests.support.terminal import connect


async def drive_deaths(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """Services die and parts hang while terminals and operators are at work."""
    _, vendor = await operators.create_vendor()
    run.hide_vendor(vendor)
    number = run.hide("number looked for", idcard_no())
    stop = asyncio.Event()
    working = [asyncio.create_task(work(run, vendor, stop, f"PRIVK{secrets.token_hex(5)}")) for _ in range(3)]
    working.append(asyncio.create_task(look(run, http, stop, number)))
    try:
        await asyncio.sleep(1)
        await kill_and_wait(run.stack, "session", "task-api")
        await kill_and_wait(run.stack, "tcp-ingress", "attendance-writer", "console")
        await asyncio.to_thread(run.stack.wait_ready, 60)
        for part in ("redis", "mongo", "kafka"):
            async with hanging(run.stack, part):
                await asyncio.sleep(7)
            await asyncio.sleep(1)
    finally:
        stop.set()
        await asyncio.gather(*working)
    run.stack.wait_ready(60)


async def work(run: Run, vendor: Vendor, stop: asyncio.Event, sn: str) -> None:
    """A terminal that goes on after every fault."""
    token = ""
    while not stop.is_set():
        with suppress(ConnectionError, TimeoutError, AssertionError, asyncio.IncompleteReadError):
            async with connect(*run.stack.tcp) as terminal:
                token = run.hide("device token", await terminal.authenticate(vendor, sn))
                while not stop.is_set():
                    image = face()
                    run.hide("picture", piece(image))
                    message = make_sign_in(
                        vendor.access_secret, sn, token, person_id="P-csv", picture=image,
                        extra={"irisInfo": run.hide("iris", secrets.token_urlsafe(30))},
                    )  # fmt: skip
                    answer = await terminal.ask(run.signed(message))
                    if not answer.success:
                        run.codes.add(answer.errorcode)
                        run.errors.append(json.dumps(answer.error, ensure_ascii=False).encode())
                    if answer.errorcode == "401_01":
                        break
                    await asyncio.sleep(0.3)
        await asyncio.sleep(0.3)


async def look(run: Run, http: aiohttp.ClientSession, stop: asyncio.Event, number: str) -> None:
    """An operator who looks for a person, by address too, whatever is away."""
    paths: Sequence[tuple[str, str, object]] = (
        ("POST", "/persons/search", {"idcardNo": number}),
        ("GET", f"/persons/{number}", None),
        ("PUT", "/persons/P-csv", {"name": "新", "idcardNo": number}),
        ("DELETE", f"/persons/{number}", None),
        ("GET", f"/attendance?personId={number}&token={number}", None),
    )
    while not stop.is_set():
        for method, path, wish in paths:
            with suppress(aiohttp.ClientError, TimeoutError):
                await refused_or_done(run, http, method, f"{API}{path}", wish)
        await asyncio.sleep(0.3)
