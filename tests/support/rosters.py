"""The planner and task-api's endpoint over real MongoDB and Redis, and terminals that carry out what they are given."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from console_service.metrics import ConsoleMetrics
from console_service.planner import Planner
from console_service.task_making import TaskMaker
from shared.domain.devices import SiteSpan
from shared.domain.links import Links
from shared.domain.persons import NewPerson
from shared.domain.rosters import Roster
from shared.domain.sealing import Sealer
from shared.domain.tasks import Task, made_task
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import SystemClock
from shared.runtime.settings import MongoSettings, RedisSettings
from shared.stores.control_reader import ControlReader
from shared.stores.ended_view import EndedView
from shared.stores.interfaces import NewSession, NewTask
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.rosters import MongoRosterMarks, MongoRosterStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.lock import RedisLock
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.sessions import RedisSessionStore
from task_api.device_endpoint import DeviceEndpoint
from task_api.interfaces.interface import Parts
from task_api.metrics import TaskApiMetrics
from task_api.sessions import Sessions
from task_api.settings import TaskApiSettings
from tests.support.session_values import make_device, make_session
from tests.support.task_api import SECRET, make_body, read_answer

PAGE_SIZE = 100
Content = tuple[str, bool]
"""Name, and whether there is a face."""


class RosterPlatform:
    """What console and task-api have in common here: their stores."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._redis = redis
        self.clock = SystemClock()
        self.tasks = MongoTaskStore(database)
        self.pending = RedisPendingTasks(redis)
        self.persons = MongoPersonStore(database)
        self.devices = MongoDeviceStore(database)
        self.rosters = MongoRosterStore(database)
        self.marks = MongoRosterMarks(database, self.devices, self.clock)
        self.console_metrics = ConsoleMetrics()
        self._task_metrics = TaskApiMetrics()
        self._links = Links({"k1": b"1" * 32}, "https://devices.example")
        self.maker = TaskMaker(self.tasks, self.pending, self.rosters, self._links, self.clock, self.console_metrics)
        self._sealer = Sealer({"k1": b"0" * 32})
        self._session_store = RedisSessionStore(redis)
        view = EndedView(60_000)
        self.control = ControlReader(RedisControlStream(redis), RedisEndedStore(redis), view, self.clock)
        parts = Parts(
            tasks=self.tasks,
            pending=self.pending,
            persons=self.persons,
            devices=self.devices,
            rosters=self.rosters,
            roster_marks=self.marks,
            links=self._links,
        )
        sessions = Sessions(self._session_store, view, self._sealer, self.clock)
        self.endpoint = DeviceEndpoint(TaskApiSettings(), sessions, parts, self.clock, self._task_metrics)

    def close(self) -> None:
        """Ends the meters."""
        self.console_metrics.close()
        self._task_metrics.close()

    def new_planner(self) -> Planner:
        """One console's; changes need not settle."""
        return Planner(
            self.rosters,
            self.marks,
            self.tasks,
            self.persons,
            self.devices,
            self.maker,
            self.clock,
            self.console_metrics,
            settle_seconds=0,
        )

    def new_lock(self) -> RedisLock:
        """One holder's of the planner's lock."""
        return RedisLock(self._redis, "planner", 15_000)

    async def terminal(self, sn: str, site_id: str) -> "Terminal":
        """A device with a session, at a site."""
        token = hashlib.sha256(sn.encode()).hexdigest()[:32]
        session = make_session(token, sn, sealed_secret=self._sealer.seal(SECRET, "a1"))
        await self._session_store.open_many([NewSession(session=session, sign=f"sign of {sn}", replay_window_ms=1)])
        await self.devices.register([make_device(sn, site_history=(SiteSpan(0, site_id, None),))])
        await self.marks.mark_devices([sn])
        return Terminal(self, sn, token)

    async def put(self, names: Mapping[str, str], *site_ids: str) -> None:
        """Persons by id, marked as the console marks them."""
        new = [NewPerson(person_id=one, name=name, site_ids=site_ids) for one, name in names.items()]
        before = await self.persons.put_many(new, self.clock.now_ms())
        touched = {site_id for person in before.values() if person is not None for site_id in person.site_ids}
        await self.marks.mark_sites(touched.union(site_ids))

    async def set_face(self, person_id: str, sha256: str | None) -> None:
        """A face, or none."""
        person = await self.persons.set_face(person_id, sha256, 1000, self.clock.now_ms())
        assert person is not None
        await self.marks.mark_sites(person.site_ids)

    async def make(self, sn: str, apicode: Apicode) -> Task:
        """An operator's task that names nobody."""
        task = made_task(self.maker.next_id(), sn, apicode, at_ms=self.clock.now_ms(), actor="operator")
        await self.maker.enter(task, {})
        await self.maker.store([NewTask(task=task)])
        return task

    async def roster(self, sn: str) -> Roster:
        """As stored."""
        return (await self.rosters.find([sn]))[sn].roster

    async def site_content(self, site_id: str) -> dict[str, Content]:
        """What its terminals should hold."""
        persons = await self.persons.find(list(await self.persons.at_site(site_id)))
        return {person_id: (person.name, person.face is not None) for person_id, person in persons.items()}


