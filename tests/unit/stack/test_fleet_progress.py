"""What `make run` shows: read from logs that are being written, and true over restarts."""

import json
from typing import Any

from stack.fleet_progress import Progress, last_report
from stack.site_story import Told


def report(**changed: Any) -> dict[str, Any]:
    counts = {"online": 5, "heartbeats": 10, "signInsSent": 20, "acknowledged": 18, "refused": 1, "unanswered": 1}
    tasks = {"commands": 2, "tasksFetched": 3, "tasksReported": {"done": 3, "failed": 1}}
    site = {"personsTaken": 40, "facesTaken": 30, "personsFailed": 1, "facesFailed": 2, "personsDeleted": 4}
    site |= {"rostersReported": 5, "packagesInstalled": 6, "wrongSignatures": 0}
    return {**counts, **tasks, **site, "latencyMsP50": 3.2, "latencyMsP99": 11.8, **changed}


def test_the_last_whole_report_counts() -> None:
    whole = "\n".join(json.dumps(report(online=online)) for online in (1, 2))
    assert last_report(whole + "\n") == report(online=2)
    assert last_report(whole + '\n{"online": 3, "heart') == report(online=2)


def test_other_lines_of_the_log_are_no_reports() -> None:
    text = json.dumps(report()) + '\nsome warning\n{"other": 1}\n{broken}\n'
    assert last_report(text) == report()
    assert last_report("some warning\n") is None
    assert last_report("") is None


def test_the_stored_count_goes_on_when_the_writer_was_started_again() -> None:
    progress = Progress(terminals=5)
    totals = []
    for stored in (0, 5, 9, 0, 2, 7, 1):
        progress.take_writer(stored, 0)
        totals.append(progress.stored)
    assert totals == [0, 5, 9, 9, 11, 16, 17]
    assert dict(progress.totals())["stored"] == "17 or more: the writer was restarted"


def test_what_a_killed_writer_stored_uncounted_is_not_shown_as_lag() -> None:
    progress = Progress(terminals=5)
    progress.take_report(0.0, report(acknowledged=18))
    progress.take_writer(10, 8)
    assert progress.waiting == 8
    progress.take_writer(0, 0)  # started again, and without partitions yet
    assert progress.waiting == 8
    progress.take_writer(3, 5)  # it had stored 12 when it was killed
    assert progress.waiting == 5
    progress.take_writer(6, 0)
    assert progress.waiting == 0
    progress.writer_lag = None  # it does not answer: only the difference is known
    assert progress.waiting == 2


def test_rates_are_those_of_the_last_seconds() -> None:
    progress = Progress(terminals=5)
    assert progress.sign_ins_per_second == 0
    for second in range(20):
        # 100 sign-ins a second at first, then 10.
        sent = second * 100 if second < 10 else 1000 + (second - 10) * 10
        progress.take_report(float(second), report(signInsSent=sent, heartbeats=second * 2))
    assert progress.sign_ins_per_second == 10
    assert progress.heartbeats_per_second == 2


def test_lag_is_what_was_acknowledged_and_is_not_stored() -> None:
    progress = Progress(terminals=5)
    progress.take_report(0.0, report(acknowledged=18))
    progress.take_writer(11, 9)
    assert dict(progress.rows())["lag"] == "7 (records not consumed: 9)"
    progress.writer_lag = None
    assert dict(progress.rows())["lag"] == "7"
    progress.take_writer(20, 0)
    assert dict(progress.totals())["not yet stored"] == "0"


def test_the_line_shows_every_figure() -> None:
    progress = Progress(terminals=6)
    progress.take_report(0.0, report())
    progress.stored = 17
    line = progress.line()
    for shown in (
        "5 of 6",
        "heartbeats 10",
        "sent 20",
        "acknowledged 18 (refused 1, unanswered 1)",
        "stored 17",
        "p50 3",
    ):
        assert shown in line


def test_tasks_are_shown_from_their_making_to_their_report() -> None:
    progress = Progress(terminals=6, tasks_made=6)
    progress.take_report(0.0, report())
    assert dict(progress.rows())["tasks"] == "6 made, 2 pushed, 3 fetched, 4 reported"
    assert dict(progress.totals())["tasks"] == dict(progress.rows())["tasks"]


def test_the_site_s_workers_rosters_and_firmware_are_shown() -> None:
    progress = Progress(terminals=6, story=Told(workers=40, terminals=5, step="reconciles"))
    progress.take_report(0.0, report())
    rows = dict(progress.rows())
    assert rows["workers"] == "40 with faces at 5 terminals: 40 loaded, 30 faces, 3 failed, 4 deleted"
    assert (rows["rosters"], rows["firmware"], rows["site story"]) == ("5 reported", "6 installed", "reconciles")
    progress.story.differences = 3
    progress.take_report(1.0, report(wrongSignatures=2))
    totals = dict(progress.totals())
    assert totals["rosters"] == "5 reported, 3 differences found and made good"
    assert totals["workers"].endswith("; wrong signatures 2")
