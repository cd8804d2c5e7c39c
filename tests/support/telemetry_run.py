"""A run of the whole platform in which everything that leaves a span or moves a metric happens once."""

import asyncio
import json
import secrets
import ssl
from typing import Any

import aiohttp

from terminal_simulator.face import picture
from terminal_simulator.wire import encode_frame
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_request, make_sign_in, now_ms, time_stamp
from tests.support.operators import Operators, event_id, open_operators
from tests.support.task_api import make_body
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

PERSON = "4508004291609636864"
FRESH_CONNECTIONS = 20
"""Of two ingress processes each takes one of these at least, but for one case in half a million."""


class _Device:
    """A terminal on both of its ways."""

    def __init__(self, stack: RunningStack, http: aiohttp.ClientSession, vendor: Vendor, sn: str) -> None:
        self.sn = sn
        self.secret = vendor.access_secret
        self.token = ""
        self._stack = stack
        self._http = http
        self._trusted = ssl.create_default_context(cafile=str(stack.ca))

    async def call(self, apicode: str, param: object, task_id: str | None = None) -> Any:
        """An interface over HTTPS; what it responds."""
        body = make_body(apicode, param, sn=self.sn, token=self.token, task_id=task_id, secret=self.secret)
        answer = json.loads(await self._fetched("POST", f"{self._stack.https}/api/device", body))
        assert answer["success"], (apicode, answer)
        return answer.get("response")

    async def download(self, link: str) -> None:
        """What a link leads to."""
        assert await self._fetched("GET", link)

    async def _fetched(self, method: str, url: str, body: bytes | None = None) -> bytes:
        async with self._http.request(method, url, data=body, ssl=self._trusted) as answer:
            assert answer.status == 200, answer.status
            return await answer.read()


async def drive(stack: RunningStack) -> str:
    """Everything; the serial number of the terminal that did it."""
    headers = {"Authorization": f"Bearer {stack.admin_token}"}
    async with (
        open_operators(stack.console, stack.admin_token) as operators,
        aiohttp.ClientSession() as http,
        aiohttp.ClientSession(stack.console, headers=headers) as console,
    ):
        vendor_id, vendor = await operators.create_vendor()
        device = _Device(stack, http, vendor, f"FULLRUN{secrets.token_hex(5)}")
        async with connect(*stack.tcp) as terminal:
            await terminal.ask(make_auth(vendor, device.sn, signature="0" * 32))
            device.token = await terminal.authenticate(vendor, device.sn)
            await _sign_in(operators, terminal, device)
            await _refused(stack, device)
            await _carry_out_tasks(operators, terminal, device)
            await _fill_roster(operators, device)
            await _console(console, device.sn)
        await _look_up(stack, device)
        await eventually(lambda: _is_offline(operators, device.sn))
        await operators.revoke(vendor_id, vendor.access_id)
    return device.sn


async def _sign_in(operators: Operators, terminal: Terminal, device: _Device) -> None:
    """Passages with and without a picture, and a clock that is off."""
    secret, sn, token = device.secret, device.sn, device.token
    assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
    for data in (None, picture(1)):
        at = now_ms()
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=at, picture=data))).success
        await operators.stored(event_id(sn, PERSON, at, 1), with_image=data is not None)
    assert (await terminal.ask(make_heartbeat(secret, sn, token, stamp=time_stamp(-120)))).success


async def _refused(stack: RunningStack, device: _Device) -> None:
    """Refusals, each on a connection of its own; an interface that there is not, and a frame that is none."""
    secret, sn, token = device.secret, device.sn, device.token
    for message in (
        make_heartbeat(secret, sn, token, signature="0" * 32),
        make_sign_in(secret, sn, token, signature="0" * 32),
        make_heartbeat(secret, sn, "0" * 32),
        make_request(secret, sn, token, "C_NOTHING", "{}"),
    ):
        async with connect(*stack.tcp) as terminal:
            assert not (await terminal.ask(message)).success
    async with connect(*stack.tcp) as terminal:
        await terminal.send_raw(encode_frame(b"\xff"))
        assert not (await terminal.receive()).success