class Terminal:
    """A terminal with its memory."""

    def __init__(self, platform: RosterPlatform, sn: str, token: str) -> None:
        self._platform = platform
        self.sn = sn
        self._token = token
        self.held: dict[str, Content] = {}
        self.calls = 0

    async def ask(self, apicode: str, param: object = None, task_id: str | None = None) -> Any:
        """The answer's response, its signature verified, of a request that succeeds."""
        body = make_body(apicode, param, sn=self.sn, token=self._token, task_id=task_id)
        self.calls += 1
        is_signed = apicode not in (Apicode.T_DEL_DEVICE_PERSON, Apicode.T_CLEAR_DEVICE_PERSON)
        answer = read_answer(
            await self._platform.endpoint.answer(body), task_id=task_id or "", response_signed=is_signed
        )
        assert answer["success"], answer
        return answer.get("response")

    async def tasks(self) -> list[Mapping[str, str]]:
        """What its heartbeat lists and T_GET_TASKS gives."""
        (listed,) = await self._platform.pending.oldest([self.sn], 50)
        if not listed:
            return []
        return list((await self.ask("T_GET_TASKS", {"taskids": list(listed)}))["tasks"])

    async def work(self, failed: Collection[str] = ()) -> int:
        """Carries out and reports all that is open; returns how many tasks that were."""
        tasks = await self.tasks()
        for task in tasks:
            await self.carry_out(task["apicode"], task["taskid"], failed)
            failures = [{"personId": one, "errCode": "7"} for one in failed]
            await self.report(task["taskid"], failedPersons=failures)
        return len(tasks)

    async def report(self, task_id: str, status: int = 1, **members: object) -> None:
        """How a task ended."""
        await self.ask("T_UPDATE_TASKS_STATUS", {"task": [{"taskid": task_id, "status": status, **members}]})

    async def carry_out(self, apicode: str, task_id: str, failed: Collection[str] = ()) -> None:
        """One task, page by page."""
        if apicode == Apicode.T_CLEAR_DEVICE_PERSON:
            await self.ask(apicode, task_id=task_id)
            self.held.clear()
        elif apicode == Apicode.T_DEL_DEVICE_PERSON:
            for person_id in (await self.ask(apicode, task_id=task_id))["personIds"]:
                self.held.pop(person_id, None)
        elif apicode == Apicode.T_POST_DEVICE_PERSON:
            await self.send_roster(task_id)
        else:
            number, total = 1, 1
            while number <= total:
                page = await self.ask(apicode, {"currentPage": number, "size": PAGE_SIZE}, task_id)
                for one in page["data"]:
                    if one["personId"] not in failed:
                        self.held[one["personId"]] = (one["name"], bool(one["imgUrls"]))
                number, total = number + 1, page["totalPage"]

    async def send_roster(self, task_id: str) -> None:
        """Its report, the last page first."""
        rows = [
            {"personId": person_id, "name": name, "hasImg": int(has_face)}
            for person_id, (name, has_face) in sorted(self.held.items())
        ]
        total = max(1, -(-len(rows) // PAGE_SIZE))
        for number in range(total, 0, -1):
            data = rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
            param = {"data": data, "currentPage": number, "totalPage": total}
            await self.ask("T_POST_DEVICE_PERSON", param, task_id)


@asynccontextmanager
async def open_roster_platform(mongo: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[RosterPlatform]:
    """The platform over empty parts."""
    async with open_mongo(mongo, "test") as database, open_redis(redis_settings) as redis:
        await make_indexes(database)
        platform = RosterPlatform(database, redis)
        await platform.control.read_once()
        reading = asyncio.create_task(platform.control.run())
        try:
            yield platform
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            platform.close()
