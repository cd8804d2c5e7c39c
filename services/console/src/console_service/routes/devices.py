"""Terminals: which there are, whose they are, where they stand."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import ADMIN
from console_service.presence import DevicePresence
from console_service.session_client import SessionClient
from console_service.times import Moment
from shared.domain import devices
from shared.domain.attendance import rfc3339
from shared.domain.devices import Direction, site_at
from shared.domain.presence import Presence
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.interfaces import DeviceStore, SiteStore

LISTED = "devices"


class Device(BaseModel):
    """A terminal, which registered itself by its first C_AUTH and is bound to that vendor, with what is known of
    its presence. It is online until for over a minute no request of it was accepted over TCP, or its connection
    closes."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    sn: str = Field(examples=["84E0F42C5D1A"])
    vendor_id: str = Field(examples=["v5f1c2a90b3d4e678"])
    site_id: str | None = Field(description="Where it stands now.")
    direction: Direction | None = Field(description="Which way it lets through now.")
    name: str | None
    disabled: bool
    online: bool
    last_seen_at: Moment | None = Field(description="Its last accepted request over TCP, to within some minutes.")
    address: str | None = Field(description="Where its connection comes from, or came from last.")
    device_version: str | None = Field(description="As it tells.")
    device_ip: str | None = Field(description="Its address on its own network, as it tells.")
    clock_skew_seconds: int | None = Field(description="How far its clock is ahead of ours; below 0: behind.")
    time_window_seconds: int | None = Field(description="Its own clock window; null: its vendor's or the platform's.")
    registered_at: Moment


def _without_defaults(schema: dict[str, Any]) -> None:
    """A member that is left out has no value: it is not the same as null."""
    for member in schema["properties"].values():
        member.pop("default", None)


class DeviceChange(BaseModel):
    """What is to change of a device. What is left out stays as it is; null clears."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", str_strip_whitespace=True, json_schema_extra=_without_defaults
    )

    site_id: str | None = Field(None, description="Where it stands from now on; the first site also counts for before.")
    direction: Direction | None = Field(None, description="Which way it lets through from now on; as siteId.")
    name: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    disabled: bool = Field(False, description="true: its terminals are answered 401_02, on every process in a second.")
    time_window_seconds: int | None = Field(None, ge=1, le=86_400, description="Its clock window; null: its vendor's.")


class DevicePage(BaseModel):
    """Devices in order of sn."""

    items: list[Device]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def device_routes(
    store: DeviceStore,
    presence: DevicePresence,
    sites: SiteStore,
    session: SessionClient,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /devices."""
    router = APIRouter(prefix="/devices", tags=["devices"])

    @router.get("", summary="List devices")
    async def list_devices(cursor: Cursor = None, limit: Limit = 50) -> DevicePage:
        """In order of sn."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found = await store.page(after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].sn,)) if len(found) > limit else None
        known = await presence.of([device.sn for device in found[:limit]])
        items = [_answer(device, known.get(device.sn), clock.now_ms()) for device in found[:limit]]
        return DevicePage(items=items, next=following)

    # A path, since a terminal's sn may hold a slash
    @router.get("/{sn:path}", summary="Show a device")
    async def show_device(sn: str) -> Device:
        """One terminal by its serial number."""
        return await stored(sn)

    @router.patch("/{sn:path}", summary="Change a device")
    async def change_device(sn: str, wish: DeviceChange) -> Device:
        """Running sessions take it over within a second. Passages of the terminal that were stored without a site get
        the one that they lack. A device that was disabled and is enabled again needs a new C_AUTH. Where the answer is
        503 the device may be changed all the same."""
        change = wish.model_dump(mode="json", by_alias=True, exclude_unset=True)
        async with auditor.change(ADMIN, "device.change", sn, change):
            if wish.site_id is not None and not await sites.find([wish.site_id]):
                raise Problem(422, "there is no such site")
            if not await session.change_device(sn, change):
                raise Problem(404, "no such device")
        return await stored(sn)

    async def stored(sn: str) -> Device:
        device = (await store.find([sn])).get(sn)
        if device is None:
            raise Problem(404, "no such device")
        return _answer(device, (await presence.of([sn])).get(sn), clock.now_ms())

    return router


def _answer(device: devices.Device, presence: Presence | None, now_ms: int) -> Device:
    # session's clock, by which the last change was dated, may run ahead of ours
    site_id, direction = site_at(device.site_history, max(now_ms, device.changed_at_ms or 0))
    return Device(
        sn=device.sn,
        vendor_id=device.vendor_id,
        site_id=site_id,
        direction=direction,
        name=device.name,
        disabled=device.disabled,
        online=presence is not None and presence.online,
        last_seen_at=None if presence is None else rfc3339(presence.last_seen_ms),
        address=None if presence is None else presence.address,
        device_version=None if presence is None else presence.device_version,
        device_ip=None if presence is None else presence.device_ip,
        clock_skew_seconds=None if presence is None else presence.clock_skew_seconds,
        time_window_seconds=device.time_window_seconds,
        registered_at=rfc3339(device.registered_at_ms),
    )
