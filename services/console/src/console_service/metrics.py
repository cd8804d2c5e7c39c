"""Every metric of the console. Requests, by route and status, are counted by FastAPI's own telemetry."""

from fastapi.telemetry import TelemetryConfig

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

    @property
    def of_requests(self) -> TelemetryConfig:
        """http.server.request.duration and http.server.active_requests, by route, method and status."""
        return {"meter_provider": self.process.provider, "tracing": False, "logs": False, "auto_configure": False}

    def close(self) -> None:
        """Ends the meters."""
        self.process.close()
