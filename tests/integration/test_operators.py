"""Operators' tokens on two consoles over one MongoDB, and what a whole story leaves in the audit."""

import asyncio
import base64
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.domain.devices import Device
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from stack.mongo_part import MongoPart
from stack.ports import free_port
from tests.support.waiting import eventually

ADMIN_TOKEN = "admin-" * 6
SESSION_TOKEN = "inner-" * 6
IDCARD_NO = "11010519491231002X"
PHONE = "13812341234"


@dataclasses.dataclass
class Consoles:
    """Two processes' worth of console, and the database behind them."""

    http: aiohttp.ClientSession
    urls: list[str]
    database: Database

    async def ask(
        self, method: str, path: str, *, token: str | None = ADMIN_TOKEN, console: int = 0, **options: Any
    ) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = options.pop("headers", {}) | ({} if token is None else {"Authorization": f"Bearer {token}"})
        url = f"{self.urls[console]}/api/v1{path}"
        async with self.http.request(method, url, headers=headers, **options) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def make_token(self, **wish: object) -> dict[str, Any]:
        """A new token as it was answered."""
        status, made = await self.ask("POST", "/tokens", json=wish)
        assert status == 201, made
        return dict(made)


@pytest.fixture
async def consoles(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[Consoles]:
    ports = [free_port() for _ in range(3)]
    sealing = SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(range(32))).decode()}"))
    kafka = KafkaSettings(bootstrap="127.0.0.1:1")  # only the presence sweep and those who look on ask for it
    session = open_session(
        SessionSettings(internal_token=SecretStr(SESSION_TOKEN), port=ports[2], admin_port=0, notice_seconds=0),
        mongo_settings,
        redis_settings,
        sealing,
        kafka,
        PresenceSettings(),
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_mongo(mongo_settings, "test"))
        await make_indexes(database)
        await stack.enter_async_context(session(Lifecycle()))
        for port in ports[:2]:
            settings = ConsoleSettings(
                admin_token=SecretStr(ADMIN_TOKEN),
                session_token=SecretStr(SESSION_TOKEN),
                session_url=f"http://127.0.0.1:{ports[2]}",
                port=port,
                admin_port=0,
                notice_seconds=0,
                public_base_url=f"http://127.0.0.1:{port}",
            )
            console = open_console(settings, mongo_settings, redis_settings, sealing, kafka)
            await stack.enter_async_context(console(Lifecycle()))
        # A jar that takes cookies of an address, as browsers do
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))
        yield Consoles(http, [f"http://127.0.0.1:{port}" for port in ports[:2]], database)


async def test_a_token_opens_every_console_at_once_and_none_from_two_seconds_after_it_is_revoked(
    consoles: Consoles,
) -> None:
    made = await consoles.make_token(role="viewer")
    token = made["token"]
    for console in (0, 1):
        assert (await consoles.ask("GET", "/devices", token=token, console=console))[0] == 200
    revoked_at = time.monotonic()
    assert (await consoles.ask("DELETE", f"/tokens/{made['tokenId']}"))[0] == 204

    async def is_refused() -> bool:
        statuses = [(await consoles.ask("GET", "/devices", token=token, console=console))[0] for console in (0, 1)]
        assert set(statuses) <= {200, 401}
        return statuses == [401, 401]

    await eventually(is_refused, 5)
    assert time.monotonic() - revoked_at < 2


async def test_while_mongodb_hangs_the_settings_token_opens_and_others_are_503(
    consoles: Consoles, mongo_part: MongoPart
) -> None:
    token = (await consoles.make_token(role="admin"))["token"]
    # Needs no store itself: what is answered is the check's answer
    wrong: dict[str, Any] = {"json": {}, "timeout": aiohttp.ClientTimeout(total=12)}
    assert (await consoles.ask("POST", "/sites", token=token, **wrong))[0] == 422
    mongo_part.suspend()
    try:
        await asyncio.sleep(1.1)  # until what is remembered of the token is too old
        assert (await consoles.ask("POST", "/sites", **wrong))[0] == 422
        assert (await consoles.ask("POST", "/sites", token=token, **wrong))[0] == 503
        assert (await consoles.ask("POST", "/sites", token="op_" + "x" * 43, **wrong))[0] == 503
        assert (await consoles.ask("POST", "/sites", token="wrong", **wrong))[0] == 401
    finally:
        mongo_part.resume()
    assert (await consoles.ask("POST", "/sites", token=token, **wrong))[0] == 422


async def test_a_browser_signs_in_works_and_signs_out(consoles: Consoles) -> None:
    token = (await consoles.make_token(role="operator"))["token"]
    own_page = {"X-Requested-With": "console"}
    wish: dict[str, Any] = {"json": {"name": "Tower"}}
    assert (await consoles.ask("GET", "/sites", token=None))[0] == 401
    status, signed_in = await consoles.ask("POST", "/sign-in", token=None, headers=own_page, json={"token": token})
    assert (status, signed_in["role"]) == (200, "operator")
    assert (await consoles.ask("GET", "/sites", token=None))[0] == 200
    assert (await consoles.ask("POST", "/sites", token=None, **wish))[0] == 403
    assert (await consoles.ask("POST", "/sites", token=None, headers=own_page, **wish))[0] == 201
    assert (await consoles.ask("POST", "/sign-out", token=None, headers=own_page))[0] == 204
    assert (await consoles.ask("GET", "/sites", token=None))[0] == 401


