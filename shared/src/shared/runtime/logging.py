"""Logs: one JSON object a line on standard error. Nothing secret is ever passed to a logger (design rule 8)."""

import json
import logging
import sys
from datetime import UTC, datetime

from shared.runtime.tracing import SampledSpan, current_span

OURS = ("shared", "attendance_writer", "console_service", "session_service", "task_api", "tcp_ingress")
"""Packages that may log below INFO. A library's DEBUG lines are what it sends: records with pictures, requests."""


class JsonFormatter(logging.Formatter):
    """One line of JSON with time, level, service, logger, message, the exception where there is one, and the trace
    that it is part of."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        # passed as extra={"span": span}, or the current one
        span = getattr(record, "span", None) or current_span()
        if isinstance(span, SampledSpan):
            line["trace_id"], line["span_id"] = span.trace_id, span.span_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(service: str, level: str) -> None:
    """Sends every log of the process through one handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=max(logging.getLevelNamesMapping()[level], logging.INFO), handlers=[handler], force=True)
    for ours in OURS:
        logging.getLogger(ours).setLevel(level)
    # Their INFO lines carry request paths or repeat what our own metrics say.
    for noisy in ("aiohttp.access", "uvicorn.access", "pymongo"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
