"""What a terminal does for each task, step by step (3.3 to 3.8): what it asks, what it then holds, what it reports."""

import hashlib
import json
from typing import Any

import json5
import pytest

from terminal_simulator.calls import Call, Downloaded
from terminal_simulator.holdings import Face, HeldPerson
from terminal_simulator.jobs import RANGE_BYTES
from terminal_simulator.signing import ParamStyle, SignForm
from terminal_simulator.wire import MalformedAnswer
from tests.unit.terminal_simulator.errand_bench import (
    SECRET,
    SN,
    TOKEN,
    A,
    Bench,
    md5,
    param_of,
    refusal,
    reliable,
    success,
    success_to,
)

SEND, UPDATE, DELETE = "T_SEND_PERSON", "T_UPDATE_DEVICE_PERSON", "T_DEL_DEVICE_PERSON"
CLEAR, INSTALL, REPORT = "T_CLEAR_DEVICE_PERSON", "T_UPDATE_DEVICE_VERSION", "T_POST_DEVICE_PERSON"
URL = "https://gate.example/api/device/files/faces/1?expires=9&signature=s"
FACE = b"\xff\xd8\xff\xe0 a face \xff\xd9"
HELD_FACE = Face('"e1"', hashlib.sha256(FACE).hexdigest())


def person(person_id: str, name: str, *urls: str) -> dict[str, object]:
    return {"personId": person_id, "name": name, "imgUrls": list(urls)}


def page(*persons: dict[str, object], number: int = 1, total: int = 1) -> dict[str, object]:
    return {"data": list(persons), "currentPage": number, "totalPage": total}


def begun(apicode: str, bench: Bench | None = None, param: dict[str, object] | None = None) -> Bench:
    bench = bench or Bench()
    bench.errands.pushed({"taskid": A, "param": param or {}}, apicode)
    return bench


# ── persons ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("apicode", [SEND, UPDATE])
def test_t8_all_pages_are_loaded_with_their_faces_and_counted_in_the_report(apicode: str) -> None:
    bench = begun(apicode, Bench(reliable(page_size=2)))
    first = bench.give(apicode, page(person("1", "甲", URL), person("2", "乙"), total=2))
    assert param_of(first) == {"currentPage": 1, "totalPage": 1, "size": 2}
    assert bench.load(200, FACE, '"e1"').url == URL
    second = bench.give(apicode, page(person("3", "丙", URL), number=2, total=2))
    assert param_of(second) == {"currentPage": 2, "totalPage": 2, "size": 2}
    bench.load(200, FACE, '"e1"')
    assert bench.report() == {"taskId": [A], "status": 1, "personCount": 3, "faceCount": 2}
    assert bench.holdings.persons == {
        "1": HeldPerson("甲", HELD_FACE),
        "2": HeldPerson("乙", None),
        "3": HeldPerson("丙", HELD_FACE),
    }
    assert (bench.tally.persons_taken, bench.tally.faces_taken) == (3, 2)


def test_t8_of_nobody_there_is_one_empty_page() -> None:
    bench = begun(SEND)
    bench.give(SEND, page(total=0))
    assert bench.report() == {"taskId": [A], "status": 1, "personCount": 0, "faceCount": 0}


def test_a_face_that_is_held_already_is_asked_for_by_its_etag_and_kept() -> None:
    bench = begun(UPDATE)
    bench.holdings.persons["1"] = HeldPerson("old", HELD_FACE)
    bench.give(UPDATE, page(person("1", "new", URL)))
    assert bench.load(304).etag == '"e1"'
    bench.report()
    assert bench.holdings.persons == {"1": HeldPerson("new", HELD_FACE)}
    assert bench.tally.faces_taken == 0


def test_a_person_whose_face_was_taken_away_is_held_without_it() -> None:
    bench = begun(UPDATE)
    bench.holdings.persons["1"] = HeldPerson("old", HELD_FACE)
    bench.give(UPDATE, page(person("1", "old")))
    assert bench.report()["faceCount"] == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (403, b"{}"), (200, b"<html>"), (200, b""), (304, b""), (200, b"\xff\xd8\xff" + bytes(4_194_304))],
    ids=["gone", "forbidden", "no picture", "empty", "unchanged, though nothing is held", "too large"],
)
def test_3_2_a_face_that_cannot_be_had_is_reported_and_the_person_is_held_without(status: int, body: bytes) -> None:
    bench = begun(SEND)
    bench.give(SEND, page(person("1", "甲", URL)))
    bench.load(status, body)
    report = bench.report()
    assert (report["status"], report["failedFaces"]) == (1, [{"personId": "1", "errCode": "404_2"}])
    assert (report["personCount"], report["faceCount"]) == (1, 0)


def wait(bench: Bench) -> None:
    assert bench.errands.next_call(TOKEN, bench.now) is None
    bench.now += 5


