"""The entries of the control stream, by which every ingress learns what changed (design rule 4)."""

import msgspec


class SessionReplaced(msgspec.Struct, frozen=True, tag="session-replaced"):
    """A new C_AUTH took over: forget the earlier token of the device (T1)."""

    sn: str
    token: str


class CredentialRevoked(msgspec.Struct, frozen=True, tag="credential-revoked"):
    """Every session of the credential answers 401_02 from now on."""

    access_id: str
    at_ms: int


class DeviceDisabled(msgspec.Struct, frozen=True, tag="device-disabled"):
    """Every session that the device opened until then answers 401_02 from now on."""

    sn: str
    at_ms: int


ControlEntry = SessionReplaced | CredentialRevoked | DeviceDisabled
