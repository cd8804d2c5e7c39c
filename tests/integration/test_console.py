"""The console over a real MongoDB and the real session service, by HTTP."""

import asyncio
import base64
import dataclasses
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest
from pydantic import SecretStr

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.domain.attendance import AttendanceEvent, event_id, rfc3339
from shared.domain.authentication import AuthReply
from shared.domain.devices import Device
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import StoredDetails, StoredPicture
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.pictures import MongoPictureStore
from stack.mongo_part import MongoPart
from stack.ports import free_port
from stack.redis_part import RedisPart
from tests.support.builders import time_stamp
from tests.support.session_values import make_auth_call

ADMIN_TOKEN = "admin-" * 6
SESSION_TOKEN = "inner-" * 6
RECORD_TIME = 1_795_503_600_000


@dataclasses.dataclass
class Client:
    """How a test talks to console and session."""

    http: aiohttp.ClientSession
    console: str
    session: str
    database: Database
    close_session: AsyncExitStack

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of the console's answer."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with self.http.request(method, f"{self.console}/api/v1{path}", headers=headers, **options) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def authenticate(self, credential: dict[str, str], sn: str) -> AuthReply:
        """A C_AUTH with a credential as the console showed it."""
        call = make_auth_call(
            credential["accessId"], credential["accessKey"], credential["accessSecret"], sn, time_stamp=time_stamp()
        )
        headers = {"Authorization": f"Bearer {SESSION_TOKEN}"}
        url = f"{self.session}/internal/v1/authenticate"
        async with self.http.post(url, headers=headers, data=msgspec.msgpack.encode([call])) as answer:
            (reply,) = msgspec.msgpack.decode(await answer.read(), type=list[AuthReply])
        return reply


