"""Sealing of what must not stand in clear anywhere at rest (design rule 8): AES-256-GCM with a key id."""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class UnsealError(Exception):
    """The text was sealed with an unknown key, for another owner, or was altered."""


class Sealer:
    """Seals texts for an owner. Layout: length of key id (1 byte), key id, nonce (12 bytes), ciphertext and tag.

    The owner's id is associated data, so a sealed value moved to another owner does not open. The first key seals;
    all keys open, which is how a key is rotated.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(keys))

    def seal(self, text: str, owner: str) -> bytes:
        """Seals `text` for `owner` under the current key."""
        key_id = self._current.encode()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, text.encode(), owner.encode())
        return bytes([len(key_id)]) + key_id + nonce + sealed

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed under the current key."""
        return _key_id(sealed) == self._current

    def open(self, sealed: bytes, owner: str) -> str:
        """Opens what `seal` gave. Raises UnsealError, whose text names no secret."""
        key_id = _key_id(sealed)
        key = self._keys.get(key_id)
        if key is None:
            raise UnsealError(f"no sealing key {key_id!r}")
        start = 1 + sealed[0]
        nonce, body = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
        try:
            return key.decrypt(nonce, body, owner.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise UnsealError("sealed value does not open for this owner") from error


def _key_id(sealed: bytes) -> str:
    return sealed[1 : 1 + sealed[0]].decode(errors="replace") if sealed else ""
