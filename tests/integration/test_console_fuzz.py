"""Schemathesis against the console by HTTP, over real MongoDB and Redis and the real session service: requests made of
the OpenAPI document, right and wrong ones. No answer is our fault, and every answer is one that the document names.

It runs in a process of its own: in this one it would have to get along with every warning being an error.
"""

import asyncio
import base64
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image
from pydantic import SecretStr

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.domain.devices import Device, SiteSpan
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import StoredDetails, StoredPicture
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.pictures import MongoPictureStore
from stack.ports import free_port
from tests.support.attendance import JPEG, RECEIVED_MS, make_event, with_picture

ADMIN_TOKEN = "admin-" * 6
SESSION_TOKEN = "inner-" * 6
NO_KAFKA = KafkaSettings(bootstrap="127.0.0.1:1")  # only /live and the presence sweep ask for it
SEALING = SealingSettings(keys=SecretStr(f"k1:{base64.b64encode(bytes(range(32))).decode()}"))

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 10
"""Of every operation, drawn beside those that the document has and the bounds of every member."""
SECONDS = 240
"""Longest time that it may take."""
KNOWN_SHARE = 0.6
"""How often what names something names something that is there."""
ENDLESS = "/api/v1/live"
EXAMPLE_IDS = {
    "84E0F42C5D1A": "path.sn",
    "s5f1c2a90b3d4e678": "query.siteId",
    "4508004291609636864": "path.personId",
    "6541951958563696640": "path.taskid",
    "c019ab4d2f30c8d5e6f70": "path.campaignId",
    "f019ab4d2f30c8d5e6f70": "body.firmwareId",
    "t5f1c2a90b3d4e678": "path.tokenId",
    "0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51": "path.eventId",
    "v5f1c2a90b3d4e678": "path.vendorId",
    "0c5b7f0e8d3a4c21b6e4f9a1d2c3b4a5": "path.accessId",
}
"""What the examples of the document name, and where of what is known one takes its place."""
HOOKS = "tests.support.schemathesis_hooks"


