"""A device's report corrects what is believed of it (T11)."""

import pytest

from shared.domain.persons import PersonVersions
from shared.domain.roster_plans import Comparison, compared
from shared.domain.roster_reports import Reported, ReportPage, corrected, report_begun, whole_report
from shared.domain.rosters import ANY_FACE, NO_FACE, OTHER_NAME, SOME_FACE, Held, Planned, Roster, begun
from shared.protocol.apicodes import Apicode
from tests.support.session_values import NOW_MS

P1 = PersonVersions(1, 3, 3)
HELD_1 = Held(name=1, face=3)
REPORT = Planned(task_id="1", apicode=Apicode.T_POST_DEVICE_PERSON, at_ms=NOW_MS, by_planner=False)


def reported(name: int | None = 1, *, has_face: bool | None = True) -> Reported:
    return Reported(name=name, has_face=has_face)


def page(number: int, total: int, *person_ids: str) -> ReportPage:
    return ReportPage(number=number, total=total, persons=dict.fromkeys(person_ids, reported()))


def after(report: dict[str, Reported], *, desired: tuple[str, ...] = ("P1",), **believed: Held) -> dict[str, Held]:
    roster = begun(Roster(believed=believed), REPORT)
    return dict(corrected(roster, "1", report, desired, NOW_MS).believed)


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_t11_a_report_is_whole_when_pages_1_to_total_are_there_in_any_order() -> None:
    pages = [page(3, 3), page(1, 3, "P1")]
    assert whole_report(pages, 3) is None
    assert whole_report([*pages, page(2, 3, "P2")], 3) == {"P1": reported(), "P2": reported()}


def test_t11_pages_of_an_earlier_try_with_another_total_do_not_count() -> None:
    assert whole_report([page(1, 3, "P1"), page(2, 2, "P2")], 2) is None
    assert whole_report([page(1, 2, "P1"), page(2, 2, "P2"), page(3, 3, "P3")], 2) == {
        "P1": reported(),
        "P2": reported(),
    }


# ── corrections ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_t11_who_is_reported_as_believed_stays_so_and_an_unsure_one_is_sure_now() -> None:
    assert after({"P1": reported()}, P1=HELD_1) == {"P1": HELD_1}
    assert after({"P1": reported()}, P1=Held(sure=False)) == {"P1": Held(name=1, face=SOME_FACE)}


def test_t11_who_is_not_reported_is_gone() -> None:
    assert after({}, P1=HELD_1, P2=Held(sure=False)) == {}


def test_t11_who_is_reported_and_was_not_believed_is_ours_where_they_belong_to_the_site_else_foreign() -> None:
    assert after({"P1": reported(), "P2": reported(OTHER_NAME)}) == {
        "P1": Held(name=1, face=SOME_FACE),
        "P2": Held(name=OTHER_NAME, face=SOME_FACE, foreign=True),
    }


def test_t11_of_a_face_that_was_never_reported_nothing_is_known() -> None:
    assert after({"P1": reported(has_face=None)}) == {"P1": Held(name=1, face=ANY_FACE)}


def test_t11_who_was_foreign_stays_so_until_they_belong_to_the_site() -> None:
    foreign = Held(foreign=True)
    assert after({"P1": reported()}, desired=(), P1=foreign) == {"P1": Held(name=1, face=SOME_FACE, foreign=True)}
    assert after({"P1": reported()}, P1=foreign) == {"P1": Held(name=1, face=SOME_FACE)}


def test_who_is_taken_off_the_site_and_still_there_is_not_foreign() -> None:
    assert after({"P1": reported()}, desired=(), P1=HELD_1) == {"P1": HELD_1}


@pytest.mark.parametrize(
    ("has_face", "believed", "face"),
    [
        (True, 3, 3),
        (True, NO_FACE, SOME_FACE),
        (True, SOME_FACE, SOME_FACE),
        (False, 3, NO_FACE),
        (False, SOME_FACE, NO_FACE),
        (None, 3, 3),
        (None, NO_FACE, NO_FACE),
        (None, ANY_FACE, ANY_FACE),
        (True, ANY_FACE, SOME_FACE),
        (False, ANY_FACE, NO_FACE),
    ],
)
def test_t11_of_a_face_the_report_says_only_whether_there_is_one(
    believed: int, face: int, *, has_face: bool | None
) -> None:
    assert after({"P1": reported(has_face=has_face)}, P1=Held(name=1, face=believed)) == {"P1": Held(name=1, face=face)}


@pytest.mark.parametrize(("name", "believed", "held"), [(2, 1, 2), (OTHER_NAME, 1, OTHER_NAME), (None, 1, 1)])
def test_t11_what_was_not_reported_is_not_compared(name: int | None, believed: int, held: int) -> None:
    assert after({"P1": reported(name)}, P1=Held(name=believed, face=3)) == {"P1": Held(name=held, face=3)}


def test_t11_whom_another_task_changes_at_the_same_time_is_shown_as_reported_and_stays_unsure() -> None:
    persons = dict.fromkeys(("P1", "P2", "P4", "P5"), P1)
    sent = Planned(task_id="2", apicode=Apicode.T_SEND_PERSON, at_ms=NOW_MS, by_planner=False, persons=persons)
    believed = dict.fromkeys(("P1", "P3", "P4"), HELD_1)
    roster = begun(begun(Roster(believed=believed), REPORT), sent)
    rows = {"P1": reported(), "P2": reported(OTHER_NAME), "P6": reported()}
    desired = dict.fromkeys(("P1", "P2", "P3", "P4", "P5"), P1)
    after_report = corrected(roster, "1", rows, desired, NOW_MS)
    assert not any(after_report.believed[person_id].sure for person_id in ("P1", "P2", "P4"))
    assert compared(after_report, desired) == Comparison(
        missing=["P3", "P4", "P5"], extra=["P6"], different={"P2": ["name"]}
    )
    off_the_site = dict.fromkeys(("P2", "P3", "P5"), P1)
    assert compared(after_report, off_the_site).extra == ["P1", "P6"], "P4 was not reported"


def test_a_report_whose_task_has_ended_changes_nothing() -> None:
    roster = Roster(believed={"P1": HELD_1})
    assert corrected(roster, "1", {}, (), NOW_MS) == report_begun(roster, "1") == roster


def test_t11_a_report_is_incomplete_from_its_first_page_to_its_last() -> None:
    roster = report_begun(begun(Roster(), REPORT), "1")
    assert (roster.report_id, roster.report_is_whole, roster.reported_at_ms) == ("1", False, None)
    roster = corrected(roster, "1", {}, (), NOW_MS)
    assert (roster.report_is_whole, roster.reported_at_ms) == (True, NOW_MS)
    assert report_begun(roster, "1") == roster
    newer = Planned(task_id="2", apicode=Apicode.T_POST_DEVICE_PERSON, at_ms=NOW_MS, by_planner=False)
    roster = report_begun(begun(roster, newer), "2")
    assert (roster.report_id, roster.report_is_whole, roster.reported_at_ms) == ("2", False, NOW_MS)
