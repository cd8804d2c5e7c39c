"""Reading a metric out of Prometheus's text format."""

import pytest

from stack.http_client import RequestFailed, get, metric_total
from stack.ports import free_port

EXPOSITION = """\
# HELP attendance_writer_stored_total Records stored.
# TYPE attendance_writer_stored_total counter
attendance_writer_stored_total{kind="sign-in"} 12.0
attendance_writer_stored_total{kind="picture"} 3.0
attendance_writer_stored_total_seconds 99.0
attendance_writer_batches 1e3
"""


def test_a_total_is_the_sum_over_labels_and_of_that_name_alone() -> None:
    assert metric_total(EXPOSITION, "attendance_writer_stored_total") == 15
    assert metric_total(EXPOSITION, "attendance_writer_batches") == 1000


def test_a_metric_that_is_not_there_is_none_and_not_zero() -> None:
    assert metric_total(EXPOSITION, "attendance_writer") is None


def test_no_answer_is_told_with_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}/readyz"
    with pytest.raises(RequestFailed, match=url):
        get(url)
