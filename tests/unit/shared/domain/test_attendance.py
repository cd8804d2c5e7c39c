"""Computed ids (design rule 2). Expected values come from the standard library's uuid.uuid5, not from our shortcut."""

import uuid

import pytest

from shared.domain.attendance import event_id, name_based_id

NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")


@pytest.mark.parametrize(
    ("sn", "person_id", "record_time", "kind"),
    [
        ("1388186", "4508004291609636864", 1609744974000, 1),
        ("设备", "张三", 1, 127),
        ("a" * 64, "\U0001f600", 32503680000000, 64),
    ],
)
def test_event_id_is_the_uuid5_of_its_four_parts(sn: str, person_id: str, record_time: int, kind: int) -> None:
    name = "\x1f".join([sn, person_id, str(record_time), str(kind)])
    assert event_id(sn, person_id, record_time, kind) == str(uuid.uuid5(NAMESPACE, name))


def test_ids_are_uuid5_whatever_the_digest_of_the_name_is() -> None:
    names = [f"{number}\x1f名" for number in range(500)]
    assert [name_based_id(name) for name in names] == [str(uuid.uuid5(NAMESPACE, name)) for name in names]


def test_event_id_of_the_printed_sign_in_is_this_constant() -> None:
    assert event_id("1388186", "4508004291609636864", 1609744974000, 1) == "fc080dc9-48af-58fb-b10e-67c3178bb19b"


def test_parts_do_not_run_into_each_other() -> None:
    assert event_id("1", "23", 4, 5) != event_id("12", "3", 4, 5)
