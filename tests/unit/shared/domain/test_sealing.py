"""Sealing at rest (design rule 8)."""

import pytest

from shared.domain.sealing import Sealer, UnsealError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_what_was_sealed_for_an_owner_opens_for_that_owner() -> None:
    sealer = Sealer({"k1": OLD})
    assert sealer.open(sealer.seal("身份证 330102", "person-1"), "person-1") == "身份证 330102"


def test_a_sealed_value_moved_to_another_owner_does_not_open() -> None:
    sealer = Sealer({"k1": OLD})
    with pytest.raises(UnsealError):
        sealer.open(sealer.seal("secret", "vendor-1"), "vendor-2")


@pytest.mark.parametrize("position", [0, 1, 3, 10, -1])
def test_a_sealed_value_that_was_altered_does_not_open(position: int) -> None:
    sealer = Sealer({"k1": OLD})
    sealed = bytearray(sealer.seal("secret", "owner"))
    sealed[position] ^= 1
    with pytest.raises(UnsealError):
        sealer.open(bytes(sealed), "owner")


@pytest.mark.parametrize("sealed", [b"", b"\x02", b"\x02k1", b"\x02k1short"])
def test_what_is_too_short_to_be_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        Sealer({"k1": OLD}).open(sealed, "owner")


def test_after_a_rotation_the_old_key_still_opens_and_the_new_one_seals() -> None:
    before = Sealer({"k1": OLD}).seal("secret", "owner")
    rotated = Sealer({"k2": NEW, "k1": OLD})
    assert rotated.open(before, "owner") == "secret"
    with pytest.raises(UnsealError, match="no sealing key 'k2'"):
        Sealer({"k1": OLD}).open(rotated.seal("secret", "owner"), "owner")


def test_sealing_twice_gives_different_bytes_and_never_the_text() -> None:
    sealer = Sealer({"k1": OLD})
    first, second = sealer.seal("secret", "owner"), sealer.seal("secret", "owner")
    assert first != second
    assert b"secret" not in first