async def test_a_bound_operator_works_at_its_site_alone(consoles: Consoles) -> None:
    (_, own), (_, foreign) = [await consoles.ask("POST", "/sites", json={"name": name}) for name in ("own", "foreign")]
    await MongoDeviceStore(consoles.database).register(
        [Device(sn=sn, vendor_id="v1", registered_at_ms=0) for sn in ("A", "B", "C")]
    )
    for sn, site in (("A", own), ("B", foreign)):
        assert (await consoles.ask("PATCH", f"/devices/{sn}", json={"siteId": site["siteId"]}))[0] == 200
    token = (await consoles.make_token(role="operator", siteIds=[own["siteId"]]))["token"]
    assert (await consoles.ask("GET", "/sites", token=token))[1] == {"items": [own], "next": None}
    _, page = await consoles.ask("GET", "/devices", token=token)
    assert [device["sn"] for device in page["items"]] == ["A"]
    for path, change, status in (
        ("/devices/A", {"direction": "in"}, 200),
        ("/devices/A", {"siteId": foreign["siteId"]}, 422),
        ("/devices/B", {"direction": "in"}, 404),
        ("/devices/C", {"siteId": own["siteId"]}, 404),
    ):
        assert (await consoles.ask("PATCH", path, token=token, json=change))[0] == status, path
    assert (await consoles.ask("GET", f"/attendance?siteId={foreign['siteId']}", token=token))[0] == 404
    assert (await consoles.ask("GET", "/audit", token=token))[0] == 403


async def test_no_secret_and_no_identity_data_is_left_in_the_audit_by_a_whole_story(
    consoles: Consoles, caplog: pytest.LogCaptureFixture
) -> None:
    made = [await consoles.make_token(role=role, name=f"{role} token") for role in ("viewer", "operator", "admin")]
    _, operator, admin = [one["token"] for one in made]
    _, site = await consoles.ask("POST", "/sites", token=operator, json={"name": "Tower"})
    _, vendor = await consoles.ask("POST", "/vendors", token=admin, json={"name": "Gate Works"})
    _, second = await consoles.ask("POST", f"/vendors/{vendor['vendorId']}/credentials", token=admin)
    path = f"/vendors/{vendor['vendorId']}/credentials/{vendor['accessId']}"
    assert (await consoles.ask("DELETE", path, token=admin))[0] == 204
    await MongoDeviceStore(consoles.database).register([Device(sn="A", vendor_id="v1", registered_at_ms=0)])
    change = {"siteId": site["siteId"], "direction": "in", "name": "East gate", "timeWindowSeconds": 900}
    assert (await consoles.ask("PATCH", "/devices/A", token=operator, json=change))[0] == 200
    person = {"name": "Zhang San", "siteIds": [site["siteId"]], "idcardNo": IDCARD_NO, "phone": PHONE}
    assert (await consoles.ask("PUT", "/persons/1", token=operator, json=person))[0] == 201
    assert (await consoles.ask("PUT", "/persons/1", token=operator, json={**person, "phone": None}))[0] == 200
    refused = {**person, "siteIds": ["nowhere"]}
    assert (await consoles.ask("PUT", "/persons/2", token=operator, json=refused))[0] == 422
    csv = f"personId,name,idcardNo,phone\n3,Li Si,{IDCARD_NO},{PHONE}\n4,Wang,{IDCARD_NO}9,{PHONE}\n"
    headers = {"Content-Type": "text/csv"}
    assert (await consoles.ask("POST", "/persons/import", token=operator, data=csv, headers=headers))[0] == 200
    assert (await consoles.ask("DELETE", "/persons/1", token=operator))[0] == 204
    own_page = {"X-Requested-With": "console"}
    assert (await consoles.ask("POST", "/sign-in", token=None, headers=own_page, json={"token": admin}))[0] == 200
    for one in made:
        assert (await consoles.ask("DELETE", f"/tokens/{one['tokenId']}"))[0] == 204

    entries = [entry async for entry in consoles.database["audit"].find({})]
    assert {entry["action"].partition(".")[0] for entry in entries} == {
        "token",
        "site",
        "vendor",
        "credential",
        "device",
        "person",
    }
    assert {"done", "refused"} == {entry["outcome"] for entry in entries}
    secrets = [one["token"] for one in made]
    secrets += [one[member] for one in (vendor, second) for member in ("accessKey", "accessSecret")]
    secrets += [ADMIN_TOKEN, SESSION_TOKEN, IDCARD_NO, PHONE]
    tokens = [token async for token in consoles.database["operators"].find({})]
    shown = (await consoles.ask("GET", "/audit?limit=200"))[1]["items"]
    assert len(shown) == len(entries)
    assert len(tokens) == 3
    left = repr(entries) + repr(tokens) + repr(shown) + caplog.text
    assert all(word in left for word in ("Gate Works", "East gate", "operator token", vendor["accessId"]))
    assert [secret for secret in secrets if secret in left] == []


async def test_the_audit_is_read_newest_first_and_says_before_and_after(consoles: Consoles) -> None:
    await MongoDeviceStore(consoles.database).register([Device(sn="A", vendor_id="v1", registered_at_ms=0)])
    for name in ("East gate", None):
        assert (await consoles.ask("PATCH", "/devices/A", json={"name": name}))[0] == 200
    made = await consoles.make_token(role="viewer")
    _, page = await consoles.ask("GET", "/audit")
    assert [entry["action"] for entry in page["items"]] == ["token.create", "device.change", "device.change"]
    _, page = await consoles.ask("GET", "/audit?action=device.&target=A&limit=1&who=admin")
    assert (page["items"][0]["before"], page["items"][0]["after"]) == ({"name": "East gate"}, {"name": None})
    _, rest = await consoles.ask("GET", f"/audit?action=device.&target=A&limit=1&who=admin&cursor={page['next']}")
    assert (rest["items"][0]["before"], rest["next"]) == ({"name": None}, None)
    _, page = await consoles.ask("GET", f"/audit?target={made['tokenId']}")
    assert [entry["after"]["role"] for entry in page["items"]] == ["viewer"]