@pytest.fixture
async def client(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[Client]:
    session_port, console_port = free_port(), free_port()
    key = base64.b64encode(bytes(range(32))).decode()
    session = open_session(
        SessionSettings(internal_token=SecretStr(SESSION_TOKEN), port=session_port, admin_port=0, notice_seconds=0),
        mongo_settings,
        redis_settings,
        SealingSettings(keys=SecretStr(f"k1:{key}")),
        KafkaSettings(bootstrap="127.0.0.1:1"),  # only the presence sweep asks for it
        PresenceSettings(),
    )
    console = open_console(
        ConsoleSettings(
            admin_token=SecretStr(ADMIN_TOKEN),
            session_token=SecretStr(SESSION_TOKEN),
            session_url=f"http://127.0.0.1:{session_port}",
            port=console_port,
            notice_seconds=0,
            admin_port=0,
            pictures_kept_days=0,  # the tests' pictures are of a day long past
        ),
        mongo_settings,
        redis_settings,
        SealingSettings(keys=SecretStr(f"k1:{key}")),
        KafkaSettings(bootstrap="127.0.0.1:1"),  # only those who look on ask for it
    )
    async with AsyncExitStack() as stack:
        session_stack = await stack.enter_async_context(AsyncExitStack())
        await session_stack.enter_async_context(session(Lifecycle()))
        await stack.enter_async_context(console(Lifecycle()))
        yield Client(
            await stack.enter_async_context(aiohttp.ClientSession()),
            f"http://127.0.0.1:{console_port}",
            f"http://127.0.0.1:{session_port}",
            await stack.enter_async_context(open_mongo(mongo_settings, "test")),
            session_stack,
        )


def make_events(count: int, received_step_ms: int = 0) -> list[AttendanceEvent]:
    return [
        AttendanceEvent(
            event_id=event_id("SN1", f"P{number}", RECORD_TIME, 1),
            sn="SN1",
            vendor_id="v1",
            person_id=f"P{number}",
            type=1,
            record_time=RECORD_TIME,
            sent_at=rfc3339(RECORD_TIME),
            received_at=rfc3339(RECORD_TIME + number * received_step_ms),
        )
        for number in range(count)
    ]


async def read_all(client: Client, query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, page = await client.ask("GET", f"/attendance?{query}{cursor}")
        assert status == 200
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


async def test_a_vendor_admitted_here_authenticates_until_its_credential_is_revoked(client: Client) -> None:
    status, created = await client.ask("POST", "/vendors", json={"name": "Gate Works", "timeWindowSeconds": 900})
    assert status == 201
    assert (await client.authenticate(created, "SN1")).session is not None

    status, second = await client.ask("POST", f"/vendors/{created['vendorId']}/credentials")
    assert (status, second["vendorId"], second["name"]) == (201, created["vendorId"], "Gate Works")
    first_path = f"/vendors/{created['vendorId']}/credentials/{created['accessId']}"
    assert (await client.ask("DELETE", first_path))[0] == 204
    assert (await client.ask("DELETE", first_path))[0] == 204
    assert (await client.authenticate(created, "SN2")).error_code == "401_02"
    assert (await client.authenticate(second, "SN3")).session is not None

    _, page = await client.ask("GET", "/vendors")
    (vendor,) = page["items"]
    assert vendor["timeWindowSeconds"] == 900
    assert [credential["revokedAt"] is None for credential in vendor["credentials"]] == [False, True]

    _, devices = await client.ask("GET", "/devices")
    assert [(device["sn"], device["vendorId"]) for device in devices["items"]] == [
        ("SN1", created["vendorId"]),
        ("SN3", created["vendorId"]),
    ]


async def test_no_secret_stands_in_the_audit_of_the_changes(client: Client) -> None:
    _, created = await client.ask("POST", "/vendors", json={"name": "Gate Works"})
    assert (await client.ask("POST", "/vendors/v0/credentials"))[0] == 404
    entries = [entry async for entry in client.database["audit"].find({}).sort("at", 1)]
    assert [(entry["action"], entry["who"], entry["outcome"]) for entry in entries] == [
        ("vendor.create", "admin", "done"),
        ("credential.create", "admin", "refused"),
    ]
    assert entries[0]["target"] == f"{created['vendorId']}/{created['accessId']}"
    for secret in (created["accessKey"], created["accessSecret"], ADMIN_TOKEN, SESSION_TOKEN):
        assert secret not in repr(entries)


async def test_120_records_of_one_time_are_paged_without_gap_or_repetition(client: Client) -> None:
    events = make_events(120)
    await MongoAttendanceStore(client.database).add_many(events)
    for query in ("limit=7", "limit=7&receivedAfter=0", "limit=50&sn=SN1&from=2026-11-24T15:00:00%2B08:00"):
        ids = [item["eventId"] for item in await read_all(client, query)]
        assert len(ids) == 120, query
        assert set(ids) == {event.event_id for event in events}, query
    assert await read_all(client, "sn=SN2") == []
    assert await read_all(client, f"to={RECORD_TIME}") == []
    assert len(await read_all(client, "personId=P7")) == 1


async def test_incremental_reads_are_in_the_order_of_receipt(client: Client) -> None:
    events = make_events(10, received_step_ms=1)
    await MongoAttendanceStore(client.database).add_many(list(reversed(events)))
    items = await read_all(client, f"limit=3&receivedAfter={RECORD_TIME + 3}")
    assert [item["personId"] for item in items] == [f"P{number}" for number in range(4, 10)]


async def test_a_picture_and_unknown_members_are_shown_as_stored(client: Client) -> None:
    (event,) = make_events(1)
    data = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 100
    extra = '{"$set":{"a.b":"\\ud800"},"n":123456789012345678901234567890.0}'
    await MongoAttendanceStore(client.database).add_many([event])
    pictures = MongoPictureStore(client.database)
    base = {"event_id": event.event_id, "sn": "SN1", "received_at_ms": RECORD_TIME}
    await pictures.add_details([msgspec.convert({**base, "extra": extra}, StoredDetails)])
    await pictures.add_many([StoredPicture(**base, content_type="image/jpeg", data=data)])  # type: ignore[arg-type]  # ids and time

    _, shown = await client.ask("GET", f"/attendance/{event.event_id}")
    assert shown["hasImage"] is True
    assert shown["image"] == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "contentType": "image/jpeg",
    }
    assert shown["extra"]["$set"] == {"a.b": "\ud800"}
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    url = f"{client.console}/api/v1/attendance/{event.event_id}"
    async with client.http.get(url, headers=headers) as answer:
        assert f'"extra":{extra}'.encode() in await answer.read()
    async with client.http.get(f"{url}/image", headers=headers) as answer:
        assert await answer.read() == data
        assert answer.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert answer.headers["Content-Type"] == "image/jpeg"


async def test_operators_of_a_query_language_are_plain_text(client: Client) -> None:
    await MongoAttendanceStore(client.database).add_many(make_events(3))
    await MongoDeviceStore(client.database).register([Device(sn="SN1", vendor_id="v1", registered_at_ms=RECORD_TIME)])
    for value in ('{"$gt":""}', "$where", "'; return true; //", "SN1\x00", ".*"):
        status, page = await client.ask("GET", "/attendance", params={"sn": value})
        assert (status, page) == (200, {"items": [], "next": None}), value
    for path in ("/devices/%7B%22$ne%22:null%7D", "/attendance/%7B%22$ne%22:null%7D", "/attendance/$ne/image"):
        assert (await client.ask("GET", path))[0] == 404, path
    assert (await client.ask("GET", "/attendance?sn[$ne]=x"))[1]["next"] is None
    assert (await client.ask("GET", "/devices/SN1"))[0] == 200


async def test_a_tampered_cursor_is_a_400_problem(client: Client) -> None:
    await MongoAttendanceStore(client.database).add_many(make_events(3))
    _, page = await client.ask("GET", "/attendance?limit=1")
    cursor = page["next"]
    for changed in (cursor[:-1], "A" + cursor[1:], "eyIkZ3QiOjB9.0000000000000000"):
        status, problem = await client.ask("GET", f"/attendance?limit=1&cursor={changed}")
        assert (status, problem["status"]) == (400, 400)


async def test_session_away_is_503_and_devices_are_served_all_the_same(client: Client) -> None:
    await client.close_session.aclose()
    status, problem = await client.ask("POST", "/vendors", json={"name": "Gate Works"})
    assert (status, problem["title"]) == (503, "Service Unavailable")
    assert (await client.ask("GET", "/devices"))[0] == 200


async def test_a_mongodb_that_hangs_is_503_within_its_deadline(client: Client, mongo_part: MongoPart) -> None:
    assert (await client.ask("GET", "/devices"))[0] == 200
    mongo_part.suspend()
    try:
        timeout = aiohttp.ClientTimeout(total=12)
        status, problem = await client.ask("GET", "/devices", timeout=timeout)
    finally:
        mongo_part.resume()
    assert (status, problem["status"]) == (503, 503)
    assert (await client.ask("GET", "/devices"))[0] == 200


async def test_design_3_a_task_is_made_while_redis_hangs(client: Client, redis_part: RedisPart) -> None:
    _, vendor = await client.ask("POST", "/vendors", json={"name": "Gate Works"})
    assert (await client.authenticate(vendor, "SN1")).session is not None
    wish = {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "push": True}
    redis_part.suspend()
    try:
        status, made = await client.ask("POST", "/tasks", json=wish, timeout=aiohttp.ClientTimeout(total=5))
    finally:
        redis_part.resume()
    assert status == 201
    taskid = made["items"][0]["taskid"]
    assert (await client.ask("GET", f"/tasks/{taskid}"))[1]["state"] == "pending"
    assert (await client.ask("GET", "/tasks?sn=SN1&state=pending"))[1]["items"] == made["items"]
    assert (await client.ask("POST", f"/tasks/{taskid}/cancel"))[1]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("module", "prefix"), [("console_service", "CONSOLE"), ("task_api", "TASK_API")], ids=["console", "task-api"]
)
async def test_the_process_serves_counts_and_leaves_on_sigterm(
    module: str, prefix: str, mongo_settings: MongoSettings, redis_settings: RedisSettings
) -> None:
    port, admin_port = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        f"{prefix}_PORT": str(port),
        f"{prefix}_ADMIN_PORT": str(admin_port),
        "CONSOLE_ADMIN_TOKEN": ADMIN_TOKEN,
        "CONSOLE_SESSION_TOKEN": SESSION_TOKEN,
        "SEALING_KEYS": f"k1:{base64.b64encode(bytes(32)).decode()}",
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",  # only relayed events and the presence sweep ask for it
        "REDIS_URL": redis_settings.url.get_secret_value(),
        "MONGO_URL": mongo_settings.url.get_secret_value(),
        "MONGO_DATABASE": mongo_settings.database,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        lines = [(await process.stderr.readline()).decode()]
        while lines[-1] and "is ready" not in lines[-1]:
            lines.append((await process.stderr.readline()).decode())
        assert f"serving on port {port}, admin on port {admin_port}" in lines[-2], lines
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/api/v1/nothing") as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json")
            async with http.get(f"http://127.0.0.1:{admin_port}/readyz") as answer:
                assert answer.status == 200
            async with http.get(f"http://127.0.0.1:{admin_port}/metrics") as answer:
                metrics = await answer.text()
        assert "http_server_request_duration_seconds_bucket" in metrics
        assert 'http_response_status_code="404"' in metrics
        process.terminate()
        _, rest = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0
        assert ADMIN_TOKEN not in "".join(lines) + rest.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
