import base64
import hashlib
import json

import msgspec
import pytest

from shared.domain.attendance import AttendanceEvent, Coordinate, PictureReference, rfc3339
from shared.domain.devices import Direction
from shared.domain.operators import Role
from shared.stores.interfaces import AttendanceRecord, StoredDetails, StoredPicture
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem

JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def make_event(event_id: str, record_time: int = NOW_MS, received_ms: int = NOW_MS) -> AttendanceEvent:
    return AttendanceEvent(
        event_id=event_id,
        sn="SN1",
        vendor_id="v1",
        person_id="P1",
        type=1,
        record_time=record_time,
        sent_at=rfc3339(NOW_MS),
        received_at=rfc3339(received_ms),
    )


def add(parts: Parts, *events: AttendanceEvent, has_image: bool = False) -> None:
    for event in events:
        parts.memory.records[event.event_id] = AttendanceRecord(event=event, has_image=has_image)


def add_extra(parts: Parts, text: str) -> None:
    parts.memory.details["e1"] = StoredDetails(event_id="e1", sn="SN1", extra=text, received_at_ms=NOW_MS)


async def test_an_attendance_shows_the_members_of_the_contract() -> None:
    parts = Parts()
    event = msgspec.structs.replace(
        make_event("e1"),
        bit_type=3,
        site_id="site-1",
        direction=Direction.IN,
        temperature=36.7,
        coordinate=Coordinate(120.2, 30.3),
        qr_code_info=msgspec.Raw(b'{"code":12345678901234567890123456789.10}'),
        health_info=msgspec.Raw(b'{"$set":{"a.b":"\\ud800"}}'),
        image=PictureReference("ab" * 32, 17, "image/jpeg"),
    )
    add(parts, event, has_image=True)
    add_extra(parts, '{"vendorNote":"x","$where":1}')
    answer = await parts.ask("GET", "/attendance/e1")
    assert answer.json() == {
        "eventId": "e1",
        "sn": "SN1",
        "vendorId": "v1",
        "personId": "P1",
        "type": 1,
        "bitType": 3,
        "recordTime": 1_795_503_600_000,
        "sentAt": "2026-11-24T07:00:00.000Z",
        "receivedAt": "2026-11-24T07:00:00.000Z",
        "siteId": "site-1",
        "direction": "in",
        "temperature": 36.7,
        "coordinate": {"longitude": 120.2, "latitude": 30.3},
        "qrCodeInfo": {"code": 12345678901234567890123456789.10},
        "healthInfo": {"$set": {"a.b": "\ud800"}},
        "image": {"sha256": "ab" * 32, "size": 17, "contentType": "image/jpeg"},
        "imageDropped": None,
        "hasImage": True,
        "erased": False,
        "extra": {"vendorNote": "x", "$where": 1},
    }
    assert b'"qrCodeInfo":{"code":12345678901234567890123456789.10}' in answer.body


async def test_a_synthetic_sign_in_is_found_by_its_id_says_what_it_is_and_is_in_no_list() -> None:
    parts = Parts()
    await parts.synthetic.add_many([make_event("measured")])
    add(parts, make_event("real"))
    found = (await parts.ask("GET", "/attendance/measured")).json()
    assert (found["eventId"], found["synthetic"], found["hasImage"]) == ("measured", True, False)
    assert "synthetic" not in (await parts.ask("GET", "/attendance/real")).json()
    listed = (await parts.ask("GET", "/attendance")).json()["items"]
    assert [(item["eventId"], "synthetic" in item) for item in listed] == [("real", False)]
    exported = await parts.ask("GET", "/attendance/export")
    assert b"real" in exported.body
    assert b"measured" not in exported.body
    check_problem(await parts.ask("GET", "/attendance/measured/image"), 404)


async def test_a_synthetic_sign_in_is_not_shown_to_an_operator_of_other_sites() -> None:
    parts = Parts()
    await parts.synthetic.add_many([make_event("measured")])
    bound = await parts.make_token(Role.VIEWER, "site-1")
    check_problem(await parts.ask("GET", "/attendance/measured", token=bound), 404)


@pytest.mark.parametrize(
    "text",
    [
        '{"n":123456789012345678901234567890}',
        '{"lone":"\\ud800"}',
        '{"n":1e400}',
        '{"n":' + "9" * 5000 + "}",
        '{"a":' * 64 + "1" + "}" * 64,
    ],
)
async def test_j5_unknown_members_are_answered_as_the_text_that_is_stored(text: str) -> None:
    parts = Parts()
    add(parts, make_event("e1"))
    add_extra(parts, text)
    answer = await parts.ask("GET", "/attendance/e1")
    assert f'"extra":{text}}}'.encode() in answer.body