async def _carry_out_tasks(operators: Operators, terminal: Terminal, device: _Device) -> None:
    """Every kind of task: pushed, listed, fetched, carried out, reported; and what its links lead to."""
    await operators.put_person(PERSON, name="工人")
    await operators.put_face(PERSON, picture(2))
    firmware_id = await operators.upload_firmware(f"v{secrets.token_hex(4)}", secrets.token_bytes(5000))
    more: dict[str, dict[str, object]] = {
        "T_SEND_PERSON": {"personIds": [PERSON]},
        "T_UPDATE_DEVICE_PERSON": {"personIds": [PERSON]},
        "T_DEL_DEVICE_PERSON": {"personIds": [PERSON]},
        "T_UPDATE_DEVICE_VERSION": {"firmwareId": firmware_id},
        "T_POST_DEVICE_PERSON": {},
        "T_CLEAR_DEVICE_PERSON": {"push": True},
    }
    tasks = {
        apicode: (await operators.create_tasks(apicode=apicode, sn=device.sn, **wish))[0]
        for apicode, wish in more.items()
    }
    assert (await terminal.receive()).apicode == "T_CLEAR_DEVICE_PERSON"
    await eventually(lambda: _is_listed(terminal, device, len(tasks)))
    given = await device.call("T_GET_TASKS", {"taskids": list(tasks.values())})
    param = {one["apicode"]: one.get("param") for one in given["tasks"]}
    page = {"currentPage": 1, "size": 10}
    persons = await device.call("T_SEND_PERSON", page, tasks["T_SEND_PERSON"])
    await device.call("T_UPDATE_DEVICE_PERSON", page, tasks["T_UPDATE_DEVICE_PERSON"])
    await device.download(persons["data"][0]["imgUrls"][0])
    await device.download(json.loads(param["T_UPDATE_DEVICE_VERSION"])["downloadUrl"])
    report = {"data": [{"personId": PERSON, "name": "工人"}], "currentPage": 1, "totalPage": 1}
    await device.call("T_POST_DEVICE_PERSON", report, tasks["T_POST_DEVICE_PERSON"])
    for task in tasks.values():
        await device.call("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": task, "status": 1}]})
    (cancelled,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=device.sn)
    await operators.cancel_task(cancelled)


async def _is_listed(terminal: Terminal, device: _Device, count: int) -> bool:
    answer = await terminal.ask(make_heartbeat(device.secret, device.sn, device.token))
    return len((answer.response or {}).get("taskids", ())) == count


async def _fill_roster(operators: Operators, device: _Device) -> None:
    """A terminal whose site has workers, planned by itself; and a worker who is deleted."""
    site_id = await operators.create_site()
    person_id = f"P{secrets.token_hex(6)}"
    await operators.put_person(person_id, name="另一个", siteIds=[site_id])
    await operators.change_device(device.sn, siteId=site_id, direction="in")
    await eventually(lambda: _has_task(operators, device.sn))
    await operators.reconcile(device.sn)
    await operators.delete_person(person_id)


async def _has_task(operators: Operators, sn: str) -> bool:
    return bool((await operators.get("/tasks", sn=sn, state="pending"))["items"])


async def _console(console: aiohttp.ClientSession, sn: str) -> None:
    """Reading, an export, the live view for a moment, and what is not there."""
    for path in (f"/devices/{sn}", "/attendance", "/attendance/export", "/audit", "/vendors"):
        async with console.get(f"/api/v1{path}") as answer:
            assert answer.status == 200, path
            await answer.read()
    async with console.get("/nothing") as answer:
        assert answer.status == 404
    async with console.get("/api/v1/live") as live:
        assert live.status == 200


async def _look_up(stack: RunningStack, device: _Device) -> None:
    """Heartbeats until a process has had one that did not hold the session."""
    for _ in range(FRESH_CONNECTIONS):
        async with connect(*stack.tcp) as terminal:
            assert (await terminal.ask(make_heartbeat(device.secret, device.sn, device.token))).success


async def _is_offline(operators: Operators, sn: str) -> bool:
    await asyncio.sleep(0.1)
    return not (await operators.get(f"/devices/{sn}"))["online"]
