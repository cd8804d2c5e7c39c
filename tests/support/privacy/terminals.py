"""Terminals over TCP and HTTPS, right and wrong, with the values in every field."""

import asyncio
import base64
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiokafka import AIOKafkaProducer

from terminal_simulator.face import picture
from terminal_simulator.wire import encode_message
from tests.support.builders import (
    Vendor,
    make_auth,
    make_heartbeat,
    make_request,
    make_sign_in,
    now_ms,
)
from tests.support.operators import Operators, event_id
from tests.support.privacy.run import API, Run, face, idcard_no, phone
from tests.support.privacy.search import SHORTEST, piece
from tests.support.task_api import make_body, md5
from tests.support.terminal import connect

LONG_AGO = "20210328031608"


async def drive_terminals(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """Everything that terminals say, with secrets in every field, and records that can never be stored."""
    vendor_id, vendor = await operators.create_vendor()
    run.hide_vendor(vendor)
    sn = f"PRIV{secrets.token_hex(6)}"
    run.sns.append(sn)
    secret = vendor.access_secret
    site_id = await operators.create_site()
    async with connect(*run.stack.tcp) as terminal:
        answer = await terminal.ask(run.signed(make_auth(vendor, sn, nine_fields=True)))
        assert answer.response is not None
        token = run.hide("device token", str(answer.response["token"]))
        await operators.change_device(sn, siteId=site_id, direction="in")
        assert (await terminal.ask(run.signed(make_heartbeat(secret, sn, token)))).success
        await sign_in(run, operators, terminal, secret, sn, token, "P-put")
        await drive_tasks(run, operators, http, sn, token, secret, site_id)
        rotated = await rotate(run, http, vendor_id)
        token = run.hide("device token", await terminal.authenticate(rotated, sn))
        secret = rotated.access_secret
        lone = run.hide("device token", secrets.token_hex(16))
        odd = [secret, token, lone, idcard_no(), phone(), secrets.token_hex(16)]
        for value in odd[3:]:
            run.hide("value in a wrong field", value)
        for value in odd:
            await misplace_on_tcp(run, rotated, sn, token, value)
            await misplace_on_https(run, http, rotated, sn, token, value)
        await sensitive_dead_letter(run, sn)
        await operators.revoke(vendor_id, rotated.access_id)
        await asyncio.sleep(1.0)  # revocation is everywhere within a second (T1)
        await run.refused_on_tcp(run.signed(make_heartbeat(secret, sn, token)))
    await run.refused_on_tcp(run.signed(make_auth(rotated, sn)))


async def sign_in(
    run: Run, operators: Operators, terminal: Any, secret: str, sn: str, token: str, person_id: str
) -> None:
    """A passage with all that one can have; stored, with its picture."""
    number = secrets.randbelow(10**9)
    image = picture(number)
    seen = f"simulator, picture {number}".encode()  # the one piece that no other picture has
    assert seen in image
    run.hide("picture's own piece", seen)
    run.hide("picture", piece(photo := face()))
    more = {
        "irisInfo": run.hide("iris", secrets.token_urlsafe(40)),
        "gait": run.hide("unknown member", secrets.token_urlsafe(40)),
        "temperature": 36.6,
        "qrCodeInfo": {"type": "1", "codeValue": run.keep("QR code", secrets.token_urlsafe(20))},
        "healthInfo": {"travelMsg": run.keep("health", f"密接{secrets.token_hex(10)}")},
    }
    for parts in (more, *(part for part in more.values() if isinstance(part, dict))):
        for member, value in parts.items():
            if isinstance(value, str) and len(value) >= SHORTEST:
                run.gone(member, value)
    run.gone("picture", seen)
    run.gone("picture", piece(photo))
    for data in (image, photo):
        at = now_ms()
        message = make_sign_in(secret, sn, token, person_id=person_id, record_time=at, picture=data, extra=more)
        assert (await terminal.ask(run.signed(message))).success
        event = event_id(sn, person_id, at, 1)
        await operators.stored(event, with_image=True)
        await operators.image(event)


async def rotate(run: Run, http: aiohttp.ClientSession, vendor_id: str) -> Vendor:
    """A further credential."""
    async with http.post(f"{API}/vendors/{vendor_id}/credentials") as got:
        made = await got.json()
    return run.hide_vendor(Vendor(made["accessId"], made["accessKey"], made["accessSecret"]))


async def drive_tasks(
    run: Run, operators: Operators, http: aiohttp.ClientSession, sn: str, token: str, secret: str, site_id: str
) -> None:
    """Persons and packages by signed links, links that lead nowhere, a report with faces and identity data."""
    device = {"sn": sn, "token": token, "secret": secret}

    async def ask(apicode: str, param: object, **more: Any) -> Any:
        body = make_body(apicode, param, **device, **more)
        run.hide("signature", json.loads(body)["sign"])
        answer = await run.on_https(http, body)
        assert answer["success"], apicode
        return answer.get("response")

    (send,) = await operators.create_tasks(apicode="T_SEND_PERSON", sn=sn, personIds=["P-put"])
    await ask("T_GET_TASKS", {"taskids": [send]})
    page = await ask("T_SEND_PERSON", {"currentPage": 1, "size": 10}, task_id=send)
    package = await operators.upload_firmware(f"v{secrets.token_hex(4)}", secrets.token_bytes(5000))
    (update,) = await operators.create_tasks(apicode="T_UPDATE_DEVICE_VERSION", sn=sn, firmwareId=package)
    given = await ask("T_GET_TASKS", {"taskids": [update]})
    links = [page["data"][0]["imgUrls"][0], json.loads(given["tasks"][0]["param"])["downloadUrl"]]
    for link in links:
        await follow(run, http, link)
    (report,) = await operators.create_tasks(apicode="T_POST_DEVICE_PERSON", sn=sn)
    await ask("T_GET_TASKS", {"taskids": [report]})
    held = {"personId": "P-put", "name": run.keep("name", f"端{secrets.token_hex(6)}")}
    held |= {"idcardNo": run.hide("reported number", idcard_no()), "phone": run.hide("reported phone", phone())}
    taken = face()
    run.hide("reported face", piece(taken))
    pages = {"currentPage": 1, "size": 10, "totalPage": 2}
    signed = json.dumps({"data": [held], **pages}, ensure_ascii=False, separators=(",", ":"))
    sent = {"data": [{**held, "img": base64.b64encode(taken).decode()}], **pages}
    sign = md5("v1.0.0", sn, token, report, "T_POST_DEVICE_PERSON", signed, secret)
    await ask("T_POST_DEVICE_PERSON", json.loads(json.dumps(sent)), task_id=report, sign=sign)
    for task in (send, update):
        await ask("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": task, "status": 1}]})
    assert (await operators.get(f"/devices/{sn}/roster"))["sn"] == sn


