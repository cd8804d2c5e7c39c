"""How the stores of attendances and pictures behave, in memory and in MongoDB alike."""

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from shared.domain.attendance import AttendanceEvent, Coordinate, rfc3339
from shared.domain.devices import Direction, SiteSpan
from shared.runtime.settings import MongoSettings
from shared.stores.interfaces import (
    AttendanceQuery,
    AttendanceStore,
    PictureStore,
    StoredDetails,
    StoredPicture,
)
from shared.stores.memory_attendance import MemoryAttendance
from shared.stores.mongo.attendance import INDEXES, MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.pictures import MongoPictureStore
from tests.support.attendance import JPEG, RECEIVED_MS, make_event, with_picture

Stores = tuple[AttendanceStore, PictureStore]


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        memory = MemoryAttendance()
        yield memory.attendance_store, memory.picture_store
        return
    settings: MongoSettings = request.getfixturevalue("mongo_settings")
    async with open_mongo(settings, "test") as database:
        await database["attendance"].create_indexes(INDEXES)
        yield MongoAttendanceStore(database), MongoPictureStore(database)


def picture_of(event_id: str, data: bytes = JPEG) -> StoredPicture:
    return StoredPicture(
        event_id=event_id, sn="1388186", content_type="image/jpeg", data=data, received_at_ms=RECEIVED_MS
    )


def details_of(event_id: str, iris_info: str | None = None, extra: str | None = None) -> StoredDetails:
    return StoredDetails(event_id=event_id, sn="1388186", iris_info=iris_info, extra=extra, received_at_ms=RECEIVED_MS)


async def test_every_member_comes_back_as_it_was_stored(stores: Stores) -> None:
    attendance, _ = stores
    event = with_picture(
        make_event(
            person_id="张三",
            type=127,
            bit_type=3,
            record_time=1_763_999_990_123,
            sent_at="2025-11-24T15:59:59.001Z",
            received_at="2025-11-24T16:00:00.999Z",
            site_id="s1",
            direction=Direction.OUT,
            temperature=36.7,
            coordinate=Coordinate(120.1, -30.25),
            qr_code_info=msgspec.Raw(b'{"a.b":{"$set":123456789012345678901234567890}, "x":null}'),
            health_info=msgspec.Raw('{"颜色":"绿"}'.encode()),
            image_dropped="not base64",
        )
    )
    plain = make_event()
    assert (await attendance.add_many([event, plain])).new == 2
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.event == event
    assert not record.has_image
    record = await attendance.find(plain.event_id)
    assert record is not None
    assert record.event == plain
    assert await attendance.find("00000000-0000-5000-8000-000000000000") is None


async def test_design_2_the_first_stored_wins_for_every_member(stores: Stores) -> None:
    attendance, _ = stores
    first = make_event(temperature=36.5)
    later = msgspec.structs.replace(first, temperature=38.0, site_id="s2", received_at=rfc3339(RECEIVED_MS + 5000))
    assert (await attendance.add_many([first])).new == 1
    assert (await attendance.add_many([later])).new == 0
    record = await attendance.find(first.event_id)
    assert record is not None
    assert record.event == first


async def test_design_2_of_two_in_one_batch_the_first_wins(stores: Stores) -> None:
    attendance, _ = stores
    first = make_event(temperature=36.5)
    later = msgspec.structs.replace(first, temperature=38.0)
    assert (await attendance.add_many([first, later, make_event()])).new == 2
    record = await attendance.find(first.event_id)
    assert record is not None
    assert record.event.temperature == 36.5


async def test_a_duplicate_keeps_no_other_of_its_batch_from_being_stored(stores: Stores) -> None:
    attendance, _ = stores
    events = [make_event() for _ in range(20)]
    await attendance.add_many(events[5:10])
    added = await attendance.add_many(events)
    assert (added.new, added.refused) == (15, {})
    for event in events:
        assert await attendance.find(event.event_id) is not None


async def test_nothing_to_add_is_nothing(stores: Stores) -> None:
    attendance, pictures = stores
    assert (await attendance.add_many([])).new == 0
    assert (await pictures.add_many([])).new == 0
    assert (await pictures.add_details([])).new == 0
    assert await pictures.extra([]) == {}  # noqa: S610 - not Django's


