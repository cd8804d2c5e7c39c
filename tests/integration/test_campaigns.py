"""Firmware campaigns over real MongoDB and Redis: by the console's HTTP interface, with terminals that report."""

import asyncio
import base64
import hashlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from pydantic import SecretStr

from console_service.settings import ConsoleSettings
from console_service.wiring import open_console
from shared.domain.devices import Device, SiteSpan
from shared.domain.sites import Site
from shared.domain.tasks import DEVICE, HistoryEntry, Task, TaskState
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import TaskQuery
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.sites import MongoSiteStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.pending_tasks import RedisPendingTasks
from stack.ports import free_port
from tests.support.waiting import eventually

ADMIN_TOKEN = "admin-" * 6
SEALING_KEYS = f"k1:{base64.b64encode(bytes(range(32))).decode()}"
SNS = [f"SN{number:02d}" for number in range(10)]
PACKAGE = os.urandom(3_000_000)


class Platform(msgspec.Struct):
    """Real stores with ten devices, five at each of two sites, and what a console needs to run over them."""

    mongo: MongoSettings
    redis: RedisSettings
    database: Database
    tasks: MongoTaskStore
    pending: RedisPendingTasks
    http: aiohttp.ClientSession
    port: int = 0

    @asynccontextmanager
    async def console(self) -> AsyncIterator[None]:
        """A console that runs."""
        self.port = free_port()
        settings = ConsoleSettings(
            admin_token=SecretStr(ADMIN_TOKEN),
            session_token=SecretStr("inner-" * 6),
            port=self.port,
            admin_port=0,
            notice_seconds=0,
            campaigns_seconds=0.05,
        )
        opened = open_console(
            settings,
            self.mongo,
            self.redis,
            SealingSettings(keys=SecretStr(SEALING_KEYS)),
            KafkaSettings(bootstrap="127.0.0.1:1"),  # only those who look on ask for it
        )
        async with opened(Lifecycle()):
            yield

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """JSON of the answer, which is a success."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        url = f"http://127.0.0.1:{self.port}/api/v1{path}"
        async with self.http.request(method, url, headers=headers, **options) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def upload(self, version: str, data: bytes = PACKAGE) -> str:
        """A new package's id."""
        form = aiohttp.FormData()
        form.add_field("version", version)
        form.add_field("file", io.BytesIO(data), filename="package.bin")
        made = await self.ask("POST", "/firmware", data=form)
        assert (made["size"], made["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        return str(made["firmwareId"])

    async def create(self, firmware_id: str, **wish: object) -> str:
        """A new campaign's id."""
        body = {"firmwareId": firmware_id, "siteIds": ["s1", "s2"], **wish}
        return str((await self.ask("POST", "/campaigns", json=body))["campaignId"])

    async def campaign(self, campaign_id: str) -> Any:
        """As it is shown."""
        return await self.ask("GET", f"/campaigns/{campaign_id}")

    async def order(self, campaign_id: str) -> list[str]:
        """The campaign's devices."""
        return [one["sn"] for one in (await self.ask("GET", f"/campaigns/{campaign_id}/devices"))["items"]]

    async def tasks_of(self, sn: str) -> list[Task]:
        """All of a device, oldest first."""
        return list(reversed(await self.tasks.page(TaskQuery(sns=(sn,)))))

    async def report(self, *sns: str, state: TaskState = TaskState.DONE) -> None:
        """Each device ends its open task, once it has one, as its interface does."""
        for sn in sns:
            await eventually(lambda sn=sn: self._has_open(sn))
            (task,) = await self.tasks.open_of(sn)
            for one in (TaskState.DELIVERED, state):
                await self.tasks.change([task.task_id], HistoryEntry(at_ms=1, state=one, actor=DEVICE), sn=sn)
            await self.pending.remove_many({sn: [task.task_id]})

    async def _has_open(self, sn: str) -> bool:
        return bool(await self.tasks.open_of(sn))

    async def are_listed(self, campaign_id: str, sns: list[str]) -> bool:
        """Whether the tasks of just these devices are made and listed."""
        found = await self.ask("GET", f"/campaigns/{campaign_id}/devices?state=open")
        return [one["sn"] for one in found["items"]] == sns

    async def until(self, campaign_id: str, **expected: object) -> Any:
        """The campaign, once it shows these members."""
        shown: Any = None

        async def is_so() -> bool:
            nonlocal shown
            shown = await self.campaign(campaign_id)
            return all(shown[name] == value for name, value in expected.items())

        try:
            await eventually(is_so)
        except TimeoutError:
            pytest.fail(f"still {shown}")
        return shown


@pytest.fixture
async def platform(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_mongo(mongo_settings, "test"))
        redis = await stack.enter_async_context(open_redis(redis_settings))
        await make_indexes(database)
        for number, site_id in enumerate(("s1", "s2")):
            await MongoSiteStore(database).add(Site(site_id=site_id, name="West Lake Tower", created_at_ms=0))
            history = (SiteSpan(0, site_id, None),)
            await MongoDeviceStore(database).register(
                [
                    Device(sn=sn, vendor_id="v1", registered_at_ms=0, site_history=history)
                    for sn in SNS[5 * number : 5 * number + 5]
                ]
            )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Platform(
            mongo_settings, redis_settings, database, MongoTaskStore(database), RedisPendingTasks(redis), http
        )


def counts(**given: int) -> dict[str, int]:
    return {"waiting": 0, "open": 0, "done": 0, "failed": 0, "skipped": 0, **given}


async def test_three_stages_lead_to_the_end_one_task_a_device(platform: Platform) -> None:
    async with platform.console():
        campaign_id = await platform.create(await platform.upload("v2"), stages=[20, 50, 100])
        order = await platform.order(campaign_id)
        await platform.until(campaign_id, stage=1, counts=counts(open=2, waiting=8))
        await platform.report(*order[:2])
        await platform.until(campaign_id, stage=2, counts=counts(done=2, open=3, waiting=5))
        await platform.report(*order[2:5])
        await platform.until(campaign_id, stage=3, counts=counts(done=5, open=5))
        await platform.report(*order[5:])
        await platform.until(campaign_id, state="completed", counts=counts(done=10))
    for sn in SNS:
        (task,) = await platform.tasks_of(sn)
        assert task.firmware is not None
        assert (task.firmware.version, task.firmware.size) == ("v2", len(PACKAGE))
        assert task.history[0].actor == f"campaign:{campaign_id}"


async def test_errors_pause_it_resuming_tries_again_and_cancelling_takes_back(platform: Platform) -> None:
    async with platform.console():
        campaign_id = await platform.create(await platform.upload("v2"), stages=[50, 100])
        order = await platform.order(campaign_id)
        await platform.report(order[0], state=TaskState.FAILED)
        paused = await platform.until(campaign_id, state="paused", counts=counts(failed=1, open=4, waiting=5))
        assert paused["reason"] == "stage 1 reached the error threshold"

        await platform.ask("POST", f"/campaigns/{campaign_id}/resume")
        await platform.until(campaign_id, state="running", counts=counts(open=5, waiting=5))
        await platform.report(order[0])
        await platform.until(campaign_id, counts=counts(done=1, open=4, waiting=5))
        assert [task.state for task in await platform.tasks_of(order[0])] == [TaskState.FAILED, TaskState.DONE]

        await platform.ask("POST", f"/campaigns/{campaign_id}/cancel")
        await platform.until(campaign_id, state="cancelled", counts=counts(done=1, skipped=9))
        assert [task.state for task in await platform.tasks_of(order[1])] == [TaskState.CANCELLED]
        assert list(await platform.pending.oldest([order[1]], 50)) == [[]]


async def test_rolled_back_devices_get_the_package_that_they_ran_before(platform: Platform) -> None:
    async with platform.console():
        first = await platform.create(await platform.upload("v1"), siteIds=None, sns=SNS[:9])
        await platform.report(*SNS[:9])
        await platform.until(first, state="completed")
        second = await platform.create(await platform.upload("v2", PACKAGE[::-1]))
        await platform.report(*SNS[:2], SNS[9])
        await platform.until(second, counts=counts(done=3, open=7))
        await platform.ask("POST", f"/campaigns/{second}/rollback")
        await platform.report(*SNS[:2])
        shown = await platform.until(second, state="rolled-back", counts=counts(done=3, skipped=7))
        assert shown["rollback"] == {**counts(done=2, skipped=7), "noEarlierPackage": 1}
        query = "rollback=no-earlier-package"
        listed = await platform.ask("GET", f"/campaigns/{second}/devices?{query}")
        assert [one["sn"] for one in listed["items"]] == [SNS[9]]
    versions = [task.firmware.version for task in await platform.tasks_of(SNS[0]) if task.firmware is not None]
    assert versions == ["v1", "v2", "v1"]


@pytest.mark.parametrize(
    "point", ["before-drawn", "after-drawn", "before-made", "after-made", "before-listed", "after-listed"]
)
async def test_a_console_that_was_killed_goes_on_without_serving_a_device_twice(platform: Platform, point: str) -> None:
    async with platform.console():
        firmware_id = await platform.upload("v2", b"package")
        campaign_id = await platform.create(firmware_id, stages=[50, 100])
        await platform.until(campaign_id, counts=counts(open=5, waiting=5))
        await platform.ask("POST", f"/campaigns/{campaign_id}/pause")
        order = await platform.order(campaign_id)
        await platform.report(*order[:5])
        await platform.until(campaign_id, counts=counts(done=5, waiting=5))
    await resume_and_be_killed(platform, campaign_id, point)
    async with platform.console():
        await eventually(lambda: platform.are_listed(campaign_id, order[5:]))
        for sn in order[5:]:
            (task,) = await platform.tasks_of(sn)
            assert list(await platform.pending.oldest([sn], 50)) == [[task.task_id]]
        await platform.report(*order[5:])
        await platform.until(campaign_id, state="completed")
    assert [len(await platform.tasks_of(sn)) for sn in SNS] == [1] * 10


async def resume_and_be_killed(platform: Platform, campaign_id: str, point: str) -> None:
    """Another console process opens the second stage and dies of it."""
    platform.port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.killed_campaigns",
        point,
        env={
            **os.environ,
            "CONSOLE_ADMIN_TOKEN": ADMIN_TOKEN,
            "CONSOLE_SESSION_TOKEN": "inner-" * 6,
            "CONSOLE_PORT": str(platform.port),
            "CONSOLE_ADMIN_PORT": "0",
            "CONSOLE_CAMPAIGNS_SECONDS": "0.05",
            "SEALING_KEYS": SEALING_KEYS,
            "KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "REDIS_URL": platform.redis.url.get_secret_value(),
            "MONGO_URL": platform.mongo.url.get_secret_value(),
            "MONGO_DATABASE": platform.mongo.database,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    await until_connected(lambda: platform.ask("POST", f"/campaigns/{campaign_id}/resume"))
    async with asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == -signal.SIGKILL, log.decode()
    async with open_redis(platform.redis) as redis:
        await redis.delete("lock:campaigns")  # it expires by itself, but that would be waited for


async def until_connected(ask: Callable[[], Awaitable[object]]) -> None:
    async def is_answered() -> bool:
        try:
            await ask()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.1)
            return False
        except aiohttp.ClientConnectionError:
            return True  # it died of the question
        return True

    await eventually(is_answered)


async def test_of_an_upload_whose_connection_breaks_nothing_stays(platform: Platform) -> None:
    async with platform.console():
        _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
        head = (
            "POST /api/v1/firmware HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {ADMIN_TOKEN}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 3000000\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="version"\r\n\r\nv2\r\n'
            '--b\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\n'
        )
        writer.write(head.encode() + PACKAGE[:2_000_000])
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.2)
        assert (await platform.ask("GET", "/firmware"))["items"] == []
        for collection in ("firmware.files", "firmware.chunks"):
            assert await platform.database.get_collection(collection).find_one({}) is None
        assert await platform.upload("v2")
