"""The entries of the control stream, by which every ingress (and task-api) learns what changed (design rule 4)."""

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
    """Every session whose C_AUTH was judged before the device was disabled answers 401_02 from now on."""

    sn: str
    at_ms: int


class DeviceChanged(msgspec.Struct, frozen=True, tag="device-changed"):
    """The device's session has another site history or window: read it again before the next request is judged."""

    sn: str


class TasksChanged(msgspec.Struct, frozen=True, omit_defaults=True, tag="tasks-changed"):
    """The pending index of the device gained or lost tasks: read it again before the next heartbeat is answered."""

    sn: str
    traceparent: str | None = None
    """Of the request that made a task which it gained, where that is traced."""


class PushCommand(msgspec.Struct, frozen=True, tag="push-command"):
    """Push the task to the device, whoever holds it (C1). It carries what the command says, since ingress does not
    talk to MongoDB."""

    sn: str
    task_id: str
    apicode: str
    param: str | None = None
    """The task's param as JSON text, an object; None where it has none."""
    traceparent: str | None = None
    """Of the request that made the task, where it is traced."""


ControlEntry = SessionReplaced | CredentialRevoked | DeviceDisabled | DeviceChanged | TasksChanged | PushCommand
