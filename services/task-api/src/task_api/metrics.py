"""Every metric of task-api. Requests, by route and status, are counted by FastAPI's own telemetry."""

from collections.abc import Callable

from fastapi.telemetry import TelemetryConfig

from shared.domain.links import FileKind
from shared.protocol.errors import ErrorCode
from shared.runtime.metrics import ProcessMetrics
from shared.runtime.refusals import Refusals

SUCCESS = "success"


class TaskApiMetrics:
    """The meters of one task-api process."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("task-api")
        self.answers = {SUCCESS: 0, **{code.code: 0 for code in ErrorCode}}
        """Answers to devices by outcome: success, or the error code."""
        self.refusals = Refusals(self.process, "task_api_refusals")
        self.index_rebuilds = 0
        self.index_additions = 0
        self.expired = 0
        self.relayed = 0
        self.downloads = {kind.value: 0 for kind in FileKind}
        """Faces and packages sent whole or in part, as they were asked for."""
        self.refused_downloads = 0
        process = self.process
        process.counter_by("task_api_answers", "outcome", "Answers to devices, by outcome", self.answers)
        process.counter("task_api_index_rebuilds", "Rebuilds of the pending index", lambda: self.index_rebuilds)
        process.counter("task_api_index_additions", "Tasks that the pending index lacked", lambda: self.index_additions)
        process.counter("task_api_expired_tasks", "Tasks that expired", lambda: self.expired)
        process.counter("task_api_relayed_events", "Task events acknowledged by Kafka", lambda: self.relayed)
        process.counter_by("task_api_downloads", "kind", "Faces and packages that were downloaded", self.downloads)
        process.counter(
            "task_api_refused_downloads", "Downloads whose turn did not come in time", lambda: self.refused_downloads
        )

    @property
    def of_requests(self) -> TelemetryConfig:
        """http.server.request.duration and http.server.active_requests, by route, method and status."""
        return {"meter_provider": self.process.provider, "tracing": False, "logs": False, "auto_configure": False}

    def observe_control_stream(self, losses: Callable[[], int], malformed: Callable[[], int]) -> None:
        """What the reader of the control stream counts."""
        self.process.counter("task_api_control_losses", "Times that entries may have been missed", losses)
        self.process.counter("task_api_control_malformed", "Entries that could not be read", malformed)

    def close(self) -> None:
        """Ends the meters."""
        self.process.close()
