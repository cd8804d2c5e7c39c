"""Persons in the console over a real MongoDB, by HTTP: an import of 10,000, faces, and deletions carried through."""

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
from shared.domain.devices import Device, SiteSpan
from shared.domain.sites import Site
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import StoredPicture
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.faces import MongoFaceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.sites import MongoSiteStore
from stack.ports import free_port
from tests.support.attendance import JPEG, RECEIVED_MS, make_event
from tests.support.waiting import eventually
from tests.unit.console_service.test_person_faces import encoded, plain, shown

ADMIN_TOKEN = "admin-" * 6
IDCARD = "11010519491231002X"
IMPORT_SECONDS = 60


@dataclasses.dataclass
class Client:
    """How a test talks to the console, and looks behind it."""

    http: aiohttp.ClientSession
    console: str
    database: Database

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Any]:
        """Status, body, and its JSON where it is that."""
        async with self.http.request(method, f"{self.console}/api/v1{path}", **options) as answer:
            is_json = "json" in answer.content_type
            return answer.status, await answer.read(), await answer.json(content_type=None) if is_json else None


@pytest.fixture
async def client(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[Client]:
    port = free_port()
    console = open_console(
        ConsoleSettings(
            admin_token=SecretStr(ADMIN_TOKEN),
            session_token=SecretStr("inner-" * 6),
            session_url="http://127.0.0.1:1",
            port=port,
            notice_seconds=0,
            admin_port=0,
            erasure_seconds=0.2,
            pictures_kept_days=0,  # the tests' pictures are of a day long past
        ),
        mongo_settings,
        redis_settings,
        SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(range(32))).decode()}")),
        KafkaSettings(bootstrap="127.0.0.1:1"),  # only those who look on ask for it
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_mongo(mongo_settings, "test"))
        await make_indexes(database)
        for site_id in ("s1", "s2"):
            await MongoSiteStore(database).add(Site(site_id=site_id, name="Tower", created_at_ms=0))
        await stack.enter_async_context(console(Lifecycle()))
        http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        yield Client(await stack.enter_async_context(http), f"http://127.0.0.1:{port}", database)


def csv_of(count: int, name: str = "张三") -> bytes:
    lines = [f"{number:05},{name},s{1 + number % 2},,138{number:08}" for number in range(count)]
    return "\n".join(["personId,name,siteIds,idcardNo,phone", *lines]).encode()


async def test_10000_persons_are_imported_within_a_minute(client: Client, record_property: Any) -> None:
    device = Device(sn="SN1", vendor_id="v1", registered_at_ms=0, site_history=(SiteSpan(0, "s1", None),))
    await MongoDeviceStore(client.database).register([device])
    body = csv_of(10_000).replace(b"00007,", b"00007/,")
    headers = {"Content-Type": "text/csv"}
    began = time.monotonic()
    status, _, answer = await client.ask("POST", "/persons/import", data=body, headers=headers)
    took = time.monotonic() - began
    record_property("seconds", round(took, 1))
    print(f"10,000 persons were imported in {took:.1f} s")
    assert status == 200
    assert (answer["imported"], answer["created"], answer["changed"], answer["failed"]) == (9999, 9999, 0, 1)
    assert [error["line"] for error in answer["errors"]] == [9]
    assert took < IMPORT_SECONDS
    assert await client.database["persons"].count_documents({}) == 9999
    assert len(await MongoPersonStore(client.database).at_site("s2")) == 4999
    assert [document["_id"] async for document in client.database["rosters"].find({"planAtMs": {"$gt": 0}})] == ["SN1"]
    _, _, found = await client.ask("POST", "/persons/search", json={"phone": "13800001234"})
    assert [person["personId"] for person in found["items"]] == ["01234"]

    status, _, answer = await client.ask("POST", "/persons/import", data=csv_of(500, "李四"), headers=headers)
    assert status == 200, answer
    assert (answer["imported"], answer["created"], answer["changed"]) == (500, 1, 499)


