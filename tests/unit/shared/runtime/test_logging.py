"""One JSON object a line."""

import json
import logging

from shared.runtime.logging import JsonFormatter


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
