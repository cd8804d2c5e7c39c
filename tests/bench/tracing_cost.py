"""What tracing costs an ingress process: CPU of a heartbeat and of a sign-in, by the share that is sampled.

    .venv/bin/python -m tests.bench.tracing_cost

The handlers run in this process without socket, Kafka and collector: what is left is checks, records and spans, these
encoded for OTLP by the exporter's thread, whose CPU counts. Absolute figures are this machine's.
"""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

from shared.domain.events import Record
from shared.domain.sealing import Sealer
from shared.protocol.messages import AuthRequest, DeviceRequest, decode_request
from shared.runtime.clock import SystemClock
from shared.runtime.tracing import NOT_TRACED, Tracing
from shared.stores.ended_view import EndedView
from shared.stores.memory import MemoryControlStream, MemorySessionStore
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.group_commit import CommitBounds, GroupCommit
from tcp_ingress.handlers import Answer, Handlers
from tcp_ingress.metrics import SUCCESS, IngressMetrics
from tests.support.builders import make_heartbeat, make_sign_in, now_ms
from tests.support.session_values import make_session

SECRET, TOKEN, SN = "the-secret-of-the-vendor", "0123456789abcdef" * 2, "sn-1"
AT_ONCE = 500


class EncodingExporter(SpanExporter):
    """Does everything that the OTLP exporter does but send."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializePartialToString()
        return SpanExportResult.SUCCESS


class AcknowledgingSender:
    """Kafka's part: takes every batch at once."""

    max_batch_bytes = 6_000_000

    def partition_for(self, _topic: str, _key: bytes) -> int:
        return 0

    async def send(self, _topic: str, _partition: int, _records: Sequence[Record]) -> None:
        """Acknowledged."""


class Idle:
    """Stands for C_AUTH, presence and task lists: nothing comes, is noted or waits."""

    def held(self, _sn: str) -> str:
        """What a heartbeat lists."""
        return "{}"

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: None


class Line:
    """The connection that the requests come by."""

    address = "192.0.2.1"
    lost = False

    def push(self, _message: bytes) -> bool:
        return False


CARRIER = Line()


def make_handlers(tracing: Tracing) -> Handlers:
    """Handlers that hold one session."""
    clock, sealer = SystemClock(), Sealer({"k1": bytes(32)})
    view = EndedView(3_600_000)
    cache = DeviceCache(
        MemorySessionStore(clock, MemoryControlStream()),
        sealer,
        view,
        size=10,
        group_seconds=0,
        window_seconds=600,
    )
    view.up_to_date(now_ms())
    session = make_session(TOKEN, SN, sealed_secret=sealer.seal(SECRET, "a1"))
    cache.opened(session, now_ms(), cache.generation)
    bounds = CommitBounds(
        gather_seconds=0.003,
        batch_records=500,
        batch_bytes=1_000_000,
        max_in_flight_sign_ins=10_000,
        max_in_flight_bytes=60_000_000,
    )
    sender, idle = AcknowledgingSender(), Idle()
    return Handlers(
        cache,
        idle,  # type: ignore[arg-type]  # see Idle
        GroupCommit(sender, sender, bounds),
        idle,  # type: ignore[arg-type]  # as above
        idle,  # type: ignore[arg-type]  # as above
        clock,
        IngressMetrics(),
        5,
        tracing,
    )


def check(answer: Answer | None) -> None:
    """Figures of refused requests would mean nothing."""
    if answer is None or answer.outcome != SUCCESS:
        raise SystemExit(f"a request was refused: {answer}")


async def heartbeats(handlers: Handlers, request: AuthRequest | DeviceRequest, count: int) -> None:
    """Each answered at once."""
    for _ in range(count):
        check(handlers.answer_at_once(request, CARRIER))


async def sign_ins(handlers: Handlers, request: AuthRequest | DeviceRequest, count: int) -> None:
    """In groups, as those of many connections."""
    for _ in range(count // AT_ONCE):
        for answer in await asyncio.gather(*(handlers.answer_later(request, CARRIER) for _ in range(AT_ONCE))):
            check(answer)


Work = Callable[[Handlers, AuthRequest | DeviceRequest, int], Coroutine[Any, Any, None]]


async def microseconds(work: Work, tracing: Tracing, message: bytes, count: int, flush: Callable[[], object]) -> float:
    """CPU of one, threads included."""
    handlers, request = make_handlers(tracing), decode_request(message)
    await work(handlers, request, AT_ONCE)
    flush()
    gc.collect()
    began = time.process_time_ns()
    await work(handlers, request, count)
    flush()
    return (time.process_time_ns() - began) / count / 1000


async def run(arguments: argparse.Namespace) -> None:
    """Measures and prints."""
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    processor = BatchSpanProcessor(EncodingExporter(), max_queue_size=100_000, schedule_delay_millis=200)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    dropping = TracerProvider(ParentBased(TraceIdRatioBased(0.0)), shutdown_on_exit=False)
    cases = {
        "no endpoint": NOT_TRACED,
        "0 %": Tracing(tracer, 0.0),
        "1 %": Tracing(tracer, 0.01),
        "100 %": Tracing(tracer, 1.0),
        "the SDK drops all": Tracing(dropping.get_tracer("bench"), 1.0),
    }
    messages: dict[str, tuple[Work, bytes]] = {
        "heartbeat": (heartbeats, make_heartbeat(SECRET, SN, TOKEN)),
        "sign-in": (sign_ins, make_sign_in(SECRET, SN, TOKEN)),
        "sign-in with picture": (sign_ins, make_sign_in(SECRET, SN, TOKEN, picture=bytes(1_000))),
    }
    print(f"CPU in µs of the handlers for one request, medians of {arguments.runs} runs of {arguments.requests}")
    print(f"{'':22}" + "".join(f"{case:>20}" for case in cases))
    for name, (work, message) in messages.items():
        taken: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(arguments.runs):
            for case, tracing in cases.items():
                taken[case].append(
                    await microseconds(work, tracing, message, arguments.requests, processor.force_flush)
                )
        print(f"{name:22}" + "".join(f"{statistics.median(one):20.1f}" for one in taken.values()))
    provider.shutdown()


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5_000, help="requests of a run (default 5000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median is printed (default 5)")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
