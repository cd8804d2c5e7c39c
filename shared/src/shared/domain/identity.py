"""Identity numbers and phones of workers: what is one, how it is shown, and by which hashes it is found (design
rule 8). Pure. What stands at rest is sealed by sealing.py."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class IdentityKind(StrEnum):
    """What a value is; the hash of one kind is never found as the other."""

    IDCARD = "idcard"
    PHONE = "phone"


_IDCARD = re.compile(r"[0-9A-Z]{6,32}")
"""Mainland numbers, old and new, and the permits and passports of others."""
_PHONE = re.compile(r"\+?[0-9]{5,20}")


def read_idcard_no(text: str) -> str:
    """The number as it is kept: trimmed, in capitals. Raises ValueError, which does not repeat it. The check
    character of GB 11643 is not judged: numbers with a wrong one were issued, and must not cost anybody's admission."""
    number = text.strip().upper()
    if not _IDCARD.fullmatch(number):
        raise ValueError("an identity number is 6 to 32 letters and digits")
    return number


def read_phone(text: str) -> str:
    """The number as it is kept: without spaces and hyphens. Raises ValueError, which does not repeat it."""
    number = re.sub(r"[ -]", "", text.strip())
    if not _PHONE.fullmatch(number):
        raise ValueError("a phone number is 5 to 20 digits, with a plus before them or without")
    return number


def masked_idcard_no(number: str) -> str:
    """`330***********12`."""
    return _masked(number, 3, 2)


def masked_phone(number: str) -> str:
    """`138****1234`."""
    return _masked(number, 3, 4)


def _masked(text: str, head: int, tail: int) -> str:
    if len(text) < 2 * (head + tail) - 3:
        # Of a short one that would be nearly all
        head, tail = 0, 2
    return text[:head] + "*" * (len(text) - head - tail) + text[-tail:]


class IdentityHashes:
    """Hashes of values as they are kept, `<key id>:<kind>:<hex>`. Without the keys nobody can try all numbers."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: the sealing keys by id, the current one first (as Sealer's)."""
        # Keys of their own: what makes hashes must not be what seals.
        self._keys = {
            key_id: HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hashes of identity data").derive(key)
            for key_id, key in keys.items()
        }

    def stored(self, kind: IdentityKind, value: str) -> str:
        """What is stored with a person: the hash under the current key."""
        return self.all(kind, value)[0]

    def all(self, kind: IdentityKind, value: str) -> tuple[str, ...]:
        """What to search for: it may have been stored under any key."""
        return tuple(
            f"{key_id}:{kind}:{hmac.new(key, f'{kind}:{value}'.encode(), hashlib.sha256).hexdigest()}"
            for key_id, key in self._keys.items()
        )


def kind_of(stored: str) -> str:
    """The kind that a stored hash is of."""
    return stored.rsplit(":", 2)[1]
