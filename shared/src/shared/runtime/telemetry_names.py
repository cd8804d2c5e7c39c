"""The registry of our own telemetry: every span's name, and every attribute beyond OpenTelemetry's conventions.

docs/telemetry.md explains them, and a test holds the two together. Metrics are in each service's metrics.py.
"""

from typing import Final

# ── spans ─────────────────────────────────────────────────────────────────────────────────────────────────────────

DEVICE_SPAN: Final = "device {apicode}"
"""A request of a terminal, on TCP or HTTPS; `device other` where the apicode is none of the channel's."""
HTTP_SERVER_SPAN: Final = "{method} {route}"
HTTP_CLIENT_SPAN: Final = "{method}"
PUBLISH_SPAN: Final = "{topic} publish"
"""A sampled record, from when it is put into a batch until it is acknowledged."""
PROCESS_SPAN: Final = "{topic} process"
"""A sampled record while its batch is written, in the record's own trace."""
BATCH_SPAN: Final = "batch process"
"""A batch with at least one sampled record, in a trace of its own that links to those of the records."""
PUSH_SPAN: Final = "push {apicode}"
"""A command on its way to a device, in the trace of the task's making."""
LIST_SPAN: Final = "list tasks"
"""The first heartbeat that lists a task, in the trace of the task's making."""
DATABASE_SPAN: Final = "{operation} {collection}"
REDIS_SPAN: Final = "{command}"

# ── attributes ────────────────────────────────────────────────────────────────────────────────────────────────────

APICODE: Final = "site_access.apicode"
SN: Final = "site_access.sn"
"""The terminal's serial number. On spans only: as a metric's label it would make a series a terminal."""
OUTCOME: Final = "site_access.outcome"
"""`success`, or the standard's error code."""
TASK_ID: Final = "site_access.task_id"
TASK_STATE: Final = "site_access.task_state"