def test_a_download_that_never_comes_is_tried_three_times() -> None:
    bench = begun(SEND)
    bench.give(SEND, page(person("1", "甲", URL), person("2", "乙", URL)))
    for _ in range(3):
        bench.download()
        bench.errands.not_answered(bench.now)
        wait(bench)
    bench.load(200, FACE)
    assert bench.report()["failedFaces"] == [{"personId": "1", "errCode": "404_2"}]


def test_a_download_that_the_platform_cannot_serve_now_is_asked_for_again_and_each_has_its_own_tries() -> None:
    bench = begun(SEND)
    bench.give(SEND, page(person("1", "甲", URL), person("2", "乙", URL)))
    for _ in "12":
        for _ in range(2):
            bench.load(503)
            wait(bench)
        bench.load(200, FACE)
    assert bench.report()["faceCount"] == 2


def test_shares_of_persons_and_faces_fail_with_their_codes() -> None:
    bench = begun(SEND, Bench(reliable(failed_persons_share=0.2, failed_faces_share=0.5)))
    bench.give(SEND, page(*(person(str(number), "甲", URL) for number in range(400))))
    while bench.errands._outcomes == {}:
        bench.load(200, FACE)
    report = bench.report()
    persons, faces = report["failedPersons"], report["failedFaces"]
    assert {one["errCode"] for one in persons} == {"507_1"}
    assert {one["errCode"] for one in faces} == {"404_1"}
    assert 50 < len(persons) < 110
    assert 120 < len(faces) < 200
    assert report["personCount"] == 400 - len(persons)
    assert report["faceCount"] == 400 - len(persons) - len(faces)
    assert (bench.tally.persons_failed, bench.tally.faces_failed) == (len(persons), len(faces))


def test_a_person_who_fails_stays_as_it_was_held() -> None:
    bench = begun(UPDATE, Bench(reliable(failed_persons_share=1.0)))
    bench.holdings.persons["1"] = HeldPerson("old", HELD_FACE)
    bench.give(UPDATE, page(person("1", "new", URL)))
    assert bench.report()["failedPersons"] == [{"personId": "1", "errCode": "507_1"}]
    assert bench.holdings.persons == {"1": HeldPerson("old", HELD_FACE)}


def test_a_task_that_is_to_fail_fails_half_way() -> None:
    bench = begun(SEND, Bench(reliable(failed_share=1.0)))
    for number in range(10):
        bench.give(SEND, page(person(str(number), "甲"), number=number + 1, total=10))
        if bench.errands._outcomes:
            break
    report = bench.report()
    assert report["status"] == 2
    assert 1 <= report["personCount"] <= 5
    assert "failedPersons" not in report


def test_t9_those_who_are_named_are_deleted() -> None:
    bench = begun(DELETE)
    bench.holdings.persons.update({one: HeldPerson("甲", HELD_FACE) for one in "123"})
    assert "param" not in json.loads(bench.give(DELETE, {"personIds": ["1", "3", "9"]}).body)
    assert bench.report() == {"taskId": [A], "status": 1, "personCount": 1, "faceCount": 1}
    assert bench.tally.persons_deleted == 2


def test_t9_everybody_is_cleared_once_the_platform_confirms_it() -> None:
    bench = begun(CLEAR)
    bench.holdings.persons["1"] = HeldPerson("甲", None)
    call = bench.call(CLEAR)
    assert bench.holdings.persons
    bench.answer(call, success_to(call))
    assert bench.report()["personCount"] == 0


# ── firmware ──────────────────────────────────────────────────────────────────────────────────────────────────────