async def test_what_was_read_of_an_import_that_breaks_off_is_done_and_the_audit_says_how_many(client: Client) -> None:
    body = csv_of(700) + b"\n99999,cut o"

    async def broken_off() -> AsyncIterator[bytes]:
        yield body
        await asyncio.sleep(0.5)
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await client.ask("POST", "/persons/import", data=broken_off(), headers={"Content-Type": "text/csv"})

    async def is_audited() -> bool:
        return await client.database["audit"].count_documents({"outcome": "done"}) == 1

    await eventually(is_audited)
    (entry,) = await client.database["audit"].find().to_list(None)
    assert (entry["after"]["imported"], entry["after"]["whole"]) == (700, False)
    assert await client.database["persons"].count_documents({}) == 700


async def test_a_face_comes_back_as_a_jpeg_and_is_gone_with_its_person(client: Client) -> None:
    wish = {"name": "张三", "siteIds": ["s1"], "idcardNo": IDCARD}
    assert (await client.ask("PUT", "/persons/1", json=wish))[0] == 201
    status, _, person = await client.ask("PUT", "/persons/1/face", data=encoded(plain(2000, 1500), "PNG"))
    assert status == 200
    status, face, _ = await client.ask("GET", "/persons/1/face")
    assert (status, shown(face).size) == (200, (1080, 810))
    assert person["face"]["size"] == len(face)
    assert (await client.ask("DELETE", "/persons/1"))[0] == 204
    assert (await client.ask("DELETE", "/persons/1"))[0] == 404
    assert await client.database["faces"].count_documents({}) == 0
    (marker,) = await client.database["persons"].find().to_list(None)
    assert set(marker) == {"_id", "rev", "changes", "deletedAtMs"}
    everything = repr([await client.database[name].find().to_list(None) for name in ("persons", "audit")])
    assert IDCARD not in everything
    assert "张三" not in everything


async def test_design_10_a_deletion_that_died_after_its_marker_is_carried_through(client: Client) -> None:
    assert (await client.ask("PUT", "/persons/1", json={"name": "张三"}))[0] == 201
    event = make_event(person_id="1", temperature=36.7)
    picture = StoredPicture(
        event_id=event.event_id, sn=event.sn, content_type="image/jpeg", data=JPEG, received_at_ms=RECEIVED_MS
    )
    await MongoPictureStore(client.database).add_many([picture])
    await MongoAttendanceStore(client.database).add_many([event])
    await MongoFaceStore(client.database).put("1", JPEG, "a" * 64)
    assert (await client.ask("GET", f"/attendance/{event.event_id}/image"))[0] == 200
    persons = MongoPersonStore(client.database)
    await persons.delete("1", RECEIVED_MS)

    async def is_erased() -> bool:
        return not await persons.unerased(1)

    await eventually(is_erased)
    assert await client.database["faces"].count_documents({}) == 0
    status, _, problem = await client.ask("GET", f"/attendance/{event.event_id}/image")
    assert (status, problem["detail"]) == (404, "the picture was erased with the person")
    _, _, shown_event = await client.ask("GET", f"/attendance/{event.event_id}")
    assert (shown_event["erased"], shown_event["temperature"], shown_event["personId"]) == (True, None, "1")


async def test_of_many_who_change_one_person_at_once_nobody_undoes_anothers_change(client: Client) -> None:
    assert (await client.ask("PUT", "/persons/1", json={"name": "张三"}))[0] == 201
    members: list[dict[str, object]] = [{"siteIds": ["s1"]}, {"phone": "13812341234"}, {"idcardNo": IDCARD}]
    wishes = [{"name": "张三"} | each for each in members]
    answers = await asyncio.gather(*(client.ask("PUT", "/persons/1", json=wish) for wish in wishes))
    assert [status for status, _, _ in answers] == [200, 200, 200]
    _, _, person = await client.ask("GET", "/persons/1")
    assert (person["siteIds"], person["phone"]) == (["s1"], "138****1234")
    assert person["idcardNo"] == "110*************2X"