@pytest.mark.parametrize("order", ["picture event", "event picture"])
@pytest.mark.parametrize("times", [1, 2])
async def test_design_9_has_image_means_stored_in_whichever_order_they_come_once_or_twice(
    stores: Stores, order: str, times: int
) -> None:
    attendance, pictures = stores
    event = with_picture(make_event())
    bystander = with_picture(make_event())
    await attendance.add_many([bystander])
    for what in order.split() * times:
        if what == "event":
            await attendance.add_many([event])
        else:
            await pictures.add_many([picture_of(event.event_id)])
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.has_image
    assert await pictures.picture(event.event_id) == picture_of(event.event_id)
    other = await attendance.find(bystander.event_id)
    assert other is not None
    assert not other.has_image


async def test_design_9_a_picture_never_makes_an_attendance(stores: Stores) -> None:
    attendance, pictures = stores
    event = make_event()
    assert (await pictures.add_many([picture_of(event.event_id)])).new == 1
    assert await attendance.find(event.event_id) is None
    assert await attendance.page(AttendanceQuery()) == []


@pytest.mark.parametrize("order", ["picture event", "event picture", "picture"])
async def test_e6_a_resend_that_brings_the_picture_adds_it_and_the_reason_why_it_was_dropped_goes(
    stores: Stores, order: str
) -> None:
    attendance, pictures = stores
    first = make_event(image_dropped="not base64")
    resent = with_picture(msgspec.structs.replace(first, image_dropped=None))
    await attendance.add_many([first])
    for what in order.split():
        if what == "event":
            await attendance.add_many([resent])
        else:
            await pictures.add_many([picture_of(first.event_id)])
    record = await attendance.find(first.event_id)
    assert record is not None
    assert record.has_image
    assert record.event == resent


@pytest.mark.parametrize("order", ["picture event", "event picture"])
async def test_design_9_image_is_the_picture_that_is_stored_also_where_the_event_came_with_another(
    stores: Stores, order: str
) -> None:
    attendance, pictures = stores
    event = make_event()
    for what in order.split():
        if what == "event":
            await attendance.add_many([with_picture(event, b"another")])
        else:
            await pictures.add_many([picture_of(event.event_id)])
    await pictures.add_many([picture_of(event.event_id, b"a third")])
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.has_image
    assert record.event == with_picture(event)


async def test_e6_a_resend_without_its_picture_keeps_the_one_stored(stores: Stores) -> None:
    attendance, pictures = stores
    event = with_picture(make_event())
    await pictures.add_many([picture_of(event.event_id)])
    await attendance.add_many([event])
    await attendance.add_many([msgspec.structs.replace(event, image=None, image_dropped="not base64")])
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.has_image
    assert record.event == event


async def test_design_2_the_first_picture_wins(stores: Stores) -> None:
    _, pictures = stores
    event_id = make_event().event_id
    assert (await pictures.add_many([picture_of(event_id, b"first"), picture_of(event_id, b"second")])).new == 1
    assert (await pictures.add_many([picture_of(event_id, b"third")])).new == 0
    picture = await pictures.picture(event_id)
    assert picture is not None
    assert picture.data == b"first"


@pytest.mark.parametrize("details_first", [True, False])
async def test_j5_details_stand_beside_the_picture_in_either_order(stores: Stores, details_first: bool) -> None:
    attendance, pictures = stores
    event = make_event()
    await attendance.add_many([event])
    if details_first:
        await pictures.add_details([details_of(event.event_id, "iris", '{"a.b":{"$set":1e400}}')])
        assert await pictures.picture(event.event_id) is None
        record = await attendance.find(event.event_id)
        assert record is not None
        assert not record.has_image
    assert (await pictures.add_many([picture_of(event.event_id)])).new == 1
    if not details_first:
        await pictures.add_details([details_of(event.event_id, "iris", '{"a.b":{"$set":1e400}}')])
    extra = await pictures.extra([event.event_id, make_event().event_id])  # noqa: S610 - not Django's
    assert extra == {event.event_id: '{"a.b":{"$set":1e400}}'}
    assert await pictures.picture(event.event_id) == picture_of(event.event_id)
    record = await attendance.find(event.event_id)
    assert record is not None
    assert record.has_image


async def test_design_2_of_details_the_first_of_each_member_wins_and_an_absent_one_is_added(stores: Stores) -> None:
    _, pictures = stores
    one, two = make_event().event_id, make_event().event_id
    await pictures.add_details(
        [details_of(one, iris_info="i"), details_of(one, "j", "{1}"), details_of(two, extra="a")]
    )
    await pictures.add_details([details_of(one, extra="{2}"), details_of(two, extra="b")])
    assert await pictures.extra([one, two]) == {one: "{1}", two: "a"}  # noqa: S610 - not Django's


