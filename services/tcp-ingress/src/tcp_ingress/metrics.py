"""Every metric of this service. Hot counts are plain integers that are read when they are scraped (measured)."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation

from shared.protocol.apicodes import TCP_APICODES
from shared.runtime.metrics import ProcessMetrics

if TYPE_CHECKING:  # these parts count with this module's classes
    from shared.kafka.presence_sender import PresenceSender
    from shared.kafka.producer import BatchProducer
    from shared.stores.redis.control_stream import RedisControlStream
    from tcp_ingress.auth_client import AuthClient
    from tcp_ingress.control_reader import ControlReader
    from tcp_ingress.device_cache import DeviceCache
    from tcp_ingress.group_commit import GroupCommit
    from tcp_ingress.presence_batches import PresenceBatches
    from tcp_ingress.push import Pusher
    from tcp_ingress.server import Server
    from tcp_ingress.task_lists import TaskLists

LATENCY_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OTHER_APICODE = "other"
"""The label of what is no interface of this channel: label values never come from a terminal."""
SUCCESS = "success"


class IngressMetrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("tcp-ingress")
        self.latency = self.process.histogram_by(
            "tcp_ingress_answer_seconds",
            "apicode",
            "Time from receipt to answer, of what had to wait",
            LATENCY_BOUNDS_SECONDS,
        )
        # requests by apicode and outcome: success, or the error code of section 1.3
        self._answers: dict[tuple[str, str], int] = {}
        self.process.meter.create_observable_counter(
            "tcp_ingress_answers", [self._observe_answers], description="Answers by interface and outcome"
        )
        self.shortened = 0
        self.process.counter(
            "tcp_ingress_shortened_sign_ins",
            "Sign-ins stored without their texts, which were too large",
            lambda: self.shortened,
        )
        # connections refused at a bound, and those that were closed by us, by reason
        self.refused = dict.fromkeys(("total", "address", "proxy_header"), 0)
        self.process.counter_by("tcp_ingress_refused_connections", "bound", "Connections refused", self.refused)
        self.closed = dict.fromkeys(("fault", "half_frame", "idle", "unauthenticated", "unread", "age", "drain"), 0)
        self.process.counter_by("tcp_ingress_closed_connections", "reason", "Connections closed by us", self.closed)

    def answered(self, apicode: str, outcome: str) -> None:
        """Counts an answer; `outcome` is SUCCESS or an error code."""
        key = (apicode if apicode in TCP_APICODES else OTHER_APICODE, outcome)
        self._answers[key] = self._answers.get(key, 0) + 1

    def count_of(self, apicode: str, outcome: str) -> int:
        """How many answers there were."""
        return self._answers.get((apicode, outcome), 0)

    def _observe_answers(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {"apicode": apicode, "outcome": outcome})
            for (apicode, outcome), count in list(self._answers.items())  # an OTLP export reads it in its own thread
        ]


def observe_parts(
    process: ProcessMetrics,
    server: "Server",
    cache: "DeviceCache",
    task_lists: "TaskLists",
    control: "ControlReader",
    stream: "RedisControlStream",
    pusher: "Pusher",
    presence: "PresenceBatches",
    sender: "PresenceSender",
    auth: "AuthClient",
    commit: "GroupCommit",
    producers: "Sequence[BatchProducer]",
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
    for name, topic in (("sign_in", commit.sign_ins), ("sensitive", commit.sensitive)):
        process.counter(f"tcp_ingress_{name}_batches", "Batches given to Kafka", partial(getattr, topic, "batches"))
        process.counter(f"tcp_ingress_{name}_records", "Records given to Kafka", partial(getattr, topic, "records"))
    process.counter(
        "tcp_ingress_producer_replacements",
        "Producers replaced after a batch was refused: alert on it",
        lambda: sum(producer.replacements for producer in producers),
    )
