"""How the store of persons behaves, in memory and in MongoDB alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.domain.persons import NewPerson, Person, PersonVersions
from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.memory_persons import MemoryPersonStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.person_interfaces import PersonQuery, PersonStore
from tests.support.session_values import NOW_MS

SHA_A, SHA_B = "a" * 64, "b" * 64


@pytest.fixture(params=["memory", "mongo"])
async def persons(request: pytest.FixtureRequest) -> AsyncIterator[PersonStore]:
    if request.param == "memory":
        yield MemoryPersonStore()
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield MongoPersonStore(database)


def new(person_id: str = "1", name: str = "张三", **members: Any) -> NewPerson:
    return NewPerson(person_id=person_id, name=name, **members)


async def put(persons: PersonStore, *wishes: NewPerson, at_ms: int = NOW_MS) -> None:
    await persons.put_many(wishes, at_ms)


async def one(persons: PersonStore, person_id: str = "1") -> Person:
    return (await persons.find([person_id]))[person_id]


async def delete(persons: PersonStore, person_id: str = "1") -> None:
    """Deleted, and erased everywhere."""
    assert await persons.delete(person_id, NOW_MS) is not None
    await persons.erased(person_id)


# ── putting ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_is_read_back_as_it_was_put(persons: PersonStore) -> None:
    wish = new(site_ids=("s2", "s1"), idcard_no=b"sealed", phone=b"\x00\xff", hashes=("k1:phone:aa", "k1:idcard:bb"))
    assert await persons.put_many([wish], NOW_MS) == {"1": None}
    assert await persons.find(["1", "2"]) == {
        "1": Person(
            person_id="1",
            name="张三",
            site_ids=("s1", "s2"),
            idcard_no=b"sealed",
            phone=b"\x00\xff",
            changes=1,
            name_version=1,
            created_at_ms=NOW_MS,
            changed_at_ms=NOW_MS,
        )
    }


async def test_of_a_new_person_what_is_not_given_is_empty(persons: PersonStore) -> None:
    await put(persons, new())
    person = await one(persons)
    assert (person.site_ids, person.idcard_no, person.phone, person.face) == ((), None, None, None)


async def test_what_is_not_given_stays_as_it_is_and_none_removes(persons: PersonStore) -> None:
    await put(
        persons,
        new(site_ids=("s1",), idcard_no=b"number", phone=b"phone", hashes=("k1:idcard:aa", "k1:phone:bb")),
    )
    await put(persons, new(name="李四"), at_ms=NOW_MS + 5)
    person = await one(persons)
    assert (person.name, person.site_ids, person.idcard_no, person.phone) == ("李四", ("s1",), b"number", b"phone")
    assert (person.created_at_ms, person.changed_at_ms) == (NOW_MS, NOW_MS + 5)
    assert [found.person_id for found in await persons.find_by_hash(["k1:phone:bb"], 10)] == ["1"]
    await put(persons, new(name="李四", phone=None, site_ids=()))
    person = await one(persons)
    assert (person.site_ids, person.idcard_no, person.phone) == ((), b"number", None)
    assert await persons.find_by_hash(["k1:phone:bb"], 10) == []
    assert len(await persons.find_by_hash(["k1:idcard:aa"], 10)) == 1


async def test_from_sites_outside_the_scope_nobody_is_taken_off(persons: PersonStore) -> None:
    await put(persons, new(site_ids=("s1", "s2", "s3")))
    await put(persons, new(site_ids=("s4",), scope=frozenset({"s1", "s4"})))
    assert (await one(persons)).site_ids == ("s2", "s3", "s4")


async def test_what_stood_before_is_given_for_each(persons: PersonStore) -> None:
    await put(persons, new("1", "old"))
    before = await persons.put_many([new("1", "new"), new("2")], NOW_MS)
    assert before["2"] is None
    assert before["1"] is not None
    assert before["1"].name == "old"


async def test_a_name_has_another_version_only_where_it_is_another(persons: PersonStore) -> None:
    await put(persons, new(site_ids=("s1",)))
    await put(persons, new(site_ids=("s1", "s2"), phone=b"1"))
    assert await persons.at_site("s1") == {"1": PersonVersions(1, 0, 1)}
    await put(persons, new(name="李四"))
    assert await persons.at_site("s1") == {"1": PersonVersions(2, 0, 2)}


async def test_putting_nobody_is_nothing(persons: PersonStore) -> None:
    assert await persons.put_many([], NOW_MS) == {}


# ── faces ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_face_has_a_version_and_stays_when_the_name_is_changed(persons: PersonStore) -> None:
    await put(persons, new(site_ids=("s1",)))
    person = await persons.set_face("1", SHA_A, 9, NOW_MS)
    assert person == await one(persons)
    assert person.face is not None
    assert (person.face.sha256, person.face.size, person.face.version) == (SHA_A, 9, 2)
    await put(persons, new(name="李四"))
    assert await persons.at_site("s1") == {"1": PersonVersions(3, 2, 3)}


async def test_the_same_face_again_is_no_change_and_none_takes_it_away(persons: PersonStore) -> None:
    await put(persons, new())
    first = await persons.set_face("1", SHA_A, 9, NOW_MS)
    assert await persons.set_face("1", SHA_A, 9, NOW_MS + 1) == first
    without = await persons.set_face("1", None, 0, NOW_MS)
    assert without is not None
    assert without.face is None
    again = await persons.set_face("1", SHA_A, 9, NOW_MS)
    assert again is not None
    assert again.face_version == 4


async def test_who_is_not_there_gets_no_face(persons: PersonStore) -> None:
    assert await persons.set_face("1", SHA_A, 9, NOW_MS) is None
    await put(persons, new())
    await delete(persons)
    assert await persons.set_face("1", SHA_A, 9, NOW_MS) is None
    assert await persons.find(["1"]) == {}


# ── looking up ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_persons_are_paged_in_order_of_their_id_by_site(persons: PersonStore) -> None:
    await put(persons, *(new(str(number), site_ids=(f"s{number % 2}",)) for number in (5, 3, 1, 4, 2)))
    await put(persons, new("6", site_ids=("s0", "s1")))

    async def ids(**query: Any) -> list[str]:
        return [person.person_id for person in await persons.page(PersonQuery(**query))]

    assert await ids(limit=3) == ["1", "2", "3"]
    assert await ids(limit=3, after="3") == ["4", "5", "6"]
    assert await ids(site_ids=("s1",)) == ["1", "3", "5", "6"]
    assert await ids(site_ids=("s0", "s1"), after="4") == ["5", "6"]
    assert await ids(site_ids=()) == []


async def test_persons_are_found_by_any_of_their_hashes(persons: PersonStore) -> None:
    await put(persons, new("2", phone=b"p", hashes=("k1:phone:aa",)), new("1", phone=b"p", hashes=("k2:phone:aa",)))
    found = await persons.find_by_hash(["k1:phone:aa", "k2:phone:aa"], 10)
    assert [person.person_id for person in found] == ["1", "2"]
    assert [person.person_id for person in await persons.find_by_hash(["k1:phone:aa", "k2:phone:aa"], 1)] == ["1"]
    assert await persons.find_by_hash(["k1:phone:ab"], 10) == []


# ── deletion ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_10_a_deleted_person_is_a_marker_that_nothing_finds(persons: PersonStore) -> None:
    await put(persons, new("1", site_ids=("s1",), phone=b"p", hashes=("k1:phone:aa",)), new("2", site_ids=("s1",)))
    deleted = await persons.delete("1", NOW_MS)
    assert deleted is not None
    assert (deleted.person_id, deleted.site_ids) == ("1", ("s1",))
    assert await persons.find(["1"]) == {}
    assert list(await persons.at_site("s1")) == ["2"]
    assert [person.person_id for person in await persons.page(PersonQuery())] == ["2"]
    assert await persons.find_by_hash(["k1:phone:aa"], 10) == []
    assert await persons.deleted(["1", "2", "3"]) == {"1"}


async def test_who_is_not_there_is_not_deleted_and_leaves_no_marker(persons: PersonStore) -> None:
    assert await persons.delete("1", NOW_MS) is None
    assert await persons.deleted(["1"]) == frozenset()
    await put(persons, new())
    await delete(persons)
    assert await persons.delete("1", NOW_MS) is None


async def test_a_marker_is_unerased_until_somebody_says_that_it_is(persons: PersonStore) -> None:
    await put(persons, new("1"), new("2"), new("3"))
    assert list(await persons.unerased(10)) == []
    await persons.delete("1", NOW_MS)
    await persons.delete("2", NOW_MS)
    assert sorted(await persons.unerased(10)) == ["1", "2"]
    assert len(await persons.unerased(1)) == 1
    for _ in range(2):
        await persons.erased("1")
    assert list(await persons.unerased(10)) == ["2"]
    assert await persons.deleted(["1", "2"]) == {"1", "2"}


async def test_who_is_still_being_erased_is_not_put_again_and_neither_is_anybody_with_them(
    persons: PersonStore,
) -> None:
    await put(persons, new())
    await persons.delete("1", NOW_MS)
    with pytest.raises(Unavailable, match="being erased"):
        await persons.put_many([new("0"), new("1")], NOW_MS)
    assert await persons.find(["0", "1"]) == {}
    await persons.erased("1")
    await put(persons, new("0"), new("1"))
    assert len(await persons.find(["0", "1"])) == 2


async def test_no_version_is_used_twice_though_a_person_is_deleted_and_put_again(persons: PersonStore) -> None:
    seen = set()
    for name in ("张三", "张三", "李四"):
        await put(persons, new(name=name, site_ids=("s1",)))
        await persons.set_face("1", SHA_A, 9, NOW_MS)
        await persons.set_face("1", SHA_B, 9, NOW_MS)
        versions = (await persons.at_site("s1"))["1"]
        seen |= {versions.name, versions.face}
        await delete(persons)
    assert len(seen) == 6


async def test_who_is_put_again_begins_anew(persons: PersonStore) -> None:
    await put(persons, new(site_ids=("s1",), phone=b"p", hashes=("k1:phone:aa",)))
    await persons.set_face("1", SHA_A, 9, NOW_MS)
    await delete(persons)
    assert await persons.put_many([new(name="王五")], NOW_MS + 9) == {"1": None}
    person = await one(persons)
    assert (person.site_ids, person.phone, person.face, person.created_at_ms) == ((), None, None, NOW_MS + 9)
    assert await persons.deleted(["1"]) == frozenset()
    assert await persons.find_by_hash(["k1:phone:aa"], 10) == []


# ── two at once ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_two_who_change_different_members_at_once_neither_undoes_the_others(persons: PersonStore) -> None:
    await put(persons, new())
    for round_number in range(5):
        site_id, phone = f"s{round_number}", f"{round_number}".encode()
        await asyncio.gather(
            put(persons, new(site_ids=(site_id,))),
            put(persons, new(phone=phone, hashes=(f"k1:phone:{round_number}",))),
            persons.set_face("1", f"{round_number}" * 64, 9, NOW_MS),
        )
        person = await one(persons)
        assert (person.site_ids, person.phone) == ((site_id,), phone)
        assert person.face is not None
        assert person.face.sha256 == f"{round_number}" * 64


async def test_of_two_who_put_a_new_person_at_once_both_succeed_and_the_name_is_one_of_them(
    persons: PersonStore,
) -> None:
    befores = await asyncio.gather(*(persons.put_many([new(name=name)], NOW_MS) for name in ("张三", "李四")))
    assert sorted(before["1"] is None for before in befores) == [False, True]
    person = await one(persons)
    assert person.name in ("张三", "李四")
    assert (person.changes, person.name_version) == (2, 2)


async def test_who_deletes_and_who_puts_at_once_end_as_one_after_the_other(persons: PersonStore) -> None:
    await put(persons, new(site_ids=("s1",)))
    deleted, put_again = await asyncio.gather(
        persons.delete("1", NOW_MS), persons.put_many([new(name="李四")], NOW_MS), return_exceptions=True
    )
    assert isinstance(deleted, Person)
    # Put before it was deleted, or refused after; in no case both there and deleted.
    assert isinstance(put_again, dict | Unavailable)
    assert await persons.find(["1"]) == {}
    assert await persons.deleted(["1"]) == {"1"}


async def test_design_8_and_10_of_a_deleted_person_nothing_stays_in_mongodb_but_the_marker(
    mongo_settings: MongoSettings,
) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        store = MongoPersonStore(database)
        await put(store, new(site_ids=("s1",), idcard_no=b"number", phone=b"p", hashes=("k1:phone:aa",)))
        await store.set_face("1", SHA_A, 9, NOW_MS)
        await delete(store)
        marker = await database["persons"].find_one()
        assert marker == {"_id": "1", "rev": 3, "changes": 2, "deletedAtMs": NOW_MS}
