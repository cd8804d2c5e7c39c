import pytest
from msgspec import UNSET

from shared.domain.persons import NewPerson, put_person, with_face

SHA = "a" * 64


def wish(**members: object) -> NewPerson:
    return NewPerson(**{"person_id": "1", "name": "张三", **members})  # type: ignore[arg-type]  # the test's own names


@pytest.mark.parametrize(
    ("given", "scope", "after"),
    [
        (UNSET, None, ("s1", "s2")),
        ((), None, ()),
        (("s3", "s1", "s3"), None, ("s1", "s3")),
        (("s3",), frozenset({"s2", "s3"}), ("s1", "s3")),
        ((), frozenset({"s1", "s2"}), ()),
        ((), frozenset({"s9"}), ("s1", "s2")),
    ],
)
def test_sites_are_replaced_within_the_scope_and_stay_outside_it(
    given: object, scope: frozenset[str] | None, after: tuple[str, ...]
) -> None:
    assert wish(site_ids=given, scope=scope).sites_after(("s1", "s2")) == after


@pytest.mark.parametrize(
    ("members", "after"),
    [
        ({}, ("k1:idcard:a", "k1:phone:b")),
        ({"phone": None}, ("k1:idcard:a",)),
        ({"phone": b"p", "hashes": ("k2:phone:c",)}, ("k2:phone:c", "k1:idcard:a")),
        ({"phone": None, "idcard_no": None}, ()),
    ],
)
def test_hashes_of_what_is_not_given_stay_and_no_other(members: dict[str, object], after: tuple[str, ...]) -> None:
    assert wish(**members).hashes_after(("k1:idcard:a", "k1:phone:b")) == after


def test_a_new_person_goes_on_counting_where_the_deleted_one_of_its_id_ended() -> None:
    person = put_person(None, 7, wish(), 5)
    assert (person.changes, person.name_version, person.face_version) == (8, 8, 0)
    assert (person.created_at_ms, person.changed_at_ms) == (5, 5)


def test_versions_rise_with_name_and_face_and_with_nothing_else() -> None:
    first = put_person(None, 0, wish(), 5)
    same_name = put_person(first, 0, wish(site_ids=("s1",), phone=b"p"), 6)
    assert (same_name.changes, same_name.name_version, same_name.changed_at_ms) == (1, 1, 6)
    faced = with_face(same_name, SHA, 9, 7)
    assert (faced.changes, faced.name_version, faced.face_version) == (2, 1, 2)
    assert with_face(faced, SHA, 9, 8) is faced
    renamed = put_person(faced, 0, wish(name="李四"), 8)
    assert (renamed.changes, renamed.name_version, renamed.face_version) == (3, 3, 2)
    assert renamed.site_ids == ("s1",)
