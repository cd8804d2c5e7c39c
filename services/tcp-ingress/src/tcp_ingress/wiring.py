"""The composition root: makes every client of this service, starts its background tasks, and the listener last."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from shared.domain.events import PRESENCE_TOPIC, SENSITIVE_TOPIC, SIGN_IN_TOPIC, SYNTHETIC_TOPIC
from shared.domain.sealing import Sealer
from shared.kafka.presence_sender import PresenceSender
from shared.kafka.producer import open_producer
from shared.runtime.admin import open_admin
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.lifecycle import Lifecycle, OpenService, cancel_and_wait
from shared.runtime.settings import KafkaSettings, PresenceSettings, RedisSettings, SealingSettings, TelemetrySettings
from shared.runtime.telemetry import open_telemetry
from shared.runtime.unavailable import Unavailable
from shared.stores.control_reader import ControlReader
from shared.stores.ended_view import EndedView
from shared.stores.redis.client import open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.presence import RedisPresenceStore
from shared.stores.redis.pushed_tasks import RedisPushedTasks
from shared.stores.redis.sessions import RedisSessionStore
from tcp_ingress.auth_client import AuthClient
from tcp_ingress.control_entries import ControlEntries
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.group_commit import CommitBounds, GroupCommit
from tcp_ingress.handlers import Handlers
from tcp_ingress.listeners import open_listeners
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.part_metrics import observe_parts
from tcp_ingress.presence_batches import PresenceBatches, PresenceRules
from tcp_ingress.push import Pusher
from tcp_ingress.server import Server
from tcp_ingress.settings import IngressSettings
from tcp_ingress.task_lists import TaskLists

log = logging.getLogger(__name__)


def open_ingress(
    settings: IngressSettings,
    kafka: KafkaSettings,
    redis: RedisSettings,
    sealing: SealingSettings,
    presence: PresenceSettings,
    telemetry: TelemetrySettings | None = None,
    clock: Clock | None = None,
) -> OpenService:
    """The service, ready for run_service."""

    @asynccontextmanager
    async def open_service(lifecycle: Lifecycle) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            sealer = Sealer(sealing.parsed())
            await _open(stack, lifecycle, settings, kafka, redis, sealer, presence, telemetry, clock or SystemClock())
            yield

    return open_service


async def _open(
    stack: AsyncExitStack,
    lifecycle: Lifecycle,
    settings: IngressSettings,
    kafka: KafkaSettings,
    redis_settings: RedisSettings,
    sealer: Sealer,
    presence_settings: PresenceSettings,
    telemetry: TelemetrySettings | None,
    clock: Clock,
) -> None:
    metrics = IngressMetrics()
    stack.callback(metrics.process.close)
    tracing = await stack.enter_async_context(open_telemetry(metrics.process, telemetry))
    redis = await stack.enter_async_context(open_redis(redis_settings))
    sessions = RedisSessionStore(redis)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    deadline = settings.request_deadline_seconds
    sign_ins = await stack.enter_async_context(
        open_producer(kafka, "tcp-ingress-sign-ins", deadline, [SIGN_IN_TOPIC], also=[SYNTHETIC_TOPIC])
    )
    sensitive = await stack.enter_async_context(
        open_producer(kafka, "tcp-ingress-sensitive", deadline, [SENSITIVE_TOPIC])
    )
    of_presence = await stack.enter_async_context(
        open_producer(kafka, "tcp-ingress-presence", deadline, [PRESENCE_TOPIC])
    )

    view = EndedView(int(settings.redis_grace_seconds * 1000))
    cache = DeviceCache(
        sessions,
        sealer,
        view,
        size=settings.session_cache_size,
        group_seconds=settings.session_group_ms / 1000,
        window_seconds=settings.time_window_seconds,
    )
    task_lists = TaskLists(
        RedisPendingTasks(redis),
        size=settings.session_cache_size,
        max_ids=settings.max_listed_tasks,
        group_seconds=settings.session_group_ms / 1000,
    )
    stream = RedisControlStream(redis)
    sender = PresenceSender(of_presence, max_waiting=settings.session_cache_size)
    holders = RedisPresenceStore(redis)
    presence = PresenceBatches(
        holders,
        sender,
        clock,
        PresenceRules(
            interval_seconds=settings.presence_seconds,
            silent_ms=presence_settings.silent_ms,
            skew_ms=int(settings.presence_skew_seconds * 1000),
            skew_alert_ms=int(settings.skew_alert_seconds * 1000),
            refresh_ms=int(settings.presence_refresh_seconds * 1000),
            max_held=settings.session_cache_size,
        ),
    )
    pusher = Pusher(presence, cache, holders, RedisPushedTasks(redis), tracing)
    entries = ControlEntries(cache, task_lists, pusher)
    control = ControlReader(stream, RedisEndedStore(redis), view, clock, entries)
    auth = AuthClient(
        http,
        settings.session_url,
        settings.session_token.get_secret_value(),
        group_seconds=settings.auth_group_ms / 1000,
        group_size=settings.auth_group_size,
        groups_in_flight=settings.auth_groups_in_flight,
        max_waiting=settings.auth_max_waiting,
        deadline_seconds=deadline,
    )
    commit = GroupCommit(
        sign_ins,
        sensitive,
        CommitBounds(
            gather_seconds=settings.commit_gather_ms / 1000,
            batch_records=settings.commit_batch_records,
            batch_bytes=settings.commit_batch_bytes,
            max_in_flight_sign_ins=settings.max_in_flight_sign_ins,
            max_in_flight_bytes=settings.max_in_flight_bytes,
        ),
    )
    handlers = Handlers(cache, auth, commit, presence, task_lists, clock, metrics, deadline, tracing)
    server = Server(settings, handlers, metrics)
    producers = sign_ins, sensitive, of_presence
    observe_parts(
        metrics.process, server, cache, task_lists, control, stream, pusher, presence, sender, auth, commit, producers
    )

    # Once before the listener, so that the first requests need not be told to come again.
    try:
        await control.read_once()
    except Unavailable as error:
        log.warning("starting without the control stream: %s", error)
    background = [
        lifecycle.spawn(control.run(), "control-reader"),
        lifecycle.spawn(task_lists.run(), "task-lists"),
        lifecycle.spawn(presence.run(), "presence"),
        lifecycle.spawn(sender.run(), "presence-events"),
    ]
    stack.push_async_callback(_stop, presence, sender, background)
    admin_port = await stack.enter_async_context(
        open_admin(lifecycle, settings.admin_host, settings.admin_port, metrics.process.registry)
    )
    await stack.enter_async_context(open_listeners(lifecycle, settings, server))
    log.info(
        "devices on port %d, with TLS on port %d (0: none), admin on port %d",
        settings.port,
        settings.tls_port,
        admin_port,
    )


async def _stop(presence: PresenceBatches, sender: PresenceSender, background: list[asyncio.Task[None]]) -> None:
    """Tells what the last second brought."""
    await cancel_and_wait(*background)
    try:
        await presence.flush()
        await sender.flush()
    except Unavailable as error:
        log.warning("presence and tokens' lives of the last second are not told: %s", error)
