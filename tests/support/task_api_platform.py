"""task-api over real HTTPS with real Redis, MongoDB and Kafka, and what a terminal sees of it."""

import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from shared.domain.events import TASK_TOPIC
from shared.domain.persons import NewPerson
from shared.domain.sealing import Sealer
from shared.domain.tasks import Task, TaskState
from shared.kafka.topics import ensure_topics
from shared.protocol.apicodes import Apicode
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import NewSession, NewTask
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.faces import MongoFaceStore
from shared.stores.mongo.firmware import MongoFirmwareStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.sessions import RedisSessionStore
from stack.certificates import Certificates, load_certificates
from stack.ports import free_port
from task_api.settings import TaskApiSettings
from task_api.wiring import open_task_api
from tests.support.session_values import NOW_MS, make_session
from tests.support.task_api import SECRET, SN, TOKEN, error_code, make_body, read_answer
from tests.support.task_values import make_task
from tests.support.topics import read_topic

SEALING_KEYS = "k1:" + "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
GET, UPDATE = "T_GET_TASKS", "T_UPDATE_TASKS_STATUS"


class Platform:
    """The parts around task-api, as the other services use them, and a way to start it."""

    def __init__(
        self,
        redis: Redis,
        database: Database,
        redis_settings: RedisSettings,
        mongo_settings: MongoSettings,
        kafka: KafkaSettings,
        certificates: Certificates,
    ) -> None:
        self.redis = redis
        self.redis_settings = redis_settings
        self.mongo_settings = mongo_settings
        self.kafka = kafka
        self.tasks = MongoTaskStore(database)
        self.persons = MongoPersonStore(database)
        self.faces = MongoFaceStore(database)
        self.firmware = MongoFirmwareStore(database)
        self.pending = RedisPendingTasks(redis)
        self.sessions = RedisSessionStore(redis)
        self.ended = RedisEndedStore(redis)
        self.certificates = certificates
        self._tls = ssl.create_default_context(cafile=str(certificates.ca))

    def environment(self, **settings: object) -> dict[str, object]:
        """Settings that make the background work quick to watch."""
        port = free_port()
        return {
            "port": port,
            "public_base_url": f"https://127.0.0.1:{port}",
            "admin_port": 0,
            "notice_seconds": 0,
            "tls_cert_file": str(self.certificates.certificate),
            "tls_key_file": str(self.certificates.key),
            "index_check_seconds": 0.1,
            "expiry_seconds": 0.1,
            "outbox_seconds": 0.05,
            "kafka_deadline_seconds": 20,  # a batch that is given up may land all the same, and be counted twice
            **settings,
        }

    @asynccontextmanager
    async def running(self, **settings: object) -> AsyncIterator["Client"]:
        """A service process's worth of it, in this process."""
        values = self.environment(**settings)
        opened = open_task_api(
            TaskApiSettings.model_validate(values),
            self.mongo_settings,
            self.redis_settings,
            self.kafka,
            SealingSettings(keys=SEALING_KEYS),
        )
        connector = aiohttp.TCPConnector(ssl=self._tls)
        base = f"https://127.0.0.1:{values['port']}"
        async with opened(Lifecycle()), aiohttp.ClientSession(base, connector=connector) as http:
            yield Client(http, port=int(str(values["port"])))

    async def open_session(self, sn: str = SN, token: str = TOKEN, access_id: str = "a1") -> None:
        """What session does at a C_AUTH."""
        sealer = Sealer(SealingSettings(keys=SEALING_KEYS).parsed())
        session = make_session(token, sn, access_id=access_id, sealed_secret=sealer.seal(SECRET, access_id))
        await self.sessions.open_many([NewSession(session=session, sign=f"sign of {token}", replay_window_ms=1)])

    async def add(self, *tasks: Task) -> None:
        """What console does: MongoDB first, then the index."""
        await self.tasks.add_many([NewTask(task=task) for task in tasks])
        for task in tasks:
            await self.pending.add_many({task.sn: [task.task_id]})

    async def add_naming(self, task_id: str, apicode: Apicode, *person_ids: str) -> None:
        """A task that names persons."""
        task = make_task(task_id, SN, apicode=apicode, named_persons=len(person_ids))
        await self.tasks.add_many([NewTask(task=task, person_ids=person_ids)])

    async def put_person(self, person_id: str, name: str = "张三", face: bytes | None = None) -> None:
        """What console does when an operator enters a person."""
        new = NewPerson(person_id=person_id, name=name, site_ids=(), idcard_no=None, phone=None, hashes=())
        await self.persons.put_many([new], NOW_MS)
        if face is not None:
            sha256 = hashlib.sha256(face).hexdigest()
            await self.faces.put(person_id, face, sha256)
            await self.persons.set_face(person_id, sha256, len(face), NOW_MS)

    async def state(self, task_id: str) -> TaskState:
        """As stored."""
        return (await self.tasks.find([task_id]))[task_id].state

    async def listed(self, sn: str = SN) -> list[str]:
        """What a heartbeat would list."""
        return list((await self.pending.oldest([sn], 50))[0])

    async def events_of(self, sn: str) -> list[tuple[str, str]]:
        """(ce_id, state) of the device's task events, in the order of the topic."""
        records = await read_topic(self.kafka, TASK_TOPIC)
        return [
            (dict(record.headers)["ce_id"].decode(), json.loads(record.value or b"")["state"])
            for record in records
            if record.key == sn.encode()
        ]


class Client:
    """What a terminal sees."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self.http = http
        self.port = port

    async def ask(self, body: bytes) -> bytes:
        """Any request; the answer is HTTP 200 with JSON, whatever it says (E5)."""
        async with self.http.post("/api/device", data=body) as answer:
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
            return await answer.read()

    async def get(self, *task_ids: str, **changes: Any) -> list[dict[str, str]]:
        """T_GET_TASKS that succeeds, its signature verified."""
        answer = read_answer(await self.ask(make_body(GET, {"taskids": list(task_ids)}, **changes)))
        assert answer["success"], answer
        return list(answer["response"]["tasks"])

    async def ask_about(self, task_id: str, apicode: Apicode, param: object = None, **changes: Any) -> Any:
        """The answer of an interface that names a task, its signature verified."""
        response_signed = apicode in (Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON)
        body = await self.ask(make_body(apicode, param, task_id=task_id, **changes))
        return read_answer(body, task_id=task_id, response_signed=response_signed)

    async def report(self, *reports: dict[str, object], **changes: Any) -> str:
        """The error code of T_UPDATE_TASKS_STATUS, "" for success; its signature verified."""
        return error_code(read_answer(await self.ask(make_body(UPDATE, {"task": list(reports)}, **changes))))


@asynccontextmanager
async def open_platform(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, kafka_settings: KafkaSettings, folder: Path
) -> AsyncIterator[Platform]:
    """The parts, ready, with one session open."""
    certificates = load_certificates(folder)
    async with open_redis(redis_settings) as redis, open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        await ensure_topics(kafka_settings, 60)
        platform = Platform(redis, database, redis_settings, mongo_settings, kafka_settings, certificates)
        await platform.open_session()
        yield platform
