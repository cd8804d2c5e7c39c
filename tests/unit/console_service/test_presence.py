"""What operators see of devices' presence, from MongoDB and Redis (T2, design rule 3)."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.domain.presence import Presence
from shared.runtime.unavailable import Unavailable
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem
from tests.unit.console_service.test_devices import make_device


@pytest.fixture
async def parts() -> Parts:
    parts = Parts()
    await parts.devices.register([make_device("SN1"), make_device("SN2")])
    return parts


def record(*, online: bool) -> Presence:
    """What SN1's events said, a minute ago."""
    return Presence(
        sn="SN1",
        vendor_id="v1",
        online=online,
        epoch=7,
        last_seen_ms=NOW_MS - 60_000,
        address="192.0.2.1",
        device_version="v14",
        device_ip="10.0.0.2",
        clock_skew_seconds=-3,
    )


async def shown(parts: Parts, sn: str = "SN1") -> dict[str, object]:
    """What the device's presence is, the same in the list and by itself."""
    device = (await parts.ask("GET", f"/devices/{sn}")).json()
    listed = (await parts.ask("GET", "/devices")).json()["items"]
    assert device in listed
    members = ("online", "lastSeenAt", "address", "deviceVersion", "deviceIp", "clockSkewSeconds")
    return {member: device[member] for member in members}


FACTS = {"address": "192.0.2.1", "deviceVersion": "v14", "deviceIp": "10.0.0.2", "clockSkewSeconds": -3}
NOTHING = dict.fromkeys(FACTS)


async def test_a_device_that_never_was_online_shows_nothing(parts: Parts) -> None:
    assert await shown(parts) == {"online": False, "lastSeenAt": None, **NOTHING}


async def test_what_mongodb_knows_is_shown(parts: Parts) -> None:
    parts.presence.records["SN1"] = record(online=False)
    assert await shown(parts) == {"online": False, "lastSeenAt": "2026-11-24T06:59:00.000Z", **FACTS}
    assert await shown(parts, "SN2") == {"online": False, "lastSeenAt": None, **NOTHING}


@pytest.mark.parametrize("online", [True, False])
async def test_what_redis_knows_newer_is_shown(parts: Parts, online: bool) -> None:
    parts.presence.records["SN1"] = record(online=online)
    parts.presence.seen["SN1"] = NOW_MS - 1_000
    assert await shown(parts) == {"online": True, "lastSeenAt": "2026-11-24T06:59:59.000Z", **FACTS}


async def test_a_device_whose_first_event_is_on_the_way_is_online(parts: Parts) -> None:
    parts.presence.seen["SN1"] = NOW_MS
    assert await shown(parts) == {"online": True, "lastSeenAt": "2026-11-24T07:00:00.000Z", **NOTHING}


async def test_design_3_a_redis_that_is_away_is_no_fault(parts: Parts) -> None:
    parts.presence.records["SN1"] = record(online=True)
    parts.presence.fault = Unavailable("Redis: ConnectionError")
    assert await shown(parts) == {"online": True, "lastSeenAt": "2026-11-24T06:59:00.000Z", **FACTS}


async def test_a_redis_that_hangs_is_not_waited_for(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_sns: Sequence[str]) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr("console_service.presence.QUICK_SECONDS", 0.01)
    monkeypatch.setattr(parts.presence, "last_seen", hang)
    parts.presence.records["SN1"] = record(online=True)
    assert (await shown(parts))["online"] is True


async def test_a_mongodb_that_is_away_is_a_503_problem(parts: Parts) -> None:
    parts.presence.available = False
    check_problem(await parts.ask("GET", "/devices/SN1"), 503)
