"""Terminals: which there are, whose they are, where they stand."""

import logging
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Operating, Viewing
from console_service.person_changes import MARK_AFTER_MS
from console_service.presence import DevicePresence
from console_service.session_client import SessionClient
from console_service.times import Moment
from shared.domain import devices
from shared.domain.attendance import rfc3339
from shared.domain.devices import Direction, stands_at
from shared.domain.operators import Operator
from shared.domain.presence import Presence
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import DeviceStore, SiteStore
from shared.stores.person_interfaces import RosterMarks

log = logging.getLogger(__name__)

LISTED = "devices"


class Device(BaseModel):
    """A terminal, which registered itself by its first C_AUTH and is bound to that vendor, with what is known of
    its presence. It is online until for over a minute no request of it was accepted over TCP, or its connection
    closes."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    sn: str = Field(examples=["84E0F42C5D1A"])
    vendor_id: str = Field(examples=["v5f1c2a90b3d4e678"])
    site_id: str | None = Field(description="Where it stands now.", examples=["s5f1c2a90b3d4e678"])
    direction: Direction | None = Field(description="Which way it lets through now.")
    name: str | None = Field(examples=["Gate 2"])
    disabled: bool
    online: bool
    last_seen_at: Moment | None = Field(description="Its last accepted request over TCP, to within some minutes.")
    address: str | None = Field(
        description="Where its connection comes from, or came from last.", examples=["203.0.113.7"]
    )
    device_version: str | None = Field(description="As it tells.", examples=["v2.4.1"])
    device_ip: str | None = Field(description="Its address on its own network, as it tells.", examples=["192.0.2.10"])
    clock_skew_seconds: int | None = Field(
        description="How far its clock is ahead of ours; below 0: behind.", examples=[-3]
    )
    time_window_seconds: int | None = Field(
        description="Its own clock window; null: its vendor's or the platform's.", examples=[None]
    )
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

    site_id: str | None = Field(
        None,
        description="Where it stands from now on; the first site also counts for before.",
        examples=["s5f1c2a90b3d4e678"],
    )
    direction: Direction | None = Field(None, description="Which way it lets through from now on; as siteId.")
    name: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["Gate 2"])
    disabled: bool = Field(
        False, strict=True, description="true: its terminals are answered 401_02, on every process in a second."
    )
    time_window_seconds: int | None = Field(
        None, strict=True, ge=1, le=86_400, description="Its clock window; null: its vendor's.", examples=[900]
    )


class DevicePage(BaseModel):
    """Devices in order of sn."""

    items: list[Device]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def device_routes(
    store: DeviceStore,
    presence: DevicePresence,
    sites: SiteStore,
    session: SessionClient,
    marks: RosterMarks,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /devices."""
    router = APIRouter(prefix="/devices", tags=["devices"])

    @router.get("", summary="List devices")
    async def list_devices(operator: Viewing, cursor: Cursor = None, limit: Limit = 50) -> DevicePage:
        """In order of sn."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        if operator.site_ids is None:
            found = await store.page(after, limit + 1)
        else:
            found = await store.page_at_sites(operator.site_ids, clock.now_ms(), after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].sn,)) if len(found) > limit else None
        known = await presence.of([device.sn for device in found[:limit]])
        items = [_answer(device, known.get(device.sn), clock.now_ms()) for device in found[:limit]]
        return DevicePage(items=items, next=following)

    # A path, since a terminal's sn may hold a slash
    @router.get("/{sn:path}", summary="Show a device")
    async def show_device(operator: Viewing, sn: str) -> Device:
        """One terminal by its serial number."""
        return await shown(await stored(operator, sn))

    @router.patch("/{sn:path}", summary="Change a device")
    async def change_device(operator: Operating, sn: str, wish: DeviceChange) -> Device:
        """Running sessions take it over within a second. Passages of the terminal that were stored without a site get
        the one that they lack. A device that was disabled and is enabled again needs a new C_AUTH. Where the answer is
        503 the device may be changed all the same."""
        wished = wish.model_dump(mode="json", by_alias=True, exclude_unset=True)
        async with auditor.change(operator.who, "device.change", sn, wished) as change:
            earlier = await stored(operator, sn)
            if wish.site_id is None and "siteId" in wished and operator.site_ids is not None:
                raise Problem(403, "a token that is bound to sites takes no device off them")
            if wish.site_id is not None and not (operator.sees(wish.site_id) and await sites.find([wish.site_id])):
                raise Problem(422, "there is no such site")
            if is_of_roster := not wished.keys().isdisjoint(("siteId", "disabled")):
                await marks.mark_devices([sn], after_ms=MARK_AFTER_MS)
            if not await session.change_device(sn, wished):
                raise Problem(404, "no such device")
            change.before = {member: value for member, value in changeable(earlier).items() if member in wished}
            change.after = wished
        if is_of_roster:
            try:
                await marks.mark_devices([sn])
            except Unavailable as error:
                log.warning("%s is planned for within a minute only: %s", sn, error)
        return await shown(await stored(operator, sn))

    async def stored(operator: Operator, sn: str) -> devices.Device:
        device = (await store.find([sn])).get(sn)
        if device is None or not operator.sees(stands_at(device, clock.now_ms())[0]):
            raise Problem(404, "no such device")
        return device

    async def shown(device: devices.Device) -> Device:
        return _answer(device, (await presence.of([device.sn])).get(device.sn), clock.now_ms())

    def changeable(device: devices.Device) -> dict[str, object]:
        site_id, direction = stands_at(device, clock.now_ms())
        return {
            "siteId": site_id,
            "direction": direction,
            "name": device.name,
            "disabled": device.disabled,
            "timeWindowSeconds": device.time_window_seconds,
        }

    return router


def _answer(device: devices.Device, presence: Presence | None, now_ms: int) -> Device:
    site_id, direction = stands_at(device, now_ms)
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