class Console(msgspec.Struct):
    """A console that runs, with something of every kind in it."""

    url: str
    known: dict[str, Sequence[str]]
    """Values of parameters and of members, by where they stand."""

    async def document(self) -> str:
        """Its OpenAPI, whose examples are made true: what they name is there."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/api/v1/openapi.json") as answer:
            text = await answer.text()
        for example, where in EXAMPLE_IDS.items():
            assert example in text
            text = text.replace(example, self.known[where][0])
        return text


@asynccontextmanager
async def running_console(mongo: MongoSettings, redis: RedisSettings) -> AsyncIterator[Console]:
    """A console over these, and the session service that it asks."""
    session_port, console_port = free_port(), free_port()
    session = open_session(
        SessionSettings(internal_token=SecretStr(SESSION_TOKEN), port=session_port, admin_port=0, notice_seconds=0),
        mongo,
        redis,
        SEALING,
        NO_KAFKA,
        PresenceSettings(),
    )
    settings = ConsoleSettings(
        admin_token=SecretStr(ADMIN_TOKEN),
        session_token=SecretStr(SESSION_TOKEN),
        session_url=f"http://127.0.0.1:{session_port}",
        port=console_port,
        notice_seconds=0,
        admin_port=0,
        pictures_kept_days=0,  # the tests' pictures are of a day long past
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_mongo(mongo, "test"))
        await make_indexes(database)
        await stack.enter_async_context(session(Lifecycle()))
        await stack.enter_async_context(open_console(settings, mongo, redis, SEALING, NO_KAFKA)(Lifecycle()))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        )
        url = f"http://127.0.0.1:{console_port}"

        async def made(method: str, path: str, **body: Any) -> Any:
            async with http.request(method, f"{url}/api/v1{path}", **body) as answer:
                assert answer.ok, await answer.text()
                return await answer.json()

        vendor = await made("POST", "/vendors", json={"name": "Gate Works"})
        site_ids = [(await made("POST", "/sites", json={"name": name}))["siteId"] for name in ("Tower", "Bridge")]
        sns = [f"SN{number}" for number in range(6)]
        devices = [
            Device(sn=sn, vendor_id=vendor["vendorId"], registered_at_ms=0, site_history=(SiteSpan(0, site_id, None),))
            for sn, site_id in zip(sns, site_ids * 3, strict=True)
        ]
        await MongoDeviceStore(database).register(devices)
        person_ids = [str(number) for number in range(100, 140)]
        for number, person_id in enumerate(person_ids):
            wish = {"name": "张三", "siteIds": [site_ids[number % 2]], "phone": "13812341234"}
            await made("PUT", f"/persons/{person_id}", json=wish)
        face = io.BytesIO()
        Image.new("RGB", (200, 200)).save(face, "PNG")
        for person_id in person_ids[:4]:
            await made("PUT", f"/persons/{person_id}/face", data=face.getvalue())
        form = aiohttp.FormData({"version": "v1"})
        form.add_field("file", b"package", filename="package.bin")
        package = await made("POST", "/firmware", data=form)
        wish = {"firmwareId": package["firmwareId"], "siteIds": site_ids[:1]}
        campaign_ids = [(await made("POST", "/campaigns", json=wish))["campaignId"] for _ in range(20)]
        task_wish = {"apicode": "T_POST_DEVICE_PERSON", "siteId": site_ids[0]}
        task_ids = [task["taskid"] for task in (await made("POST", "/tasks", json=task_wish))["items"]]
        token_ids = [
            (await made("POST", "/tokens", json={"role": "viewer", "siteIds": site_ids}))["tokenId"] for _ in range(3)
        ]
        events = [with_picture(make_event(sn=sn, site_id=site_ids[0])) for sn in sns]
        await MongoAttendanceStore(database).add_many(events)
        pictures = MongoPictureStore(database)
        for event in events:
            its: dict[str, Any] = {"event_id": event.event_id, "sn": event.sn, "received_at_ms": RECEIVED_MS}
            await pictures.add_many([StoredPicture(**its, content_type="image/jpeg", data=JPEG)])
            await pictures.add_details([StoredDetails(**its, extra='{"note":1}')])
        yield Console(
            url=url,
            known={
                "path.sn": sns,
                "query.sn": sns,
                "body.sn": sns,
                "body.sns[*]": sns,
                "query.siteId": site_ids,
                "body.siteId": site_ids,
                "body.siteIds[*]": site_ids,
                "path.personId": person_ids,
                "query.personId": person_ids,
                "body.personIds[*]": person_ids,
                "path.taskid": task_ids,
                "path.campaignId": campaign_ids,
                "body.firmwareId": [package["firmwareId"]],
                "path.tokenId": token_ids,
                "path.eventId": [one.event_id for one in events],
                "path.vendorId": [vendor["vendorId"]],
                "path.accessId": [vendor["accessId"]],
                "body.token": [ADMIN_TOKEN],
            },
        )


@pytest.fixture
async def console(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[Console]:
    async with running_console(mongo_settings, redis_settings) as console:
        yield console


def configuration(known: dict[str, Sequence[str]]) -> str:
    """For schemathesis, as TOML: what it sends always, no methods that the document lacks (a terminal's sn may hold a
    slash, so PATCH of its roster is PATCH of another terminal), and which values are known."""
    lines = [f'hooks = "{HOOKS}"', "[headers]", f'Authorization = "Bearer {ADMIN_TOKEN}"']
    lines += ['X-Requested-With = "console"', "[phases.coverage]", "unexpected-methods = []"]
    lines += ["[cache]", "enabled = false"]  # it would lie in the working directory, and be of an earlier run
    for number, (where, values) in enumerate(known.items()):
        lines += [f"[dictionaries.known{number}]", f"values = {json.dumps(values)}"]
        lines += [f'[parameters."{where}"]', f'dictionary = "known{number}"', f"probability = {KNOWN_SHARE}"]
    return "\n".join(lines)


async def fuzzed(
    url: str, openapi: str, known: dict[str, Sequence[str]], directory: Path
) -> tuple[int, str, dict[str, Counter[int]]]:
    """Exit code and output of schemathesis, and how often which status came, by operation."""
    settings, report, document = (directory / name for name in ("schemathesis.toml", "report.ndjson", "console.json"))
    document.write_text(openapi, encoding="utf-8")
    settings.write_text(configuration(known), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        f"--config-file={settings}",
        "run",
        str(document),
        f"--url={url}",
        f"--exclude-path={ENDLESS}",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={EXAMPLES}",
        "--generation-deterministic",
        "--no-shrink",
        "--continue-on-failure",
        "--request-timeout=30",
        "--no-color",
        "--report=ndjson",
        f"--report-ndjson-path={report}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(), answers_in(report)


def answers_in(report: Path) -> dict[str, Counter[int]]:
    """How often which status came, by operation."""
    answers: dict[str, Counter[int]] = defaultdict(Counter)
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            recorder = event.get("ScenarioFinished", {}).get("recorder") or {}
            for exchange in recorder.get("interactions", {}).values():
                if exchange["response"] is not None:
                    answers[recorder["label"]][exchange["response"]["status_code"]] += 1
    return answers


@pytest.mark.timeout(SECONDS + 60)
async def test_no_request_finds_a_fault_of_ours_or_an_answer_that_the_document_does_not_name(
    console: Console, tmp_path: Path
) -> None:
    openapi = await console.document()
    exit_code, output, answers = await fuzzed(console.url, openapi, console.known, tmp_path)
    assert exit_code == 0, output
    operations = {
        f"{method.upper()} {path}"
        for path, methods in json.loads(openapi)["paths"].items()
        for method in methods
        if path != ENDLESS
    }
    assert answers.keys() == operations
    # Otherwise it would have gone no further than the check of what was sent.
    assert {name for name, statuses in answers.items() if min(statuses) >= 300} == set()
    assert sum(statuses.total() for statuses in answers.values()) > len(operations) * EXAMPLES


async def test_a_fault_and_an_answer_that_the_document_does_not_name_would_be_found(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500 if request.path == "/api/v1/fault" else 418)

    application = web.Application()
    application.router.add_route("GET", "/api/v1/{name}", answer)
    described = {"get": {"responses": {"200": {"description": "Success"}, "500": {"description": "Our fault"}}}}
    openapi = {
        "openapi": "3.1.0",
        "info": {"title": "Faulty", "version": "1"},
        "paths": {"/api/v1/fault": described, "/api/v1/teapot": described},
    }
    async with TestServer(application) as server:
        exit_code, output, answers = await fuzzed(str(server.make_url("")), json.dumps(openapi), {}, tmp_path)
    assert exit_code == 1
    assert "Server error: 1" in output
    assert "Undocumented status code: 1" in output
    assert {name: set(statuses) for name, statuses in answers.items()} == {
        "GET /api/v1/fault": {500},
        "GET /api/v1/teapot": {418},
    }