PACKAGE = bytes(range(256)) * (RANGE_BYTES // 256 * 2) + b"end"
TOLD = {
    "version": "2.4.1",
    "size": len(PACKAGE),
    "downloadUrl": "https://gate.example/old",
    "sha256": hashlib.sha256(PACKAGE).hexdigest(),
}


def load_package(bench: Bench, package: bytes = PACKAGE) -> list[tuple[int, int]]:
    """Serves the ranges that are asked for; which those were."""
    ranges = []
    while not bench.errands._outcomes:
        download = bench.download()
        assert (download.url, download.is_range) == ("https://gate.example/new", True)
        ranges.append((download.start, download.end))
        bench.errands.downloaded(Downloaded(206, package[download.start : download.end]), bench.now)
    return ranges


def test_t10_a_package_is_loaded_in_ranges_checked_and_from_then_on_is_the_device_s_version() -> None:
    bench = begun(INSTALL, param=TOLD)
    asked = bench.give(INSTALL, {**TOLD, "downloadUrl": "https://gate.example/new"})
    assert param_of(asked) == {name: TOLD[name] for name in ("version", "size", "downloadUrl")}
    assert bench.holdings.device_version == "simulator-1.0"
    assert load_package(bench) == [
        (0, RANGE_BYTES),
        (RANGE_BYTES, 2 * RANGE_BYTES),
        (2 * RANGE_BYTES, 2 * RANGE_BYTES + 3),
    ]
    assert bench.report()["status"] == 1
    assert bench.holdings.device_version == "2.4.1"
    assert bench.tally.packages_installed == 1


def test_t10_the_loose_style_asks_without_param_as_printed() -> None:
    bench = begun(INSTALL, Bench(reliable(style=ParamStyle.LOOSE)), TOLD)
    assert "param" not in json5.loads(bench.call(INSTALL).body.decode())


@pytest.mark.parametrize(
    "package",
    [PACKAGE[:-1] + b"!", PACKAGE[:-1], b""],
    ids=["another content", "too short", "nothing"],
)
def test_t10_a_package_that_is_not_the_one_named_is_not_installed(package: bytes) -> None:
    bench = begun(INSTALL, param=TOLD)
    bench.give(INSTALL, {**TOLD, "downloadUrl": "https://gate.example/new"})
    load_package(bench, package)
    assert bench.report()["status"] == 2
    assert (bench.holdings.device_version, bench.tally.packages_installed) == ("simulator-1.0", 0)


def test_t10_a_package_of_another_size_is_not_installed_where_no_hash_is_told() -> None:
    bench = begun(INSTALL, param={name: value for name, value in TOLD.items() if name != "sha256"})
    bench.give(INSTALL, {"downloadUrl": "https://gate.example/new"})
    load_package(bench, PACKAGE[:-1])
    assert bench.report()["status"] == 2


def test_s5_the_unsigned_response_does_not_change_which_package_it_is() -> None:
    bench = begun(INSTALL, param=TOLD)
    another = b"another" + PACKAGE[7:]
    forged = {**TOLD, "downloadUrl": "https://gate.example/new", "sha256": hashlib.sha256(another).hexdigest()}
    bench.give(INSTALL, forged)
    load_package(bench, another)
    assert bench.report()["status"] == 2


# ── reports ───────────────────────────────────────────────────────────────────────────────────────────────────────


def holding(count: int, **habits: Any) -> Bench:
    bench = Bench(reliable(**habits))
    bench.holdings.persons.update(
        {str(number): HeldPerson(f"name {number}", HELD_FACE if number % 2 else None) for number in range(count)}
    )
    return bench


def test_t11_the_roster_is_reported_in_pages() -> None:
    bench = begun(REPORT, holding(5, page_size=2))
    pages = [param_of(bench.give(REPORT)) for _ in range(3)]
    assert [(one["currentPage"], one["totalPage"], len(one["data"])) for one in pages] == [
        (1, 3, 2),
        (2, 3, 2),
        (3, 3, 1),
    ]
    assert {**pages[0]["data"][0]} == {"personId": "0", "name": "name 0", "hasImg": 0}
    assert (pages[0]["data"][1]["hasImg"], pages[0]["data"][1]["img"][:4]) == (1, "/9j/")  # a JPEG in base64
    assert bench.report() == {"taskId": [A], "status": 1, "personCount": 5, "faceCount": 2}
    assert bench.tally.rosters_reported == 1


def test_t11_a_terminal_that_holds_nobody_says_so_with_one_empty_page() -> None:
    bench = begun(REPORT)
    assert param_of(bench.give(REPORT)) == {"data": [], "currentPage": 1, "totalPage": 1}
    assert bench.report()["status"] == 1


@pytest.mark.parametrize("excluded", ["img, name", ["img", "name"]])
def test_3_1_the_fields_that_the_task_excludes_are_left_out(excluded: object) -> None:
    bench = begun(REPORT, holding(2), {"excludeFields": excluded})
    assert param_of(bench.give(REPORT))["data"] == [{"personId": "0", "hasImg": 0}, {"personId": "1", "hasImg": 1}]


@pytest.mark.parametrize("form", SignForm)
@pytest.mark.parametrize("style", ParamStyle)
def test_s4_a_report_is_signed_without_its_pictures(style: ParamStyle, form: SignForm) -> None:
    bench = begun(REPORT, holding(2, style=style, form=form))
    body = bench.call(REPORT).body.decode()
    sent = json5.loads(body)
    image = sent["param"]["data"][1]["img"]
    # By hand: a member is cut from its own start to the start of the next one.
    text = {
        ParamStyle.STRICT: '{"data": [{"personId": "0", "name": "name 0", "hasImg": 0}, {"personId": "1", "name": '
        f'"name 1", "img": "{image}", "hasImg": 1}}], "currentPage": 1, "totalPage": 1}}',
        ParamStyle.LOOSE: '{data:[{personId:"0",name:"name 0",hasImg:0},{personId:"1",name:'
        f'"name 1",img:"{image}",hasImg:1}}],currentPage:1,totalPage:1}}',
    }[style]
    assert text in body
    compact = '[{"personId":"0","name":"name 0","hasImg":0},{"personId":"1","name":"name 1","hasImg":1}]'
    ordered = '[{"hasImg":0,"name":"name 0","personId":"0"},{"hasImg":1,"name":"name 1","personId":"1"}]'
    signed = {
        SignForm.AS_SENT: text.replace(f'"img": "{image}", ', "").replace(f'img:"{image}",', ""),
        SignForm.COMPACT: f'{{"data":{compact},"currentPage":1,"totalPage":1}}',
        SignForm.SORTED: f'{{"currentPage":1,"data":{ordered},"totalPage":1}}',
    }[form]
    assert sent["sign"] == md5("v1.0.0", SN, TOKEN, A, REPORT, signed, SECRET)


def test_a_terminal_that_strays_holds_one_less_one_misnamed_and_one_stranger_once() -> None:
    bench = begun(REPORT, holding(6, straying_share=1.0))
    data = param_of(bench.give(REPORT))["data"]
    bench.report()
    told = {one["personId"]: one["name"] for one in data}
    ours = {str(number): f"name {number}" for number in range(6)}
    assert len(ours.keys() - told.keys()) == 1
    (stranger,) = told.keys() - ours.keys()
    assert len([one for one in told.keys() & ours.keys() if told[one] != ours[one]]) == 1
    assert told == {one: held.name for one, held in bench.holdings.persons.items()}  # it is no lie
    del bench.holdings.persons[stranger]
    bench.errands.listed([])
    begun(REPORT, bench)
    assert len(param_of(bench.give(REPORT))["data"]) == 5
    assert bench.tally.strayed == 1


# ── requests and answers ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("apicode", "param"),
    [
        (SEND, '{"currentPage": 1, "totalPage": 1, "size": 50}'),
        (UPDATE, '{"currentPage": 1, "totalPage": 1, "size": 50}'),
        (DELETE, ""),
        (CLEAR, ""),
        (INSTALL, ""),
        (REPORT, '{"data": [], "currentPage": 1, "totalPage": 1}'),
    ],
)
def test_s2_calls_of_a_task_s_own_interface_sign_its_id(apicode: str, param: str) -> None:
    body = json.loads(begun(apicode).call(apicode).body)
    assert body["taskid"] == A
    assert ("param" in body) == bool(param)
    assert body["sign"] == md5("v1.0.0", SN, TOKEN, A, apicode, param, SECRET)


