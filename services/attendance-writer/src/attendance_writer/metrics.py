"""Every metric of this service."""

from collections.abc import Callable
from dataclasses import dataclass, field

from attendance_writer.decode import StoreFault
from shared.domain.events import Fault
from shared.runtime.metrics import ProcessMetrics


def _no_dead_letters() -> dict[str, int]:
    return {reason: 0 for kind in (Fault, StoreFault) for reason in kind}


@dataclass
class WriterCounts:
    """Plain integers that the loop adds to and a scrape reads."""

    stored: int = 0
    duplicates: int = 0
    pictures: int = 0
    synthetic: int = 0
    past_retention: int = 0
    presence_events: int = 0
    dead_letters: dict[str, int] = field(default_factory=_no_dead_letters)
    batches: int = 0
    retries: int = 0
    lost: int = 0
    lag: int = 0
    last_batch_at: float | None = None
    """On the event loop's clock."""


def register(
    metrics: ProcessMetrics, counts: WriterCounts, now: Callable[[], float], oldest_age_seconds: Callable[[], float]
) -> None:
    """Makes the counts visible; `now` is the event loop's clock."""
    metrics.counter("attendance_writer_stored_total", "Attendances that were new", lambda: counts.stored)
    metrics.counter(
        "attendance_writer_duplicates_total",
        "Attendances that were stored already: resends, replays, and batches repeated after a fault",
        lambda: counts.duplicates,
    )
    metrics.counter("attendance_writer_pictures_total", "Pictures that were new", lambda: counts.pictures)
    metrics.counter(
        "attendance_writer_synthetic_total",
        "Sign-ins of synthetic terminals that were new: no attendances",
        lambda: counts.synthetic,
    )
    metrics.counter(
        "attendance_writer_past_retention_total",
        "Attendances, pictures and details not stored, because their time to be kept is over",
        lambda: counts.past_retention,
    )
    metrics.counter(
        "attendance_writer_presence_events_total",
        "Presence events taken into account, stale ones too",
        lambda: counts.presence_events,
    )
    metrics.counter_by(
        "attendance_writer_dead_letters_total", "reason", "Records sent to the dead-letter topic", counts.dead_letters
    )
    metrics.counter("attendance_writer_batches_total", "Batches written", lambda: counts.batches)
    metrics.counter(
        "attendance_writer_retries_total", "Batches tried again after a fault that may pass", lambda: counts.retries
    )
    metrics.counter(
        "attendance_writer_lost_records_total",
        "Records that were deleted from their topic before they were read",
        lambda: counts.lost,
    )
    metrics.gauge(
        "attendance_writer_lag_records", "Records of this process's partitions not yet committed", lambda: counts.lag
    )
    metrics.gauge(
        "attendance_writer_oldest_record_age_seconds",
        "Age of the oldest attendance of this process's partitions not yet committed; 0 where there is none",
        oldest_age_seconds,
    )
    metrics.gauge(
        "attendance_writer_last_batch_age_seconds",
        "Time since a batch was last committed; -1 before the first",
        lambda: -1.0 if counts.last_batch_at is None else now() - counts.last_batch_at,
    )