async def follow(run: Run, http: aiohttp.ClientSession, link: str) -> None:
    """A signed link that leads there, tampered ones, and one that has ended."""
    query = parse_qs(urlsplit(link).query)
    signature = run.hide("signature of a link", query["signature"][0])
    async with http.get(link, ssl=run._trusted) as got:
        assert got.status == 200
        await got.read()
    ended = link.replace(query["expires"][0], "1600000000000")
    for wrong in (ended, link.replace("/P-put", "/P-csv").replace("/firmware/", "/faces/"), f"{link}0"):
        assert await run.refused(http, "GET", wrong) == 403
    assert await run.refused(http, "GET", link, headers={"Range": "bytes=99999999-"}) == 416
    assert await run.refused(http, "POST", link) == 405
    assert await run.refused(http, "GET", f"{run.stack.https}/nowhere/{signature}?signature={signature}") == 404


async def misplace_on_tcp(run: Run, vendor: Vendor, sn: str, token: str, value: str) -> None:
    """The value in each field in which it has no business; every answer is an error."""
    secret, at = vendor.access_secret, now_ms()
    params = [
        value,
        f'{{"{value}": "{value}"',
        json.dumps({value: value}),
        json.dumps({"personId": "P", "type": value, "recordTime": at, "note": value}),
        json.dumps({"personId": "P", "type": 1, "recordTime": value}),
        json.dumps({"personId": "P", "type": 1, "recordTime": at, "temperature": value, "coordinate": value}),
        json.dumps({"personId": value * 6, "type": 1, "recordTime": at}),
        json.dumps({"personId": "P", "type": 1, "recordTime": at, "healthInfo": [value], "qrCodeInfo": value}),
    ]
    wrong = [make_request(secret, sn, token, "C_SIGN_IN", param) for param in params]
    wrong += [make_request("0" * 32, sn, token, "C_SIGN_IN", param) for param in params]
    wrong += [
        make_request(secret, sn, token, value, "{}"),
        make_request(secret, sn, value if value != token else secret, "C_HEARTBEAT", "{}"),
        make_request(secret, sn, token, "C_HEARTBEAT", "{}", stamp=value),
        make_request(secret, sn, token, "C_HEARTBEAT", "{}", stamp=LONG_AGO),
        make_request(secret, sn, token, "C_HEARTBEAT", "{}", signature=value),
        make_request(secret, sn, token, "C_HEARTBEAT", "{}", version=value, signature="0" * 32),
        make_auth(vendor, sn, access_id=value),
        make_auth(vendor, sn, access_key=value),
        make_auth(vendor, sn, nine_fields=True, sent_secret=f"{value}0"),
        make_auth(vendor, sn, stamp=value),
        make_auth(vendor, sn, param=value),
        make_auth(vendor, sn, signature=value),
        encode_message(["v1.0.0", value * 9, "C_AUTH", value, value, value, value, value]),
        b"\xff" + value.encode(),
    ]
    for message in wrong:
        await run.refused_on_tcp(message)