def test_j4_the_loose_style_sends_a_page_s_param_as_text_as_printed() -> None:
    call = begun(SEND, Bench(reliable(style=ParamStyle.LOOSE))).call(SEND)
    sent = json5.loads(call.body.decode())
    assert sent["param"] == "{currentPage:1,totalPage:1,size:50}"
    assert sent["sign"] == md5("v1.0.0", SN, TOKEN, A, SEND, sent["param"], SECRET)


@pytest.mark.parametrize("apicode", [SEND, UPDATE, DELETE, CLEAR, INSTALL, REPORT])
def test_s5_an_answer_signed_without_the_task_s_id_is_wrong_and_counted(apicode: str) -> None:
    bench = begun(apicode, param=TOLD if apicode == INSTALL else None)
    with pytest.raises(MalformedAnswer, match="signature"):
        bench.answer(bench.call(apicode), success('{"personIds":[]}'))
    bench.now += 5
    with pytest.raises(MalformedAnswer, match="signature"):
        bench.answer(bench.call(apicode), refusal("400_02"))
    assert bench.tally.wrong_signatures == 2
    bench.now += 5
    bench.call(apicode)


@pytest.mark.parametrize(
    ("apicode", "response"),
    [
        (SEND, None),
        (SEND, {"data": [], "currentPage": 1}),
        (SEND, {"data": 1, "totalPage": 1}),
        (SEND, {"data": [{"name": "甲"}], "totalPage": 1}),
        (SEND, {"data": [{"personId": "1", "name": 5}], "totalPage": 1}),
        (SEND, {"data": ["1"], "totalPage": "many"}),
        (DELETE, None),
        (DELETE, {"personIds": "1"}),
        (INSTALL, None),
        (INSTALL, {"version": "2", "size": "large", "downloadUrl": URL}),
    ],
)
def test_a_response_that_lacks_what_the_standard_says_fails_its_task_and_is_named(
    apicode: str, response: object
) -> None:
    bench = begun(apicode)
    call: Call = bench.call(apicode)
    with pytest.raises(MalformedAnswer):
        bench.answer(call, success_to(call, response))
    bench.now += 5
    assert bench.report()["status"] == 2
