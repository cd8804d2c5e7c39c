"""One JSON object a line."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind

from shared.runtime.logging import OURS, JsonFormatter, configure_logging
from shared.runtime.tracing import as_current
from tests.support.spans import KeptSpans, span_id, trace_id


def test_a_log_line_is_one_json_object_with_the_exception_inside() -> None:
    error = ValueError("broken\nline")
    record = logging.LogRecord("here", logging.ERROR, "f", 1, "tried %s", ("工地",), (ValueError, error, None))
    line = JsonFormatter("test-service").format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["message"] == "tried 工地"
    assert parsed["service"] == "test-service"
    assert parsed["level"] == "ERROR"
    assert "ValueError: broken" in parsed["exception"]


def test_a_log_line_names_the_trace_that_is_passed_or_current_and_none_where_nothing_is_sampled() -> None:
    kept = KeptSpans()
    record = logging.LogRecord("here", logging.INFO, "f", 1, "said", None, None)
    formatter = JsonFormatter("test-service")
    assert json.loads(formatter.format(record)).keys() & {"trace_id", "span_id"} == set()
    with kept.tracing.start("current", SpanKind.SERVER) as current, as_current(current):
        of_current = json.loads(formatter.format(record))
        with current.child("passed", SpanKind.CLIENT) as passed:
            record.span = passed
            of_passed = json.loads(formatter.format(record))
    for line, name in ((of_current, "current"), (of_passed, "passed")):
        assert line["trace_id"] == f"{trace_id(kept.one(name)):032x}"
        assert line["span_id"] == f"{span_id(kept.one(name)):016x}"


@pytest.fixture
def restored() -> Iterator[None]:
    """The test process's own logging, put back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_design_rule_8_libraries_never_log_below_info_because_they_log_what_they_send(level: str) -> None:
    configure_logging("test-service", level)
    least = logging.getLevelNamesMapping()[level]
    assert logging.getLogger("shared.kafka.producer").getEffectiveLevel() == least
    for library in ("aiokafka.conn", "urllib3.connectionpool", "asyncio", "redis", "python_multipart.multipart"):
        assert logging.getLogger(library).getEffectiveLevel() == max(least, logging.INFO)


def test_every_service_s_package_is_ours() -> None:
    services = Path(__file__).parents[4] / "services"
    assert set(OURS) == {"shared", *(file.parent.name for file in services.glob("*/src/*/__main__.py"))}
