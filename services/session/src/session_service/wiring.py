"""The session service's composition root: the only place where its clients are made and closed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from session_service.app import create_app
from session_service.authenticate import Authenticator
from session_service.devices import Devices
from session_service.metrics import SessionMetrics
from session_service.revocation import Revocation
from session_service.settings import SessionSettings
from session_service.site_devices import SiteDevices
from session_service.sweep import LOCK, PresenceSweep
from session_service.vendors import Vendors
from shared.domain.events import PRESENCE_TOPIC
from shared.domain.sealing import Sealer
from shared.kafka.presence_sender import PresenceSender
from shared.kafka.producer import open_producer
from shared.runtime.admin import open_admin
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait
from shared.runtime.settings import (
    KafkaSettings,
    MongoSettings,
    PresenceSettings,
    RedisSettings,
    SealingSettings,
    TelemetrySettings,
)
from shared.runtime.telemetry import open_telemetry
from shared.runtime.web import open_web
from shared.runtime.web_tracing import TracedRequests
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.credentials import MongoCredentialStore
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.presence import MongoPresenceRecordStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.lock import RedisLock
from shared.stores.redis.presence import RedisPresenceStore
from shared.stores.redis.sessions import RedisSessionStore

log = logging.getLogger(__name__)

LOCK_LIFE_MS = 10_000
PRESENCE_SEND_SECONDS = 5.0
MAX_PRESENCE_EVENTS = 200_000
"""Events of the sweep that wait for Kafka, one a device; what they miss, a later round finds again."""


def open_session(
    settings: SessionSettings,
    mongo: MongoSettings,
    redis: RedisSettings,
    sealing: SealingSettings,
    kafka: KafkaSettings,
    presence: PresenceSettings,
    telemetry: TelemetrySettings | None = None,
) -> OpenService:
    """How the session service is opened, for run_service."""

    @asynccontextmanager
    async def opened(lifecycle: Lifecycle) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            metrics = SessionMetrics()
            stack.callback(metrics.close)
            tracing = await stack.enter_async_context(open_telemetry(metrics.process, telemetry))
            clock = SystemClock()
            sealer = Sealer(sealing.parsed())
            database = await stack.enter_async_context(open_mongo(mongo, "session", traced=tracing.is_on))
            redis_client = await stack.enter_async_context(open_redis(redis))
            credentials = MongoCredentialStore(database)
            device_store = MongoDeviceStore(database)
            sessions = RedisSessionStore(redis_client)
            ended = RedisEndedStore(redis_client)
            revocation = Revocation(credentials, device_store, ended, clock, metrics)
            attendance = MongoAttendanceStore(database)
            devices = Devices(device_store, credentials, sessions, ended, attendance, clock, metrics)
            app = create_app(
                settings,
                authenticator=Authenticator(
                    settings,
                    credentials=credentials,
                    devices=device_store,
                    sessions=sessions,
                    sealer=sealer,
                    clock=clock,
                    metrics=metrics,
                ),
                vendors=Vendors(credentials, sealer, clock),
                revocation=revocation,
                devices=devices,
                metrics=metrics,
            )
            reasserting = lifecycle.spawn(revocation.reassert_for_ever(settings.reassert_seconds), "reassert")
            stack.push_async_callback(devices.close)
            settling = lifecycle.spawn(devices.settle_for_ever(settings.reassert_seconds), "settle")
            sweeping = lifecycle.spawn(
                _sweep(settings, kafka, presence, database, redis_client, clock, metrics), "presence-sweep"
            )
            stack.push_async_callback(cancel_and_wait, reasserting, settling, sweeping)
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


async def _sweep(
    settings: SessionSettings,
    kafka: KafkaSettings,
    presence: PresenceSettings,
    database: Database,
    redis: Redis,
    clock: Clock,
    metrics: SessionMetrics,
) -> None:
    """Sweeps for ever. Kafka is reached from here, so that authentication never waits for it."""
    lock = RedisLock(redis, LOCK, LOCK_LIFE_MS)
    async with open_producer(kafka, "session-presence", PRESENCE_SEND_SECONDS, [PRESENCE_TOPIC]) as producer:
        sender = PresenceSender(producer, max_waiting=MAX_PRESENCE_EVENTS)
        records = MongoPresenceRecordStore(database)
        sweep = PresenceSweep(
            RedisPresenceStore(redis),
            records,
            lock,
            sender,
            clock,
            metrics,
            silent_ms=presence.silent_ms,
        )
        sites = SiteDevices(records, sweep.leads)
        metrics.observe_sites(lambda: sites.counts)
        await asyncio.gather(
            sender.run(), sweep.run(settings.presence_sweep_seconds), sites.run(settings.site_devices_seconds)
        )
