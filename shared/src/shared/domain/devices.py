"""A device as the platform knows it, where it stood when, and what operators may change of it."""

from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType


class Direction(StrEnum):
    """Which way a passage through the device goes."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class SiteSpan(msgspec.Struct, frozen=True):
    """From `since_ms` on, until the next span, the device stood at a site and let through in a direction."""

    since_ms: int
    site_id: str | None
    direction: Direction | None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal, bound to the vendor of its first C_AUTH."""

    sn: str
    vendor_id: str
    name: str | None = None
    disabled: bool = False
    disabled_at_ms: int | None = None
    """When it was disabled last, also where it is enabled again; rises with every time (design rule 5)."""
    time_window_seconds: int | None = None
    site_history: tuple[SiteSpan, ...] = ()
    """Oldest first (design rule 11)."""
    registered_at_ms: int
    changed_at_ms: int | None = None
    """When an operator changed it last; rises with every change."""


class DeviceChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operator asks for; members that are left out stay as they are, None clears."""

    site_id: str | UnsetType | None = UNSET
    direction: Direction | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET
    time_window_seconds: int | UnsetType | None = UNSET


def changed(device: Device, change: DeviceChange, now_ms: int) -> Device:
    """The device as the operator wants it from now on."""
    # Later than what came before, though clocks of two processes differ: the order of two changes is read from it.
    at_ms = max(now_ms, (device.changed_at_ms or 0) + 1)
    members: dict[str, object] = {"changed_at_ms": at_ms}
    if change.name is not UNSET:
        members["name"] = change.name
    if change.time_window_seconds is not UNSET:
        members["time_window_seconds"] = change.time_window_seconds
    if change.disabled is not UNSET:
        members["disabled"] = change.disabled
        if change.disabled and not device.disabled:
            members["disabled_at_ms"] = at_ms
    if change.site_id is not UNSET or change.direction is not UNSET:
        now = device.site_history[-1] if device.site_history else SiteSpan(0, None, None)
        site_id = now.site_id if change.site_id is UNSET else change.site_id
        direction = now.direction if change.direction is UNSET else change.direction
        members["site_history"] = assigned(device.site_history, site_id, direction, at_ms)
    return msgspec.structs.replace(device, **members)


def assigned(
    history: tuple[SiteSpan, ...], site_id: str | None, direction: Direction | None, now_ms: int
) -> tuple[SiteSpan, ...]:
    """The history of a device that stands at a site, and lets through in a direction, from now on.

    Its first site, and its first direction, count for the time before as well: terminals are put up and at work before
    somebody enters where they stand (design rule 11).
    """
    if all(span.site_id is None for span in history):
        history = tuple(SiteSpan(span.since_ms, site_id, span.direction) for span in history)
    if all(span.direction is None for span in history):
        history = tuple(SiteSpan(span.since_ms, span.site_id, direction) for span in history)
    if not history:
        return (SiteSpan(0, site_id, direction),)
    if (history[-1].site_id, history[-1].direction) == (site_id, direction):
        return history
    return (*history, SiteSpan(now_ms, site_id, direction))


def stands_at(device: Device, now_ms: int) -> tuple[str | None, Direction | None]:
    """Site and direction now. session's clock, by which the last change was dated, may run ahead of the caller's."""
    return site_at(device.site_history, max(now_ms, device.changed_at_ms or 0))


def site_at(history: tuple[SiteSpan, ...], time_ms: int) -> tuple[str | None, Direction | None]:
    """Site and direction as of a time; (None, None) before the first span (design rule 11)."""
    for span in reversed(history):
        if span.since_ms <= time_ms:
            return span.site_id, span.direction
    return None, None
