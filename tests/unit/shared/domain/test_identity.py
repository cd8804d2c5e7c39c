import hashlib
import hmac

import pytest

from shared.domain.identity import (
    IdentityHashes,
    IdentityKind,
    kind_of,
    masked_idcard_no,
    masked_phone,
    read_idcard_no,
    read_phone,
)

OLD, NEW = b"1" * 32, b"2" * 32


# The example of GB 11643 itself, one with X, and an old number of 15 digits.
@pytest.mark.parametrize("number", ["11010519491231002X", "440524188001010014", "130503670401001"])
def test_mainland_numbers_are_identity_numbers(number: str) -> None:
    assert read_idcard_no(number) == number


@pytest.mark.parametrize("number", ["H1234567801", "E12345678", "FRA330100010112"])
def test_permits_and_passports_are_identity_numbers_too(number: str) -> None:
    assert read_idcard_no(number) == number


def test_an_identity_number_is_kept_trimmed_and_in_capitals() -> None:
    assert read_idcard_no(" 11010519491231002x\t") == "11010519491231002X"


def test_a_number_with_a_wrong_check_character_is_one_since_such_numbers_were_issued() -> None:
    assert read_idcard_no("440524188001010015") == "440524188001010015"


@pytest.mark.parametrize(
    "text", ["", "12345", "A" * 33, "1101051949 1231002X", "身份证号码", "123456-7", "１２３４５６"]
)
def test_what_is_no_identity_number_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="6 to 32 letters and digits") as raised:
        read_idcard_no(text)
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("13812341234", "13812341234"),
        (" 138-1234 1234 ", "13812341234"),
        ("+8613812341234", "+8613812341234"),
        ("0571-88881234", "057188881234"),
        ("12345", "12345"),
    ],
)
def test_a_phone_number_is_kept_without_spaces_and_hyphens(text: str, kept: str) -> None:
    assert read_phone(text) == kept


@pytest.mark.parametrize("text", ["", "1234", "1" * 21, "138a1234", "++8613", "１３８１２３４１２３４"])
def test_what_is_no_phone_number_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="5 to 20 digits") as raised:
        read_phone(text)
    assert not text or text not in str(raised.value)


def test_design_8_of_a_number_only_the_ends_are_shown() -> None:
    assert masked_idcard_no("440524188001010014") == "440*************14"
    assert masked_phone("13812341234") == "138****1234"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (masked_idcard_no("A12345"), "****45"),
        (masked_idcard_no("E123456"), "E12**56"),
        (masked_phone("12345"), "***45"),
        (masked_phone("8888123456"), "********56"),
        (masked_phone("88881234567"), "888****4567"),
    ],
)
def test_design_8_of_a_short_number_still_less_is_shown(shown: str, expected: str) -> None:
    assert shown == expected


def _hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with no salt and one block."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_design_8_a_hash_is_keyed_and_carries_its_key_id_and_kind() -> None:
    derived = _hkdf(OLD, b"hashes of identity data")
    expected = hmac.new(derived, b"idcard:11010519491231002X", hashlib.sha256).hexdigest()
    assert IdentityHashes({"k1": OLD}).stored(IdentityKind.IDCARD, "11010519491231002X") == f"k1:idcard:{expected}"


def test_one_value_is_another_hash_as_another_kind_or_under_another_key() -> None:
    hashes = {
        IdentityHashes({"k1": key}).stored(kind, "123456").rsplit(":", 1)[1]
        for key in (OLD, NEW)
        for kind in IdentityKind
    }
    assert len(hashes) == 4


def test_after_a_rotation_what_was_stored_under_the_old_key_is_still_found() -> None:
    before = IdentityHashes({"k1": OLD}).stored(IdentityKind.PHONE, "13812341234")
    rotated = IdentityHashes({"k2": NEW, "k1": OLD})
    assert rotated.all(IdentityKind.PHONE, "13812341234")[1:] == (before,)
    assert rotated.stored(IdentityKind.PHONE, "13812341234").startswith("k2:phone:")


def test_the_kind_of_a_hash_is_read_whatever_its_key_is_called() -> None:
    assert kind_of(IdentityHashes({"a:b": OLD}).stored(IdentityKind.PHONE, "12345")) == "phone"
