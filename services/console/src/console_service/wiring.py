"""The console's composition root: the only place where its clients are made and closed."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from console_service.app import create_app
from console_service.metrics import ConsoleMetrics
from console_service.presence import DevicePresence
from console_service.session_client import open_session_client
from console_service.settings import ConsoleSettings
from shared.runtime.admin import open_admin
from shared.runtime.clock import SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService
from shared.runtime.settings import MongoSettings, RedisSettings, TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from shared.runtime.web import open_web
from shared.runtime.web_tracing import TracedRequests
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.audit import MongoAuditStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.mongo.sites import MongoSiteStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.presence import RedisPresenceStore

log = logging.getLogger(__name__)


def open_console(
    settings: ConsoleSettings,
    mongo: MongoSettings,
    redis_settings: RedisSettings,
    telemetry: TelemetrySettings | None = None,
) -> OpenService:
    """How the console is opened, for run_service."""

    @asynccontextmanager
    async def opened(lifecycle: Lifecycle) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            metrics = ConsoleMetrics()
            stack.callback(metrics.close)
            tracing = await stack.enter_async_context(open_telemetry(metrics.process, telemetry))
            database = await stack.enter_async_context(open_mongo(mongo, "console", traced=tracing.is_on))
            redis = await stack.enter_async_context(open_redis(redis_settings))
            app = create_app(
                settings,
                session=await stack.enter_async_context(open_session_client(settings)),
                devices=MongoDeviceStore(database),
                presence=DevicePresence(MongoPresenceRecordStore(database), RedisPresenceStore(redis)),
                sites=MongoSiteStore(database),
                attendances=MongoAttendanceStore(database),
                pictures=MongoPictureStore(database),
                tasks=MongoTaskStore(database),
                pending=RedisPendingTasks(redis),
                audit=MongoAuditStore(database),
                clock=SystemClock(),
                metrics=metrics,
            )
            admin_port = await stack.enter_async_context(
                open_admin(lifecycle, settings.admin_host, settings.admin_port, metrics.process.registry)
            )
            traced = TracedRequests(app, tracing, trusts_callers=True)
            port = await stack.enter_async_context(
                open_web(lifecycle, traced, settings.host, settings.port, notice_seconds=settings.notice_seconds)
            )
            log.info("serving on port %d, admin on port %d", port, admin_port)
            yield

    return opened
