"""What terminals ask of task-api over HTTPS, measured: tasks, pages of persons, reports of whom they hold."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from shared.domain.tasks import DEVICE, HistoryEntry, TaskState, task_id
from shared.protocol.apicodes import Apicode
from shared.runtime.settings import MongoSettings
from shared.stores.interfaces import NewTask
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.tasks import MongoTaskStore
from stack.certificates import load_certificates
from terminal_simulator.face import picture
from tests.bench.benchmark_stack import BenchmarkStack
from tests.bench.echo_server import EchoServer, HttpsAnswer
from tests.bench.generator_process import generate
from tests.bench.prepared_frames import DeviceLine
from tests.bench.prepared_requests import RequestLine
from tests.bench.results import Row
from tests.support.builders import now_ms
from tests.support.operators import Operators, open_operators
from tests.support.task_values import make_task

KIND = "task-api"
PAGE = 10
PAGES = 10
"""Of the persons whom a device is sent, and of its report."""
STORED_AT_ONCE = 1_000


class TaskBench:
    """Runs scenarios against one platform; the devices have their tokens already."""

    def __init__(self, platform: BenchmarkStack, devices: Sequence[DeviceLine]) -> None:
        self._platform = platform
        self._host = platform.stack.https.removeprefix("https://")
        self._lines = [RequestLine(self._host, one.sn, one.token, one.vendor.access_secret) for one in devices]
        self._site = ""
        self._persons: list[str] = []
        self._sent: dict[str, str] = {}
        """By device, its task to take the persons in."""

    async def get_new_tasks(self, each: int) -> Row:
        """Each call is about a task that the device was not given yet, so that it becomes delivered by it."""
        async with self._operators() as operators:
            waiting = [await self._make_tasks(operators, Apicode.T_POST_DEVICE_PERSON) for _ in range(each)]
        requests = [
            [line.request("T_GET_TASKS", {"taskids": [tasks[line.sn]]}) for tasks in waiting] for line in self._lines
        ]
        return await self._beside_echo("T_GET_TASKS, a new task", requests)

    async def get_tasks(self, each: int, *, stored: int | None = None) -> Row:
        """Of a task that the device was given before; growth: while so many ended tasks of other devices are stored."""
        name = "T_GET_TASKS, a task given before"
        if stored is not None:
            await self._store_ended(stored)
            name = f"T_GET_TASKS among {stored} stored tasks"
        await self._prepare()
        return await self._beside_echo(
            name,
            [[line.request("T_GET_TASKS", {"taskids": [self._sent[line.sn]]})] * each for line in self._lines],
        )

    async def send_person(self, each: int) -> Row:
        """Page after page of persons with faces, from the first again after the last."""
        await self._prepare()
        return await self._beside_echo(
            f"T_SEND_PERSON, page of {PAGE}",
            [
                [
                    line.request("T_SEND_PERSON", {"currentPage": page, "size": PAGE}, self._sent[line.sn])
                    for page in itertools.islice(itertools.cycle(range(1, PAGES + 1)), each)
                ]
                for line in self._lines
            ],
        )

    async def post_device_person(self) -> Row:
        """A whole report, so that one call of each device has it compared."""
        await self._prepare()
        async with self._operators() as operators:
            tasks = await self._make_tasks(operators, Apicode.T_POST_DEVICE_PERSON)
        pages = [
            {
                "data": [{"personId": one, "name": "张三", "hasImg": 1} for one in self._persons[start : start + PAGE]],
                "currentPage": start // PAGE + 1,
                "totalPage": PAGES,
            }
            for start in range(0, PAGE * PAGES, PAGE)
        ]
        return await self._beside_echo(
            f"T_POST_DEVICE_PERSON, {PAGES} pages of {PAGE}",
            [[line.request("T_POST_DEVICE_PERSON", page, tasks[line.sn]) for page in pages] for line in self._lines],
        )

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _prepare(self) -> None:
        """Persons with faces, and a task of each device to take them in; once."""
        if self._sent:
            return
        async with self._operators() as operators:
            self._persons = [f"P{now_ms()}-{number}" for number in range(PAGE * PAGES)]
            for number, person in enumerate(self._persons):
                await operators.put_person(person, name="张三", siteIds=[])
                await operators.put_face(person, picture(number))
            self._sent = await self._make_tasks(operators, Apicode.T_SEND_PERSON, personIds=self._persons)

    async def _make_tasks(self, operators: Operators, apicode: Apicode, **wish: object) -> dict[str, str]:
        """One for each device, by sn, made as an operator makes them: for the site where the devices stand."""
        if not self._site:
            self._site = await operators.create_site("Benchmark")
            for line in self._lines:
                status, answer = await operators.change_device(line.sn, siteId=self._site)
                assert status == 200, answer
        made = await operators.create_tasks(apicode=apicode, siteId=self._site, **wish)  # in order of sn
        return dict(zip(sorted(line.sn for line in self._lines), made, strict=True))

    @asynccontextmanager
    async def _operators(self) -> AsyncIterator[Operators]:
        async with open_operators(self._platform.stack.console, self._platform.stack.admin_token) as operators:
            yield operators

    async def _store_ended(self, count: int) -> None:
        """As the platform stores them, with their events relayed."""
        described = self._platform.stack.description
        settings = MongoSettings(url=described["mongo"], database=described["mongoDatabase"])
        ended = HistoryEntry(at_ms=now_ms(), state=TaskState.DONE, actor=DEVICE)
        async with open_mongo(settings, "bench") as database:
            store = MongoTaskStore(database)
            for start in range(0, count, STORED_AT_ONCE):
                ids = [task_id(ended.at_ms, number) for number in range(start, min(start + STORED_AT_ONCE, count))]
                made = [make_task(one, f"{one}-ELSEWHERE") for one in ids]
                over = [msgspec.structs.replace(one, history=(*one.history, ended)) for one in made]
                await store.add_many([NewTask(task=task) for task in over])
                await store.mark_relayed(dict.fromkeys(ids, 2))

    async def _beside_echo(self, name: str, requests: Sequence[Sequence[bytes]]) -> Row:
        """Closed loop, one request after another on each connection, as HTTP/1.1 goes."""
        arguments = ["-ca", str(self._platform.stack.ca)]
        with self._platform.on_the_first_core(KIND):
            usage = self._platform.usage()
            load = await generate(requests, [self._host], arguments)
            cpu = usage.microseconds(max(load.operations, 1))
            load.check()
        echo = EchoServer(HttpsAnswer(load.first_answers[0], load_certificates(self._platform.stack.ca.parent)))
        try:
            usage = echo.usage()
            echoed = await generate(requests, echo.to, arguments)
            row = Row(name, load, cpu, self._platform.resident_mb(KIND), process=KIND)
            row.echo_microseconds = usage.microseconds(echoed.operations)["echo"]
            row.echo_per_second = echoed.per_second
        finally:
            echo.close()
        return row
