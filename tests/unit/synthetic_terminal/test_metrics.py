"""What is there to be scraped, from the first moment on."""

import re
from pathlib import Path

from prometheus_client import generate_latest

from synthetic_terminal.metrics import SyntheticTerminalMetrics

OUTCOMES = {
    "success", "400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01", "unanswered", "not_stored",
    "refused_connection",
}  # fmt: skip


def exposed(metrics: SyntheticTerminalMetrics) -> str:
    return generate_latest(metrics.process.registry).decode()


def test_every_outcome_is_exported_as_0_before_anything_happened() -> None:
    metrics = SyntheticTerminalMetrics()
    text = exposed(metrics)
    counted = [line for line in text.splitlines() if line.startswith("synthetic_terminal_sign_ins_total{")]
    assert {line.split('outcome="')[1].split('"')[0] for line in counted} == OUTCOMES
    assert {line.rpartition(" ")[2] for line in counted} == {"0.0"}
    assert "\nsynthetic_terminal_last_success_timestamp_seconds 0.0\n" in text
    metrics.process.close()


def test_the_page_of_metrics_names_those_that_there_are_and_no_other() -> None:
    metrics = SyntheticTerminalMetrics()
    metrics.answer_seconds.record(0.02)
    metrics.stored_seconds.record(3.0)
    there = set(re.findall(r"^# TYPE (synthetic_terminal_\w+) ", exposed(metrics), re.MULTILINE))
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(synthetic_terminal_\w+)`", page, re.MULTILINE)) == there
    assert len(there) == 4
    metrics.process.close()


def test_times_are_histograms_under_their_names() -> None:
    metrics = SyntheticTerminalMetrics()
    metrics.answer_seconds.record(0.02)
    metrics.stored_seconds.record(3.0)
    text = exposed(metrics)
    assert 'synthetic_terminal_answer_seconds_bucket{le="0.025"} 1.0' in text
    assert 'synthetic_terminal_answer_seconds_bucket{le="0.01"} 0.0' in text
    assert 'synthetic_terminal_stored_seconds_bucket{le="5.0"} 1.0' in text
    assert 'synthetic_terminal_stored_seconds_bucket{le="2.5"} 0.0' in text
    metrics.process.close()