async def misplace_on_https(
    run: Run, http: aiohttp.ClientSession, vendor: Vendor, sn: str, token: str, value: str
) -> None:
    """As over TCP."""
    device = {"sn": sn, "token": token, "secret": vendor.access_secret}
    other = value if value != token else vendor.access_secret
    wrong = [
        value.encode(),
        f'{{"sn": "{value}'.encode(),
        json.dumps([value]).encode(),
        json.dumps({value: {value: value}}).encode(),
        make_body(value, None, **device),
        make_body("T_GET_TASKS", value, **device),
        make_body("T_GET_TASKS", {"taskids": [value]}, **device, sign=value),
        make_body("T_GET_TASKS", {value: value}, **device),
        make_body("T_GET_TASKS", {"taskids": []}, **{**device, "token": other}),
        make_body("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": value, "status": value}]}, **device),
        make_body("T_SEND_PERSON", {"currentPage": value, "size": value}, **device, task_id=value),
        make_body("T_POST_DEVICE_PERSON", {"data": value}, **device, task_id=value),
        make_body("T_CLEAR_DEVICE_PERSON", None, **device, task_id=value, version=value),
    ]
    for body in wrong:
        assert not (await run.on_https(http, body))["success"]
    path = f"{run.stack.https}/{value}"
    assert await run.refused(http, "GET", path, headers={"X-Token": value, "Cookie": f"a={value}"}) == 404


async def sensitive_dead_letter(run: Run, sn: str) -> None:
    """Records that are no event, full of secrets, on the topic that may hold them."""
    value = run.hide("in a dead letter", secrets.token_urlsafe(30)).encode()
    headers = [("ce_type", b"details"), ("ce_id", value), (value.decode(), value)]
    async with AIOKafkaProducer(bootstrap_servers=run.stack.description["kafka"]) as producer:
        for body in (value, b'{"irisInfo": "' + value, b'{"' + value + b'": 1}'):
            await producer.send_and_wait("attendance.sensitive.v1", body, key=sn.encode(), headers=headers)