@pytest.mark.parametrize("text", ['{"n":NaN}', '{"n":-Infinity}', "{n:1}", '{"n":1', "", '{"a":"\n"}'])
async def test_j5_an_answer_stays_json_whatever_is_stored(text: str) -> None:
    parts = Parts()
    add(parts, make_event("e1"))
    add_extra(parts, text)
    answer = await parts.ask("GET", "/attendance")
    assert msgspec.json.decode(answer.body)["items"][0]["extra"] == text


async def test_without_unknown_members_extra_is_null() -> None:
    parts = Parts()
    add(parts, make_event("e1"))
    assert (await parts.ask("GET", "/attendance/e1")).json()["extra"] is None


async def test_an_unknown_attendance_is_a_404_problem() -> None:
    check_problem(await Parts().ask("GET", "/attendance/e1"), 404)
    check_problem(await Parts().ask("GET", "/attendance/e1/image"), 404)


async def test_filters_reach_the_store_as_they_are() -> None:
    parts = Parts()
    await parts.ask(
        "GET",
        "/attendance?sn=%7B%22%24gt%22%3A%22%22%7D&personId=P1&siteId=site-1&from=1000"
        "&to=2026-11-24T15:00:00%2B08:00&receivedAfter=2026-11-24T07:00:00.5Z&limit=7",
    )
    (query,) = parts.attendances.queries
    assert query.sn == '{"$gt":""}'
    assert (query.person_id, query.site_id) == ("P1", "site-1")
    assert (query.from_ms, query.to_ms, query.received_after_ms) == (1000, NOW_MS, NOW_MS + 500)
    assert query.after is None


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1795503600000", 1_795_503_600_000),
        ("2026-11-24T07:00:00Z", 1_795_503_600_000),
        ("2026-11-24t07:00:00z", 1_795_503_600_000),
        ("2026-11-24T15:00:00%2B08:00", 1_795_503_600_000),
        ("2026-11-24T15:00:00+08:00", 1_795_503_600_000),
        ("2026-11-24%2007:00:00.123456789Z", 1_795_503_600_123),
        ("2026-11-23T23:00:00-08:00", 1_795_503_600_000),
        ("0", 0),
    ],
)
async def test_a_time_is_read_in_either_form(text: str, expected_ms: int) -> None:
    parts = Parts()
    assert (await parts.ask("GET", f"/attendance?from={text}")).status == 200
    assert parts.attendances.queries[0].from_ms == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "-1",
        "1.5",
        "2026-11-24",
        "2026-11-24T07:00:00",
        "2026-13-24T07:00:00Z",
        "2026-11-24T25:00:00Z",
        "1969-12-31T23:59:59Z",
        "9" * 15,
        "9" * 40,
        "%D9%A1%D9%A2",
    ],
)
async def test_a_time_in_no_form_is_a_422_problem(text: str) -> None:
    answer = await Parts().ask("GET", f"/attendance?to={text}")
    check_problem(answer, 422)
    assert answer.json()["errors"][0]["location"] == "query.to"


