"""The console's composition root: the only place where its clients are made and closed."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from console_service.app import Parts, create_app
from console_service.audit import Auditor
from console_service.campaign_runner import CampaignRunner
from console_service.device_sites import DeviceSites
from console_service.erasure import Eraser
from console_service.live_feed import LiveFeed
from console_service.metrics import ConsoleMetrics
from console_service.person_wishes import Identities
from console_service.planner import Planner
from console_service.presence import DevicePresence
from console_service.retention import Retention
from console_service.session_client import open_session_client
from console_service.settings import ConsoleSettings
from console_service.task_making import TaskMaker
from shared.domain.links import Links
from shared.domain.retention import Kept
from shared.kafka.follower import open_follower
from shared.runtime.admin import open_admin
from shared.runtime.clock import SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings, TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from shared.runtime.web import open_web
from shared.runtime.web_tracing import TracedRequests
from shared.stores.background import LOCK_LIFE_MS, repeat_under_lock
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.audit import MongoAuditStore
from shared.stores.mongo.campaigns import MongoCampaignStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.faces import MongoFaceStore
from shared.stores.mongo.firmware import MongoFirmwareStore
from shared.stores.mongo.operators import MongoOperatorTokenStore
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.mongo.retention import MongoRetentionStore
from shared.stores.mongo.rosters import MongoRosterMarks, MongoRosterStore
from shared.stores.mongo.sites import MongoSiteStore
from shared.stores.mongo.synthetic_attendance import MongoSyntheticAttendanceStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.lock import RedisLock
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.presence import RedisPresenceStore

log = logging.getLogger(__name__)


def open_console(
    settings: ConsoleSettings,
    mongo: MongoSettings,
    redis_settings: RedisSettings,
    sealing: SealingSettings,
    kafka: KafkaSettings,
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
            clock = SystemClock()
            devices = MongoDeviceStore(database)
            tasks, pending = MongoTaskStore(database), RedisPendingTasks(redis)
            persons, rosters = MongoPersonStore(database), MongoRosterStore(database)
            roster_marks = MongoRosterMarks(database, devices, clock)
            links = Links(sealing.parsed(), settings.device_base_url.rstrip("/"))
            maker = TaskMaker(tasks, pending, rosters, links, clock, metrics)
            parts = Parts(
                session=await stack.enter_async_context(open_session_client(settings)),
                devices=devices,
                presence=DevicePresence(MongoPresenceRecordStore(database), RedisPresenceStore(redis)),
                sites=MongoSiteStore(database),
                attendances=MongoAttendanceStore(database),
                pictures=MongoPictureStore(database),
                synthetic=MongoSyntheticAttendanceStore(database),
                tasks=tasks,
                pending=pending,
                audit=MongoAuditStore(database),
                tokens=MongoOperatorTokenStore(database),
                persons=persons,
                faces=MongoFaceStore(database),
                rosters=rosters,
                roster_marks=roster_marks,
                maker=maker,
                planner=Planner(
                    rosters,
                    roster_marks,
                    tasks,
                    persons,
                    devices,
                    maker,
                    clock,
                    metrics,
                    settle_seconds=settings.roster_settle_seconds,
                ),
                firmware=MongoFirmwareStore(database),
                campaigns=MongoCampaignStore(database),
                identities=Identities(sealing.parsed()),
                links=links,
                live=LiveFeed(
                    partial(open_follower, kafka, "console"),
                    DeviceSites(devices, clock),
                    metrics,
                    lifecycle.stop,
                    max_connections=settings.max_live_connections,
                    notice_seconds=settings.notice_seconds,
                ),
                clock=clock,
                metrics=metrics,
            )
            erasure_lock = RedisLock(redis, "erasure", LOCK_LIFE_MS)
            eraser = Eraser(parts.persons, parts.faces, parts.attendances)
            campaign_lock = RedisLock(redis, "campaigns", LOCK_LIFE_MS)
            campaign_runner = CampaignRunner(
                parts.campaigns,
                parts.firmware,
                parts.tasks,
                parts.pending,
                parts.devices,
                parts.presence,
                parts.links,
                campaign_lock,
                clock,
                metrics,
            )
            planner_lock = RedisLock(redis, "planner", LOCK_LIFE_MS)
            sweep_lock = RedisLock(redis, "roster-sweep", LOCK_LIFE_MS)
            retention_lock = RedisLock(redis, "retention", LOCK_LIFE_MS)
            retention = Retention(
                MongoRetentionStore(database),
                Auditor(parts.audit, clock, metrics),
                clock,
                metrics,
                {Kept.PICTURES: settings.pictures_kept_days, Kept.RECORDS: settings.records_kept_days},
            )
            background = {
                "planner": repeat_under_lock(
                    "planner", planner_lock, partial(parts.planner.work, planner_lock), settings.planner_seconds
                ),
                "roster-sweep": repeat_under_lock(
                    "roster-sweep", sweep_lock, partial(parts.planner.sweep, sweep_lock), settings.roster_sweep_seconds
                ),
                "campaigns": repeat_under_lock(
                    "campaigns", campaign_lock, campaign_runner.work, settings.campaigns_seconds
                ),
                "erasure": repeat_under_lock(
                    "erasure", erasure_lock, partial(eraser.work, erasure_lock), settings.erasure_seconds
                ),
                "retention": repeat_under_lock(
                    "retention", retention_lock, partial(retention.work, retention_lock), settings.retention_seconds
                ),
            }
            running = [lifecycle.spawn(coroutine, name) for name, coroutine in background.items()]
            stack.push_async_callback(cancel_and_wait, *running)
            app = create_app(settings, parts)
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
