"""What the simulator says of itself."""

import json

import pytest

from terminal_simulator.report import json_line, percentile, readable_line, summary
from terminal_simulator.tally import Tally


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_percentiles_are_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_the_percentile_of_nothing_is_none() -> None:
    assert percentile([], 0.5) is None


def test_a_json_line_has_the_cumulative_counts_and_only_the_latest_latencies() -> None:
    tally = Tally(online=3, heartbeats=4, sign_ins_sent=5, acknowledged=2, refused=1, unanswered=1, reconnects=7)
    tally.latencies_ms = [1.0, 2.0, 3.004]
    first, second = json.loads(json_line(tally)), json.loads(json_line(tally))
    assert first["latencyMsP50"] == 2.0
    assert first["latencyMsP99"] == 3.0
    assert second["latencyMsP50"] is None
    for line in (first, second):
        counts = [line[name] for name in ("online", "heartbeats", "signInsSent", "acknowledged", "refused")]
        assert counts == [3, 4, 5, 2, 1]
        assert (line["unanswered"], line["reconnects"]) == (1, 7)


def test_a_readable_line_names_the_last_fault_only_while_terminals_are_missing() -> None:
    tally = Tally(online=1, last_fault="cannot connect: refused")
    assert "cannot connect: refused" in readable_line(tally, 2, 5.0)
    assert "cannot connect" not in readable_line(tally, 1, 5.0)
    assert "online 1/2" in readable_line(tally, 2, 5.0)


def test_the_summary_counts_error_answers_by_code() -> None:
    tally = Tally(sign_ins_sent=9, acknowledged=8)
    tally.errors.update(["400_02", "400_02", ""])
    text = summary(tally, 2, 60.0)
    assert "400_02 2×" in text
    assert "without code 1×" in text
    assert "9 sent, 8 acknowledged" in text


def test_tasks_are_reported_by_outcome() -> None:
    tally = Tally(tasks=3, commands=1, tasks_fetched=2)
    tally.tasks_reported.update(["done", "done", "failed"])
    line = json.loads(json_line(tally))
    assert (line["tasks"], line["commands"], line["tasksFetched"]) == (3, 1, 2)
    assert line["tasksReported"] == {"done": 2, "failed": 1}
    assert "commands pushed 1, fetched 2, reported done 2, failed 1" in summary(tally, 2, 60.0)


def test_workers_rosters_and_firmware_are_reported() -> None:
    tally = Tally(persons_taken=40, persons_failed=1, faces_taken=30, faces_failed=2, persons_deleted=4)
    tally.rosters_reported, tally.packages_installed, tally.strayed = 5, 6, 7
    tally.answers_lost, tally.wrong_signatures = 8, 9
    line = json.loads(json_line(tally))
    told = ("personsTaken", "personsFailed", "facesTaken", "facesFailed", "personsDeleted")
    assert [line[name] for name in told] == [40, 1, 30, 2, 4]
    others = ("rostersReported", "packagesInstalled", "strayed", "answersLost", "wrongSignatures")
    assert [line[name] for name in others] == [5, 6, 7, 8, 9]
    text = summary(tally, 2, 60.0)
    assert "40 taken (1 failed), 30 faces (2 failed), 4 deleted" in text
    assert "rosters reported    5, terminals that strayed 7" in text
    assert "firmware installed  6" in text
    assert "wrong signatures    9; answers lost on purpose 8" in text
