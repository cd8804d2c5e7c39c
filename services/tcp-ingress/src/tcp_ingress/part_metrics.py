"""What the parts of this service count themselves, made visible: read when it is scraped."""

from collections.abc import Sequence
from functools import partial

from shared.kafka.presence_sender import PresenceSender
from shared.kafka.producer import BatchProducer
from shared.runtime.metrics import ProcessMetrics
from shared.stores.control_reader import ControlReader
from shared.stores.redis.control_stream import RedisControlStream
from tcp_ingress.auth_client import AuthClient
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.group_commit import GroupCommit
from tcp_ingress.presence_batches import PresenceBatches
from tcp_ingress.push import Pusher
from tcp_ingress.server import Server
from tcp_ingress.task_lists import TaskLists


def observe_parts(
    process: ProcessMetrics,
    server: Server,
    cache: DeviceCache,
    task_lists: TaskLists,
    control: ControlReader,
    stream: RedisControlStream,
    pusher: Pusher,
    presence: PresenceBatches,
    sender: PresenceSender,
    auth: AuthClient,
    commit: GroupCommit,
    producers: Sequence[BatchProducer],
) -> None:
    """What the parts count themselves."""
    process.gauge("tcp_ingress_connections", "Connections open", lambda: len(server))
    process.gauge("tcp_ingress_held_bytes", "Bytes of half frames and requests at work", lambda: server.held.total)
    process.gauge("tcp_ingress_sessions_held", "Sessions in the cache", lambda: len(cache))
    process.counter("tcp_ingress_session_reads", "Calls to Redis for sessions not held", lambda: cache.fills)
    process.gauge("tcp_ingress_task_lists_held", "Devices whose pending tasks are known", lambda: len(task_lists))
    process.counter("tcp_ingress_pushed_commands", "Commands pushed to devices", lambda: pusher.pushed)
    process.counter("tcp_ingress_task_list_reads", "Calls to Redis for pending tasks", lambda: task_lists.reads)
    process.gauge("tcp_ingress_devices_held", "Devices that this process holds", lambda: len(presence))
    process.gauge("tcp_ingress_presence_waiting", "Devices that Redis is to be told of", lambda: presence.waiting)
    process.gauge_by(
        "tcp_ingress_skewed_devices", "vendor", "Devices held here whose clock is off", lambda: presence.skewed
    )
    process.counter(
        "tcp_ingress_devices_not_held", "Accepted requests of devices past the bound", lambda: presence.not_held
    )
    process.gauge("tcp_ingress_presence_events_waiting", "Presence events that wait for Kafka", lambda: len(sender))
    process.counter("tcp_ingress_presence_events", "Presence events that Kafka has", lambda: sender.sent)
    process.counter("tcp_ingress_presence_events_dropped", "Presence events past the bound", lambda: sender.dropped)
    process.counter(
        "tcp_ingress_control_losses", "Times the control stream may have been missed", lambda: control.losses
    )
    process.counter("tcp_ingress_control_malformed", "Control entries that could not be read", lambda: stream.malformed)
    process.counter("tcp_ingress_auth_groups", "Calls to the session service", lambda: auth.groups)
    process.gauge(
        "tcp_ingress_sign_ins_in_flight", "Sign-ins between receipt and outcome", lambda: commit.in_flight_sign_ins
    )
    process.gauge("tcp_ingress_commit_bytes_in_flight", "Their bytes", lambda: commit.in_flight_bytes)
    commits = {"sign_in": commit.sign_ins, "sensitive": commit.sensitive, "synthetic": commit.synthetic}
    for name, topic in commits.items():
        process.counter(f"tcp_ingress_{name}_batches", "Batches given to Kafka", partial(getattr, topic, "batches"))
        process.counter(f"tcp_ingress_{name}_records", "Records given to Kafka", partial(getattr, topic, "records"))
    process.counter(
        "tcp_ingress_producer_replacements",
        "Producers replaced after a batch was refused: alert on it",
        lambda: sum(producer.replacements for producer in producers),
    )
