"""Every metric of the console. Requests, by route and status, are counted by FastAPI's own telemetry."""

from collections.abc import Callable

from fastapi.telemetry import TelemetryConfig

from shared.domain.retention import Kept
from shared.runtime.metrics import ProcessMetrics


class ConsoleMetrics:
    """The meters of one console process."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("console")
        self.audit_unfinished = 0
        # A change was tried, but its outcome could not be written: the entry says "intended" for ever.
        self.process.counter(
            "console_audit_unfinished_total",
            "Audit entries whose outcome could not be written",
            lambda: self.audit_unfinished,
        )
        self.tasks_unlisted = 0
        # Redis was away: terminals learn of these tasks when the index rebuilder of task-api has found them.
        self.process.counter(
            "console_tasks_unlisted_total",
            "Tasks made that could not be put into the pending index",
            lambda: self.tasks_unlisted,
        )

        self.planned_tasks = 0
        self.process.counter(
            "console_planned_tasks_total", "Tasks made by the roster planner", lambda: self.planned_tasks
        )
        self.devices_due = 0
        self.process.gauge(
            "console_devices_due", "Devices whose roster was to be planned at the last turn", lambda: self.devices_due
        )
        self.roster_failures = 0
        self.process.counter(
            "console_roster_failures_total",
            "Persons and faces that terminals reported as failed",
            lambda: self.roster_failures,
        )

        self.campaign_tasks = 0
        self.process.counter(
            "console_campaign_tasks_total", "Tasks made by firmware campaigns", lambda: self.campaign_tasks
        )
        self.campaigns_paused = 0
        # Somebody has to look at it: nothing more is installed until it is resumed, cancelled or rolled back.
        self.process.counter(
            "console_campaigns_paused_total",
            "Firmware campaigns that paused by themselves, over their thresholds",
            lambda: self.campaigns_paused,
        )

        self.live_events = 0
        self.process.counter("console_live_events_total", "Events told to those who look on", lambda: self.live_events)
        self.live_gaps = 0
        # Whoever looks on came back later than the topics keep their records.
        self.process.counter(
            "console_live_gaps_total", "Times that events were gone before they were told", lambda: self.live_gaps
        )
        self.live_unreadable = 0
        self.process.counter(
            "console_live_unreadable_records_total",
            "Records that are not what their topic promises, each time that one is passed over",
            lambda: self.live_unreadable,
        )
        self.export_rows = 0
        self.process.counter("console_export_rows_total", "Rows of exports", lambda: self.export_rows)
        self.exports_cut = 0
        self.process.counter(
            "console_exports_cut_total", "Exports broken off by a fault after they had begun", lambda: self.exports_cut
        )

        self.past_retention: dict[str, int] = dict.fromkeys(Kept, 0)
        self.process.counter_by(
            "console_past_retention_total",
            "kind",
            "Attendances whose pictures and details, or which themselves, were deleted because they had been kept long "
            "enough",
            self.past_retention,
        )
        self.oldest_kept_ms: dict[str, int | None] = {}
        # Measured where the lock is held: with the setting it tells whether retention is carried out.
        self.process.gauge_by(
            "console_oldest_kept_timestamp_seconds",
            "kind",
            "When the oldest that is kept was received, since 1970; absent where this process has not looked",
            lambda: {kind: at_ms // 1000 for kind, at_ms in self.oldest_kept_ms.items() if at_ms is not None},
        )

    def watch_live(self, connections: Callable[[], int]) -> None:
        """Shows how many look on."""
        self.process.gauge("console_live_connections", "Connections of those who look on", connections)

    @property
    def of_requests(self) -> TelemetryConfig:
        """http.server.request.duration and http.server.active_requests, by route, method and status."""
        return {"meter_provider": self.process.provider, "tracing": False, "logs": False, "auto_configure": False}

    def close(self) -> None:
        """Ends the meters."""
        self.process.close()
