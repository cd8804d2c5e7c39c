"""task-api's composition root: the only place where its clients are made and closed."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from shared.domain.events import TASK_TOPIC
from shared.domain.links import Links
from shared.domain.sealing import Sealer
from shared.kafka.producer import open_producer
from shared.runtime.admin import open_admin
from shared.runtime.clock import SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings, TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from shared.runtime.unavailable import Unavailable
from shared.runtime.web import open_web
from shared.runtime.web_tracing import TracedRequests
from shared.stores.background import LOCK_LIFE_MS, repeat_under_lock
from shared.stores.control_reader import ControlReader
from shared.stores.ended_view import EndedView
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.faces import MongoFaceStore
from shared.stores.mongo.firmware import MongoFirmwareStore
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.rosters import MongoRosterMarks, MongoRosterStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.lock import RedisLock
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.pushed_tasks import RedisPushedTasks
from shared.stores.redis.sessions import RedisSessionStore
from task_api.app import create_app
from task_api.device_endpoint import DeviceEndpoint
from task_api.downloads import Downloads
from task_api.expiry import Expiry
from task_api.index_rebuilder import IndexRebuilder
from task_api.interfaces.interface import Parts
from task_api.metrics import TaskApiMetrics
from task_api.outbox import Outbox
from task_api.push_marks import PushMarks
from task_api.sessions import Sessions
from task_api.settings import TaskApiSettings

log = logging.getLogger(__name__)


def open_task_api(
    settings: TaskApiSettings,
    mongo: MongoSettings,
    redis_settings: RedisSettings,
    kafka: KafkaSettings,
    sealing: SealingSettings,
    telemetry: TelemetrySettings | None = None,
) -> OpenService:
    """How task-api is opened, for run_service."""

    @asynccontextmanager
    async def opened(lifecycle: Lifecycle) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            metrics = TaskApiMetrics()
            stack.callback(metrics.close)
            tracing = await stack.enter_async_context(open_telemetry(metrics.process, telemetry))
            clock = SystemClock()
            redis = await stack.enter_async_context(open_redis(redis_settings))
            database = await stack.enter_async_context(open_mongo(mongo, "task-api", traced=tracing.is_on))
            producer = await stack.enter_async_context(
                open_producer(kafka, "task-api", settings.kafka_deadline_seconds, [TASK_TOPIC])
            )
            tasks, pending = MongoTaskStore(database), RedisPendingTasks(redis)

            stream = RedisControlStream(redis)
            ended = EndedView(int(settings.redis_grace_seconds * 1000))
            control = ControlReader(stream, RedisEndedStore(redis), ended, clock)
            metrics.observe_control_stream(lambda: control.losses, lambda: stream.malformed)
            sessions = Sessions(RedisSessionStore(redis), ended, Sealer(sealing.parsed()), clock)
            devices = MongoDeviceStore(database)
            parts = Parts(
                tasks=tasks,
                pending=pending,
                persons=MongoPersonStore(database),
                devices=devices,
                rosters=MongoRosterStore(database),
                roster_marks=MongoRosterMarks(database, devices, clock),
                links=Links(sealing.parsed(), settings.public_base_url.rstrip("/")),
            )
            endpoint = DeviceEndpoint(settings, sessions, parts, clock, metrics)
            downloads = Downloads(
                parts.links, MongoFaceStore(database), MongoFirmwareStore(database), clock, metrics, settings
            )

            index_lock = RedisLock(redis, "task-index", LOCK_LIFE_MS)
            expiry_lock = RedisLock(redis, "task-expiry", LOCK_LIFE_MS)
            outbox_lock = RedisLock(redis, "task-outbox", LOCK_LIFE_MS)
            rebuilder = IndexRebuilder(tasks, pending, index_lock, clock, metrics, settings.index_heal_seconds)
            expiry = Expiry(tasks, pending, parts.roster_marks, expiry_lock, clock, metrics)
            push_lock = RedisLock(redis, "task-pushes", LOCK_LIFE_MS)
            push_marks = PushMarks(tasks, RedisPushedTasks(redis), push_lock, clock)
            outbox = Outbox(tasks, producer, outbox_lock, metrics, tracing)
            # Once before the listener, so that the first requests need not be told to come again.
            try:
                await control.read_once()
            except Unavailable as error:
                log.warning("starting without the control stream: %s", error)
            background = {
                "control-reader": control.run(),
                "index-rebuilder": repeat_under_lock(
                    "index-rebuilder", index_lock, rebuilder.work, settings.index_check_seconds
                ),
                "expiry": repeat_under_lock("expiry", expiry_lock, expiry.work, settings.expiry_seconds),
                "push-marks": repeat_under_lock("push-marks", push_lock, push_marks.work, settings.push_marks_seconds),
                "outbox": repeat_under_lock("outbox", outbox_lock, outbox.work, settings.outbox_seconds),
            }
            running = [lifecycle.spawn(coroutine, name) for name, coroutine in background.items()]
            stack.push_async_callback(cancel_and_wait, *running)

            admin_port = await stack.enter_async_context(
                open_admin(lifecycle, settings.admin_host, settings.admin_port, metrics.process.registry)
            )
            app = create_app(settings, endpoint, downloads, metrics)
            port = await stack.enter_async_context(
                open_web(
                    lifecycle,
                    TracedRequests(app, tracing, trusts_callers=False),
                    settings.host,
                    settings.port,
                    tls_cert_file=settings.tls_cert_file,
                    tls_key_file=settings.tls_key_file,
                    notice_seconds=settings.notice_seconds,
                )
            )
            log.info("serving on port %d, admin on port %d", port, admin_port)
            yield

    return opened
