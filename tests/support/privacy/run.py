"""A run of the whole platform in which everything that must not be told is used, rightly and wrongly, and what was
used is noted: values by name, and every error that was answered."""

import io
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image

from tests.fixtures.stack import RunningStack
from tests.support.builders import (
    Vendor,
)
from tests.support.terminal import connect

API = "/api/v1"


def idcard_no() -> str:
    """Of nobody."""
    return f"99{secrets.randbelow(10**15):015d}X"


def phone() -> str:
    """Of nobody."""
    return f"199{secrets.randbelow(10**11):011d}"


def face() -> bytes:
    """A picture that compresses badly, so that no piece of it is like another's."""
    file = io.BytesIO()
    Image.frombytes("RGB", (96, 96), secrets.token_bytes(96 * 96 * 3)).save(file, "JPEG", quality=90)
    return file.getvalue()


@dataclass
class Run:
    """What was used and answered."""

    stack: RunningStack
    secret: dict[str, bytes] = field(default_factory=dict)
    """Nowhere but where it is given out on purpose."""
    personal: dict[str, bytes] = field(default_factory=dict)
    """In the topics, by their data dictionary, but in no log, trace, metric or error."""
    errors: list[bytes] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    """Of the protocol, that terminals were answered with."""
    statuses: set[int] = field(default_factory=set)
    """Of HTTP, that operators were answered with."""
    sns: list[str] = field(default_factory=list)
    erased: dict[str, bytes] = field(default_factory=dict)
    """Of P-put: what is nowhere in MongoDB and Redis once the person is deleted."""
    databases: Mapping[str, bytes] = field(default_factory=dict)
    """What they held while P-put was there."""
    _trusted: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self._trusted = ssl.create_default_context(cafile=str(self.stack.ca))

    # ── noting ────────────────────────────────────────────────────────────────────────────────────────────────

    def hide(self, name: str, value: str | bytes) -> str:
        """Notes a secret; its text."""
        data = value.encode() if isinstance(value, str) else value
        self.secret[f"{name} {len(self.secret)}"] = data
        return data.decode(errors="replace")

    def keep(self, name: str, value: str) -> str:
        """Notes what is personal; its text."""
        self.personal[f"{name} {len(self.personal)}"] = value.encode()
        return value

    def gone(self, name: str, value: str | bytes) -> None:
        """Notes what must be gone once P-put is deleted."""
        self.erased[f"{name} {len(self.erased)}"] = value.encode() if isinstance(value, str) else value

    def hide_vendor(self, vendor: Vendor) -> Vendor:
        """Notes a vendor's key and secret."""
        self.hide("accessKey", vendor.access_key)
        self.hide("accessSecret", vendor.access_secret)
        return vendor

    def signed(self, message: bytes) -> bytes:
        """Notes the signature of a message, its last field."""
        self.hide("signature", message[-32:])
        return message

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────

    async def refused_on_tcp(self, message: bytes) -> None:
        """Sends a message on a connection of its own, notes the error that it is answered with."""
        async with connect(*self.stack.tcp) as terminal:
            answer = await terminal.ask(message)
        assert not answer.success
        self.codes.add(answer.errorcode)
        self.errors.append(json.dumps(answer.error, ensure_ascii=False).encode())

    async def on_https(self, http: aiohttp.ClientSession, body: bytes) -> Any:
        """A terminal's request; its answer, an error noted."""
        async with http.post(f"{self.stack.https}/api/device", data=body, ssl=self._trusted) as got:
            answer = json.loads(await got.read())
        if "sign" in answer:
            self.hide("signature of an answer", answer["sign"])
        if not answer["success"]:
            self.codes.add(answer["error"]["errorcode"])
            self.errors.append(json.dumps(answer["error"], ensure_ascii=False).encode())
        return answer

    async def refused(self, http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> int:
        """A request that is refused; its status, body and headers noted."""
        options.setdefault("ssl", self._trusted)
        async with http.request(method, path, allow_redirects=False, **options) as got:
            body = await got.read()
            assert got.status >= 400, (method, got.status)
            self.statuses.add(got.status)
            self.errors += [body, *(f"{name}: {value}".encode() for name, value in got.headers.items())]
            return got.status
