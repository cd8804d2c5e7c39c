"""Links that terminals follow without a token: absolute, signed, with an end (T8, T10). What they lead to is served by
task-api; only it and the console, which pushes tasks, make them."""

import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import quote, urlencode

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LIFE_MS = 24 * 3_600_000
"""How long a link leads anywhere (T8)."""

PATH = "/api/device/files"
"""Under which `{kind}/{file_id}` stands."""


class FileKind(StrEnum):
    """What a link leads to."""

    FACE = "faces"
    """file_id is the person's id: the face that the person has when it is fetched."""
    FIRMWARE = "firmware"


class Links(msgspec.Struct, frozen=True):
    """Makes and judges links. `keys` are the sealing keys by id, the current one first (as Sealer's)."""

    keys: Mapping[str, bytes]
    base_url: str
    """How terminals reach task-api, without a slash at the end: never taken from a Host header."""

    def url(self, kind: FileKind, file_id: str, now_ms: int) -> str:
        """A link that leads there from now on for LIFE_MS."""
        expires_ms = now_ms + LIFE_MS
        key_id, key = next(iter(self.keys.items()))
        query = {"expires": expires_ms, "key": key_id, "signature": _signature(key, kind, file_id, expires_ms)}
        return f"{self.base_url}{PATH}/{kind}/{quote(file_id, safe='')}?{urlencode(query)}"

    def is_valid(self, kind: FileKind, file_id: str, *, expires: str, key_id: str, signature: str, now_ms: int) -> bool:
        """Whether we made this link and it has not ended; the texts are as they stood in its query."""
        key = self.keys.get(key_id)
        if key is None or not (expires.isascii() and expires.isdecimal() and len(expires) <= 16):
            return False
        right = _signature(key, kind, file_id, int(expires))
        return hmac.compare_digest(right.encode(), signature.encode(errors="replace")) and now_ms < int(expires)


def _signature(key: bytes, kind: FileKind, file_id: str, expires_ms: int) -> str:
    # A key of its own: what signs links must not be what seals secrets.
    link_key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"links of terminals").derive(key)
    signed = f"{kind}\x1f{file_id}\x1f{expires_ms}".encode()
    return hmac.new(link_key, signed, hashlib.sha256).hexdigest()
