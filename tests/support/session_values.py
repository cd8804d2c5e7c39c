"""Vendors, credentials, devices, sessions and C_AUTHs for tests, made from what a test cares about."""

import hashlib

from shared.domain.authentication import AuthCall
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import Device
from shared.domain.sessions import Session
from shared.protocol.messages import AuthRequest
from shared.stores.interfaces import NewSession

NOW_MS = 1_795_500_000_000
"""2026-11-24T06:00:00Z, 14:00 in Shanghai."""


def make_vendor(vendor_id: str = "v1", **changes: object) -> Vendor:
    """A vendor without a pinned form or a window of its own."""
    return Vendor(**{"vendor_id": vendor_id, "name": "Maker", "created_at_ms": NOW_MS, **changes})  # type: ignore[arg-type]  # the test's own changes


def make_credential(access_id: str, vendor_id: str = "v1", **changes: object) -> Credential:
    """A credential in force, whose sealed secret opens nowhere."""
    values = {"access_key": "key", "sealed_secret": b"\x00sealed", "created_at_ms": NOW_MS, **changes}
    return Credential(access_id=access_id, vendor_id=vendor_id, **values)  # type: ignore[arg-type]  # the test's own changes


def make_device(sn: str, vendor_id: str = "v1", **changes: object) -> Device:
    """A device as its first C_AUTH registers it."""
    return Device(sn=sn, vendor_id=vendor_id, registered_at_ms=NOW_MS, **changes)  # type: ignore[arg-type]  # the test's own changes


def make_session(token: str, sn: str = "1388186", **changes: object) -> Session:
    """A session."""
    values = {"vendor_id": "v1", "access_id": "a1", "sealed_secret": b"\x00sealed", **changes}
    return Session(token=token, sn=sn, **values)  # type: ignore[arg-type]  # the test's own changes


def make_new_session(token: str, sn: str = "1388186", sign: str | None = None, window_ms: int = 60_000) -> NewSession:
    """A session to be opened; its sign is its token's unless a test gives one."""
    return NewSession(session=make_session(token, sn), sign=sign or f"sign of {token}", replay_window_ms=window_ms)


def auth_sign(*fields: str) -> str:
    """S1 as the standard's section 1.5 prints it; none of the server's signing code."""
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def make_auth_call(
    access_id: str,
    access_key: str,
    access_secret: str,
    sn: str = "1388186",
    *,
    time_stamp: str,
    param: str = '{"deviceVersion":"v14"}',
    sign: str | None = None,
    nine_fields: bool = False,
    sent_secret: str | None = None,
    address: str = "10.0.0.1",
) -> AuthCall:
    """A C_AUTH as ingress hands it on. `sent_secret` is the nine-field layout's own value (M2)."""
    fields = ("v1.0.0", sn, "C_AUTH", access_id, access_key, time_stamp, param)
    request = AuthRequest(
        version="v1.0.0",
        sn=sn,
        apicode="C_AUTH",
        access_id=access_id,
        access_key=access_key,
        access_secret=(sent_secret or access_secret) if nine_fields else None,
        time_stamp=time_stamp,
        param=param,
        sign=auth_sign(*fields, access_secret) if sign is None else sign,
    )
    return AuthCall(request, address)