async def page_through(
    attendance: AttendanceStore, query: AttendanceQuery, place: Callable[[int], int]
) -> list[list[int]]:
    """Every page's record times in seconds, following the cursor; `place` gives the ordering time of a record's."""
    pages: list[list[int]] = []
    while records := await attendance.page(query):
        pages.append([record.event.record_time // 1000 for record in records])
        last = records[-1].event
        query = msgspec.structs.replace(query, after=(place(last.record_time), last.event_id))
    return pages


async def test_pages_are_newest_first_and_none_is_given_twice_or_left_out(stores: Stores) -> None:
    attendance, _ = stores
    times = [5, 1, 4, 4, 4, 2, 3]
    await attendance.add_many([make_event(record_time=time * 1000) for time in times])
    pages = await page_through(attendance, AttendanceQuery(limit=2), lambda time: time)
    assert pages == [[5, 4], [4, 4], [3, 2], [1]]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"sn": "a"}, [4, 1]),
        ({"person_id": "p"}, [4, 2]),
        ({"site_id": "s"}, [3, 2]),
        ({"site_ids": ["s", "t", "u"]}, [5, 3, 2]),
        ({"site_ids": ["t"], "person_id": "p"}, []),
        ({"site_ids": ["u"]}, []),
        ({"site_ids": ["s", "t"], "received_after_ms": 0}, [2, 3, 5]),
        ({"sn": "a", "person_id": "p"}, [4]),
        ({"from_ms": 2000, "to_ms": 4000}, [3, 2]),
        ({"sn": "a", "to_ms": 4000}, [1]),
        ({"sn": "nobody"}, []),
    ],
)
async def test_a_page_has_what_the_query_names_from_inclusive_to_exclusive(
    stores: Stores, members: dict[str, str | int], expected: list[int]
) -> None:
    attendance, _ = stores
    await attendance.add_many(
        [
            make_event(record_time=1000, sn="a", person_id="q"),
            make_event(record_time=2000, sn="b", person_id="p", site_id="s"),
            make_event(record_time=3000, sn="b", person_id="q", site_id="s"),
            make_event(record_time=4000, sn="a", person_id="p"),
            make_event(record_time=5000, sn="c", person_id="q", site_id="t", received_at=rfc3339(RECEIVED_MS + 1)),
        ]
    )
    records = await attendance.page(msgspec.convert(members, AttendanceQuery))
    assert [record.event.record_time // 1000 for record in records] == expected


async def test_incremental_reads_follow_the_order_of_receipt(stores: Stores) -> None:
    attendance, _ = stores
    # recordTime runs against the order of receipt, as it does when a terminal uploads late
    await attendance.add_many(
        [make_event(record_time=(100 - n) * 1000, received_at=rfc3339(n * 1000)) for n in (1, 2, 3, 3, 4, 5)]
    )
    query = AttendanceQuery(received_after_ms=1000, limit=2)
    pages = await page_through(attendance, query, lambda time: (100 - time // 1000) * 1000)
    assert pages == [[98, 97], [97, 96], [95]]


# ── where the device stood (design rule 11) ───────────────────────────────────────────────────────────────────────


HISTORY = (SiteSpan(0, "s1", Direction.IN), SiteSpan(2000, None, Direction.OUT), SiteSpan(3000, "s2", None))


async def test_rule_11_stored_attendances_get_the_site_and_direction_as_of_their_record_time(stores: Stores) -> None:
    attendance, _ = stores
    times = (1, 1999, 2000, 2999, 3000, 9000)
    events = [make_event(record_time=time) for time in times]
    await attendance.add_many(events)
    for _ in range(2):
        await attendance.fill_in_site("1388186", HISTORY)
    filled = [await attendance.find(event.event_id) for event in events]
    assert [(record.event.site_id, record.event.direction) for record in filled if record] == [
        ("s1", Direction.IN),
        ("s1", Direction.IN),
        (None, Direction.OUT),
        (None, Direction.OUT),
        ("s2", None),
        ("s2", None),
    ]


async def test_rule_11_what_an_attendance_says_already_stays_and_other_devices_are_left_alone(stores: Stores) -> None:
    attendance, _ = stores
    settled = make_event(site_id="s9", direction=Direction.BOTH)
    without_direction = make_event(site_id="s9")
    foreign = make_event(sn="other")
    await attendance.add_many([settled, without_direction, foreign])
    await attendance.fill_in_site("1388186", ())
    await attendance.fill_in_site("1388186", (SiteSpan(0, "s1", Direction.IN),))
    for event, expected in (
        (settled, ("s9", Direction.BOTH)),
        (without_direction, ("s9", Direction.IN)),
        (foreign, (None, None)),
    ):
        record = await attendance.find(event.event_id)
        assert record is not None
        assert (record.event.site_id, record.event.direction) == expected
    page = await attendance.page(AttendanceQuery(site_id="s1"))
    assert page == []


# ── erasure (design rule 10) ──────────────────────────────────────────────────────────────────────────────────────


def sensitive_event(person_id: str = "1", **members: object) -> AttendanceEvent:
    """An event that has all that is erased."""
    values = {
        "person_id": person_id,
        "site_id": "s1",
        "direction": Direction.IN,
        "bit_type": 3,
        "temperature": 36.7,
        "coordinate": Coordinate(120.1, 30.2),
        "qr_code_info": msgspec.Raw(b'{"code":"x"}'),
        "health_info": msgspec.Raw(b'{"color":"green"}'),
    } | members
    return with_picture(make_event(**values))


async def test_design_10_of_an_erased_attendance_the_row_stays_and_nothing_else(stores: Stores) -> None:
    attendance, pictures = stores
    event, other = sensitive_event(), sensitive_event("2")
    for each in (event, other):
        await pictures.add_many([picture_of(each.event_id)])
        await pictures.add_details([details_of(each.event_id, "iris", '{"x":1}')])
    await attendance.add_many([event, other])
    await attendance.erase_person("1")
    record = await attendance.find(event.event_id)
    assert record is not None
    assert (record.has_image, record.erased) == (False, True)
    assert record.event == make_event(
        person_id="1", event_id=event.event_id, site_id="s1", direction=Direction.IN, bit_type=3
    )
    assert await pictures.picture(event.event_id) is None
    assert await pictures.extra([event.event_id, other.event_id]) == {other.event_id: '{"x":1}'}  # noqa: S610
    kept = await attendance.find(other.event_id)
    assert kept is not None
    assert (kept.event, kept.has_image, kept.erased) == (other, True, False)
    assert await pictures.picture(other.event_id) is not None


async def test_design_10_a_replay_brings_nothing_back_that_was_erased(stores: Stores) -> None:
    attendance, pictures = stores
    with_both, without = sensitive_event(), sensitive_event(type=2)
    await pictures.add_many([picture_of(with_both.event_id)])
    await attendance.add_many([with_both, without])
    await attendance.erase_person("1")
    erased = [await attendance.find(event.event_id) for event in (with_both, without)]
    for _ in range(2):
        for event in (with_both, without):
            # `without` never had a picture: a late one is not stored either
            assert (await pictures.add_many([picture_of(event.event_id)])).new == 0
            assert (await pictures.add_details([details_of(event.event_id, "iris", "{}")])).new == 0
        assert (await attendance.add_many([with_both, without])).new == 0
    for event, record in zip((with_both, without), erased, strict=True):
        assert await attendance.find(event.event_id) == record
        assert await pictures.picture(event.event_id) is None
        assert await pictures.extra([event.event_id]) == {}  # noqa: S610


async def test_erasing_who_never_passed_is_nothing(stores: Stores) -> None:
    attendance, _ = stores
    event = sensitive_event("2")
    await attendance.add_many([event])
    await attendance.erase_person("1")
    record = await attendance.find(event.event_id)
    assert record is not None
    assert not record.erased


@pytest.mark.parametrize("received_after_ms", [None, 0])
async def test_pages_are_the_whole_list_in_its_order_without_large_objects(
    stores: Stores, received_after_ms: int | None
) -> None:
    attendance, _ = stores
    events = [
        make_event(
            sn="1388186" if number % 5 else "1388187",
            record_time=1_763_999_990_000 + number // 3,
            received_at=rfc3339(RECEIVED_MS - number // 4),
            qr_code_info=msgspec.Raw(b'{"code":1}'),
            health_info=msgspec.Raw(b'{"state":"green"}'),
        )
        for number in range(50)
    ]
    await attendance.add_many(events)
    query = AttendanceQuery(sn="1388186", received_after_ms=received_after_ms, limit=7)
    listed = await attendance.page(msgspec.structs.replace(query, limit=1000))
    assert len(listed) == 40
    pages = [page async for page in attendance.pages(query)]
    assert [len(page) for page in pages] == [7, 7, 7, 7, 7, 5]
    assert [record for page in pages for record in page] == [
        msgspec.structs.replace(
            record, event=msgspec.structs.replace(record.event, qr_code_info=None, health_info=None)
        )
        for record in listed
    ]
    assert [page async for page in attendance.pages(AttendanceQuery(sn="none"))] == []
