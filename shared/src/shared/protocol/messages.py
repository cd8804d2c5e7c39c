"""The messages on TCP as frozen values (M1–M7). The generated protobuf classes stop here."""

import msgspec


class AuthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """C_AUTH (2.1), either layout."""

    version: str
    sn: str
    apicode: str
    access_id: str
    access_key: str
    access_secret: str | None
    """The nine-field layout's sixth value (M2); None in the eight-field layout."""
    time_stamp: str
    param: str
    sign: str


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """C_HEARTBEAT or C_SIGN_IN (2.2, 2.3)."""

    version: str
    sn: str
    token: str
    apicode: str
    time_stamp: str
    param: str
    sign: str
