"""What examples/workers_on_site counts, apart from Kafka."""

from typing import Any

from examples.workers_on_site.workers_on_site import WorkersOnSite

HOUR_MS = 3_600_000
NOW_MS = 1_795_500_000_000


def passage(person: str, ago_ms: int, direction: str | None, site: str | None = "s1") -> dict[str, Any]:
    return {"personId": person, "recordTime": NOW_MS - ago_ms, "direction": direction, "siteId": site}


def taken(*passages: tuple[str, dict[str, Any]]) -> WorkersOnSite:
    """An hour of eight, and these records in this order."""
    workers = WorkersOnSite(8 * HOUR_MS)
    for ce_id, event in passages:
        workers.take(ce_id, event, NOW_MS)
    return workers


def test_whose_last_passage_led_in_is_on_site_and_who_left_is_not() -> None:
    report = taken(
        ("1", passage("anna", 3 * HOUR_MS, "in")),
        ("2", passage("bo", 3 * HOUR_MS, "in")),
        ("3", passage("bo", HOUR_MS, "out")),
        ("4", passage("chen", HOUR_MS, "in", "s2")),
        ("5", passage("dai", HOUR_MS, "in", None)),
    ).report(NOW_MS)
    assert (report["onSite"], report["bySite"]) == (3, {"no site": 1, "s1": 1, "s2": 1})
    assert report["passages"] == {"in": 4, "out": 1}


def test_a_record_that_stands_twice_is_counted_once() -> None:
    once, again = ("1", passage("anna", HOUR_MS, "in")), ("1", passage("anna", HOUR_MS, "in"))
    report = taken(once, ("2", passage("anna", HOUR_MS // 2, "out")), again, again).report(NOW_MS)
    assert (report["onSite"], report["passages"], report["duplicates"]) == (0, {"in": 1, "out": 1}, 2)


def test_a_passage_that_was_uploaded_late_does_not_overrule_what_happened_after_it() -> None:
    report = taken(("1", passage("anna", HOUR_MS, "out")), ("2", passage("anna", 4 * HOUR_MS, "in"))).report(NOW_MS)
    assert report["onSite"] == 0
    assert report["passages"] == {"in": 1, "out": 1}


def test_a_direction_that_is_not_told_leaves_a_worker_neither_in_nor_out() -> None:
    report = taken(("1", passage("anna", HOUR_MS, "both")), ("2", passage("bo", HOUR_MS, None))).report(NOW_MS)
    assert (report["onSite"], report["notTold"]) == (0, 2)
    assert report["passages"] == {"both": 1, "None": 1}


def test_what_is_older_than_the_window_does_not_count_and_is_not_held() -> None:
    workers = taken(("1", passage("anna", 9 * HOUR_MS, "in")), ("2", passage("bo", 7 * HOUR_MS, "in")))
    assert workers.report(NOW_MS)["onSite"] == 1
    later = workers.report(NOW_MS + 2 * HOUR_MS)
    assert (later["onSite"], later["passages"]) == (0, {})
    workers.take("2", passage("bo", 7 * HOUR_MS, "in"), NOW_MS + 2 * HOUR_MS)
    assert workers.report(NOW_MS + 2 * HOUR_MS)["passages"] == {}
