"""Operators who are refused with every status, with the values in bodies, headers, queries and paths."""

import asyncio
import io
import json
import secrets
from contextlib import suppress
from urllib.parse import quote, urlsplit

import aiohttp

from tests.support.operators import Operators
from tests.support.privacy.run import API, Run, idcard_no, phone

SERVICES = ("tcp-ingress", "task-api", "console", "session", "attendance-writer")


async def drive_operators(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """Tokens made, used, revoked, ended; requests that are refused."""
    site_id = await operators.create_site()
    made: list[str] = []
    for wish in ({"role": "viewer"}, {"role": "operator", "siteIds": [site_id]}, {"role": "viewer"}):
        async with http.post(f"{API}/tokens", json=wish) as got:
            answer = await got.json()
            made.append(run.hide("operator's token", answer["token"]))
    assert (await http.delete(f"{API}/tokens/{answer['tokenId']}")).status == 204
    await asyncio.sleep(2.1)  # a token is remembered for two seconds at most
    async with aiohttp.ClientSession(run.stack.console) as browser:
        viewer, bound, revoked = made
        signed_in = await browser.post(
            f"{API}/sign-in", json={"token": viewer}, headers={"X-Requested-With": "console"}
        )
        assert signed_in.status == 200
        cookie = {"Cookie": f"operator_token={viewer}"}
        assert (await browser.get(f"{API}/sites", headers=cookie)).status == 200
        assert await run.refused(browser, "POST", f"{API}/sites", json={"name": "x"}, headers=cookie) == 403
        assert await run.refused(browser, "GET", f"{API}/audit", headers=cookie) == 403
        hidden = {"Authorization": f"Bearer {bound}"}
        assert await run.refused(browser, "GET", f"{API}/persons/P-put", headers=hidden) == 404
        assert await run.refused(browser, "GET", f"{API}/persons", params={"siteId": "s"}, headers=hidden) == 404
        values = [
            *made,
            *(run.hide("wrong token", text) for text in (f"op_{secrets.token_urlsafe(32)}", secrets.token_hex(24))),
            run.hide("misplaced number", idcard_no()),
            run.hide("misplaced phone", phone()),
        ]
        for value in values:
            await misplace_on_console(run, http, browser, value)
        for value in (revoked, *values[3:5]):
            for headers in ({"Authorization": f"Bearer {value}"}, {"Cookie": f"operator_token={value}"}):
                assert await run.refused(browser, "GET", f"{API}/sites", headers=headers) == 401
            wrong = {"json": {"token": value}, "headers": {"X-Requested-With": "console"}}
            assert await run.refused(browser, "POST", f"{API}/sign-in", **wrong) == 401
        for url in [url for service in SERVICES for url in run.stack.admin(service)]:
            await run.refused(browser, "GET", f"{url}/{values[3]}", headers={"X-Token": values[3]})
    (task,) = await operators.create_tasks(apicode="T_CLEAR_DEVICE_PERSON", sn=run.sns[0])
    assert (await operators.cancel_task(task))[0] == 200
    await firmware_conflict(run, operators, http)


async def firmware_conflict(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """409, with a package that is full of secrets."""
    version = f"v{secrets.token_hex(4)}"
    await operators.upload_firmware(version, secrets.token_bytes(100))
    form = aiohttp.FormData()
    form.add_field("version", version)
    name = run.hide("name of a file", secrets.token_hex(20))
    form.add_field("file", io.BytesIO(run.hide("in a package", secrets.token_hex(20)).encode()), filename=name)
    assert await run.refused(http, "POST", f"{API}/firmware", data=form) == 409


async def misplace_on_console(
    run: Run, http: aiohttp.ClientSession, browser: aiohttp.ClientSession, value: str
) -> None:
    """The value wherever an operator could put it by mistake."""
    at = quote(value, safe="")
    kinds = ("persons", "tasks", "attendance", "devices", "firmware", "campaigns")
    for path in (*(f"{API}/{kind}/{at}" for kind in kinds), f"/{at}", f"{API}/{at}", f"{API}/persons/{at}/face"):
        assert await run.refused(http, "GET", path) in (404, 405, 422)
    for path in (f"persons/{at}", f"tokens/{at}", f"vendors/{at}/credentials/{at}", f"persons/{at}/face"):
        assert await run.refused(http, "DELETE", f"{API}/{path}") in (404, 422)
    for path in (f"tasks/{at}/cancel", f"campaigns/{at}/pause", f"devices/{at}/reconcile", f"vendors/{at}/credentials"):
        assert await run.refused(http, "POST", f"{API}/{path}") in (404, 422)
    for path in (f"devices/{at}", f"persons/{at}/face"):
        body = {"name": "x"}
        assert await run.refused(http, "PATCH" if "devices" in path else "PUT", f"{API}/{path}", json=body) in (
            404,
            422,
        )
    long = value * 9
    for query in ({"cursor": value}, {"limit": f"x{value}"}, {"from": f"x{value}"}, {"sn": long}, {"siteId": long}):
        assert await run.refused(http, "GET", f"{API}/attendance", params={**query, "token": value}) in (400, 422)
    wishes = [
        ("PUT", "persons/P-put", {"name": "x", "idcardNo": f"{value}!"}),
        ("PUT", "persons/P-put", {"name": "x", "phone": f"x{value}"}),
        ("PUT", "persons/P-put", {"name": "x", "siteIds": [value]}),
        ("PUT", "persons/P-put", {"name": "x", value: value}),
        ("POST", "persons/search", {"idcardNo": value, "phone": value}),
        ("POST", "tokens", {"role": value, "siteIds": value, "expiresAt": value}),
        ("POST", "tokens", {"role": "viewer", "siteIds": [value]}),
        ("POST", "vendors", {"name": [value], "signForm": value, "timeWindowSeconds": value}),
        ("POST", "tasks", {"apicode": value, "sn": {"x": value}}),
        ("POST", "tasks", {"apicode": "T_DEL_DEVICE_PERSON", "sn": value, "personIds": [value]}),
        ("POST", "tasks", {"apicode": "T_UPDATE_DEVICE_VERSION", "sn": run.sns[0], "firmwareId": value}),
        ("POST", "campaigns", {"firmwareId": value, "sns": [value], "stages": value}),
        ("PATCH", f"devices/{run.sns[0]}", {"siteId": value}),
        ("PATCH", f"devices/{run.sns[0]}", {"direction": value}),
    ]
    for method, path, wish in wishes:
        status = await refused_or_done(run, http, method, f"{API}/{path}", wish)
        assert status in (201, 404, 422), (method, path.partition("/")[0], status)
    broken = f'{{"name": "{value}'.encode()
    assert await run.refused(http, "POST", f"{API}/sites", data=broken) == 422
    large = json.dumps({"name": value * 9000}).encode()
    assert await run.refused(http, "POST", f"{API}/sites", data=large) == 413
    wrong_type = {"Content-Type": f"text/{value}"}
    assert await run.refused(http, "POST", f"{API}/persons/import", data=value.encode(), headers=wrong_type) == 415
    header = {"Content-Type": "text/csv"}
    assert await run.refused(http, "POST", f"{API}/persons/import", data=value.encode(), headers=header) == 422
    assert await run.refused(http, "PUT", f"{API}/sites", data=value.encode()) == 405
    form = aiohttp.FormData()
    form.add_field(value, io.BytesIO(value.encode()), filename=value)
    assert await run.refused(http, "POST", f"{API}/firmware", data=form) in (400, 422)
    assert await run.refused(browser, "GET", f"{API}/sites", params={"token": value}) == 401
    await malformed(run, f"GET {API}/sites?token={value} HTTP/9.9\r\nX-{value}\r\n\r\n".encode())


async def refused_or_done(run: Run, http: aiohttp.ClientSession, method: str, path: str, wish: object) -> int:
    """The status of a request that some value makes a right one."""
    async with http.request(method, path, json=wish) as got:
        if got.status >= 400:
            run.statuses.add(got.status)
            run.errors.append(await got.read())
        return got.status


async def malformed(run: Run, data: bytes) -> None:
    """What is no HTTP."""
    url = urlsplit(run.stack.console)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(data)
    run.errors.append(await asyncio.wait_for(reader.read(65536), 10))
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