@pytest.mark.parametrize("query", ["", "&receivedAfter=0"])
async def test_pages_cover_equal_times_without_gap_or_repetition(query: str) -> None:
    parts = Parts()
    add(parts, *(make_event(f"e{number:03}", NOW_MS - number // 40) for number in range(120)))
    seen: list[str] = []
    target = f"/attendance?limit=7{query}"
    while True:
        page = (await parts.ask("GET", target)).json()
        seen += [item["eventId"] for item in page["items"]]
        if page["next"] is None:
            break
        target = f"/attendance?limit=7{query}&cursor={page['next']}"
    assert sorted(seen) == [f"e{number:03}" for number in range(120)]
    assert len(set(seen)) == 120


def add_large(parts: Parts, rows: int, extra_bytes: int) -> None:
    """Rows with so many bytes of unknown members each."""
    for number in range(rows):
        event = make_event(f"e{number:03}", NOW_MS - number)
        add(parts, event)
        extra = json.dumps({"a": "x" * (extra_bytes - 8)}, separators=(",", ":"))
        details = StoredDetails(event_id=event.event_id, sn="SN1", extra=extra, received_at_ms=NOW_MS)
        parts.memory.details[event.event_id] = details


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("rows", "extra_bytes", "limit", "sizes"),
    [
        (12, MIB, 200, [8, 4]),
        (3, 9 * MIB, 50, [1, 1, 1]),
        (2, MIB, 1, [1, 1]),
        (30, MIB // 3, 200, [24, 6]),
        (45, 10, 200, [45]),
        (40, 10, 20, [20, 20]),
        (41, 10, 40, [40, 1]),
    ],
)
async def test_design_7_a_page_ends_early_where_its_rows_are_large_and_the_next_goes_on(
    rows: int, extra_bytes: int, limit: int, sizes: list[int]
) -> None:
    parts = Parts()
    add_large(parts, rows, extra_bytes)
    seen: list[list[str]] = []
    target = f"/attendance?limit={limit}"
    while True:
        page = (await parts.ask("GET", target)).json()
        assert all(len(item["extra"]["a"]) == extra_bytes - 8 for item in page["items"])
        seen.append([item["eventId"] for item in page["items"]])
        if page["next"] is None:
            break
        target = f"/attendance?limit={limit}&cursor={page['next']}"
    assert [len(ids) for ids in seen] == sizes
    assert [event_id for ids in seen for event_id in ids] == [f"e{number:03}" for number in range(rows)]


async def test_design_7_no_more_than_a_group_of_large_rows_is_read_at_once() -> None:
    parts = Parts()
    add_large(parts, 60, MIB)
    await parts.ask("GET", "/attendance?limit=200")
    assert [query.limit for query in parts.attendances.queries] == [20]
    parts.attendances.queries.clear()
    add_large(parts, 60, 10)
    await parts.ask("GET", "/attendance?limit=50")
    assert [query.limit for query in parts.attendances.queries] == [20, 20, 11]


def _reversed_position(cursor: str) -> str:
    encoded, _, digest = cursor.partition(".")
    position = json.loads(base64.urlsafe_b64decode(encoded + "==="))
    return base64.urlsafe_b64encode(json.dumps(position[::-1]).encode()).decode().rstrip("=") + "." + digest


async def test_a_tampered_cursor_is_a_400_problem() -> None:
    parts = Parts()
    add(parts, *(make_event(f"e{number}") for number in range(3)))
    cursor = (await parts.ask("GET", "/attendance?limit=1")).json()["next"]
    assert (await parts.ask("GET", f"/attendance?limit=1&cursor={cursor}")).status == 200
    for place in range(len(cursor)):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        check_problem(await parts.ask("GET", f"/attendance?limit=1&cursor={changed}"), 400)
    for changed in ("", ".", "x", cursor[:-1], cursor + "0", "%C3%A9", _reversed_position(cursor)):
        check_problem(await parts.ask("GET", f"/attendance?limit=1&cursor={changed}"), 400)


async def test_a_cursor_with_other_filters_is_a_400_problem() -> None:
    parts = Parts()
    add(parts, *(make_event(f"e{number}") for number in range(3)))
    cursor = (await parts.ask("GET", "/attendance?limit=1")).json()["next"]
    check_problem(await parts.ask("GET", f"/attendance?limit=1&receivedAfter=0&cursor={cursor}"), 400)
    check_problem(await parts.ask("GET", f"/attendance?limit=1&sn=SN1&cursor={cursor}"), 400)


async def test_a_cursor_may_go_on_with_another_limit() -> None:
    parts = Parts()
    add(parts, *(make_event(f"e{number}") for number in range(3)))
    cursor = (await parts.ask("GET", "/attendance?limit=1")).json()["next"]
    page = (await parts.ask("GET", f"/attendance?limit=50&cursor={cursor}")).json()
    assert [item["eventId"] for item in page["items"]] == ["e1", "e0"]


async def test_a_filter_that_is_too_long_is_a_422_problem() -> None:
    check_problem(await Parts().ask("GET", f"/attendance?sn={'x' * 65}"), 422)


async def test_a_store_that_is_away_is_a_503_problem() -> None:
    parts = Parts()
    parts.memory.available = False
    check_problem(await parts.ask("GET", "/attendance"), 503)
    check_problem(await parts.ask("GET", "/attendance/e1"), 503)


def put_picture(parts: Parts, content_type: str = "image/jpeg") -> None:
    parts.memory.pictures["e1"] = StoredPicture(
        event_id="e1", sn="SN1", content_type=content_type, data=JPEG, received_at_ms=NOW_MS
    )


async def test_a_picture_is_answered_as_its_bytes_for_private_caches_only() -> None:
    parts = Parts()
    put_picture(parts)
    answer = await parts.ask("GET", "/attendance/e1/image")
    assert answer.body == JPEG
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["etag"] == f'"{hashlib.sha256(JPEG).hexdigest()}"'
    assert answer.headers["cache-control"] == "private"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_picture_that_the_caller_has_is_not_sent_again() -> None:
    parts = Parts()
    put_picture(parts)
    etag = f'"{hashlib.sha256(JPEG).hexdigest()}"'
    answer = await parts.ask("GET", "/attendance/e1/image", headers={"If-None-Match": f'W/"x", {etag}'})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == etag
    assert (await parts.ask("GET", "/attendance/e1/image", headers={"If-None-Match": '"x"'})).status == 200


async def test_what_a_browser_could_run_is_never_shown_as_a_picture() -> None:
    parts = Parts()
    put_picture(parts, "image/svg+xml")
    answer = await parts.ask("GET", "/attendance/e1/image")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
