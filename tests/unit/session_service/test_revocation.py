"""Revocations reach Redis, whatever happened to it meanwhile (design rule 5)."""

import asyncio

import pytest

from session_service.metrics import SessionMetrics
from session_service.revocation import Revocation
from shared.domain.control import CredentialRevoked, DeviceDisabled
from shared.runtime.clock import ManualClock
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from shared.stores.memory import MemoryControlStream, MemoryCredentialStore, MemoryDeviceStore, MemoryEndedStore
from tests.support.session_values import NOW_MS, make_credential, make_device


class Parts:
    """A revocation over stores in memory, with the credential a1 of v1."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.credentials = MemoryCredentialStore()
        self.devices = MemoryDeviceStore()
        self.ended = MemoryEndedStore(self.clock, self.control)
        self.metrics = SessionMetrics()
        self.revocation = Revocation(self.credentials, self.devices, self.ended, self.clock, self.metrics)


@pytest.fixture
async def parts() -> Parts:
    parts = Parts()
    await parts.credentials.add_credential(make_credential("a1"))
    await parts.control.read(1)
    return parts


async def test_a_revocation_is_stored_and_told_once_though_repeated(parts: Parts) -> None:
    assert await parts.revocation.revoke("v1", "a1")
    parts.clock.advance(60)
    assert await parts.revocation.revoke("v1", "a1")
    (stored,) = await parts.credentials.revoked_since(0)
    assert stored.revoked_at_ms == NOW_MS
    assert (await parts.ended.load()).credentials == {"a1": NOW_MS}
    assert await parts.control.read(1) == [CredentialRevoked("a1", NOW_MS)]


async def test_what_the_vendor_does_not_have_is_not_revoked(parts: Parts) -> None:
    assert not await parts.revocation.revoke("v2", "a1")
    assert not await parts.revocation.revoke("v1", "a2")
    assert (await parts.ended.load()).credentials == {}


async def test_with_mongodb_away_nothing_is_told(parts: Parts) -> None:
    parts.credentials.available = False
    with pytest.raises(Unavailable):
        await parts.revocation.revoke("v1", "a1")
    assert (await parts.ended.load()).credentials == {}


async def test_what_redis_did_not_get_is_told_when_it_is_back(parts: Parts) -> None:
    parts.ended.available = False
    with pytest.raises(Unavailable):
        await parts.revocation.revoke("v1", "a1")
    with pytest.raises(Unavailable):
        await parts.revocation.reassert()
    parts.ended.available = True
    await parts.revocation.reassert()
    assert await parts.control.read(1) == [CredentialRevoked("a1", NOW_MS)]
    assert parts.metrics.reasserted == 1


async def test_what_redis_lost_is_told_again_and_only_then(parts: Parts) -> None:
    await parts.revocation.revoke("v1", "a1")
    await parts.revocation.reassert()
    assert parts.metrics.reasserted == 0
    parts.ended.flush()
    parts.clock.advance(5)
    await parts.revocation.reassert()
    await parts.revocation.reassert()
    told = await parts.control.read(1)
    assert told == [CredentialRevoked("a1", NOW_MS), CredentialRevoked("a1", NOW_MS + 5_000)]


async def test_a_revocation_is_asserted_until_every_token_has_expired_and_no_longer(parts: Parts) -> None:
    await parts.revocation.revoke("v1", "a1")
    parts.ended.flush()
    parts.clock.advance(31 * 60)
    await parts.revocation.reassert()
    assert "a1" in (await parts.ended.load()).credentials
    parts.ended.flush()
    parts.clock.advance(60 * 60)
    await parts.revocation.reassert()
    assert (await parts.ended.load()).credentials == {}


async def test_rule_5_a_disabling_that_redis_lost_is_told_again_though_the_device_is_enabled_again(
    parts: Parts,
) -> None:
    parts.devices.put(make_device("disabled", disabled=True, disabled_at_ms=NOW_MS - 1))
    parts.devices.put(make_device("enabled", disabled=False, disabled_at_ms=NOW_MS - 2))
    parts.devices.put(make_device("never"))
    await parts.ended.end_device("disabled", NOW_MS - 9)  # an earlier time is not the one that counts
    await parts.control.read(1)
    await parts.revocation.reassert()
    await parts.revocation.reassert()
    assert await parts.control.read(1) == [
        DeviceDisabled("disabled", NOW_MS - 1),
        DeviceDisabled("enabled", NOW_MS - 2),
    ]
    assert parts.metrics.reasserted == 2


async def test_a_disabling_is_asserted_until_every_token_has_expired_and_no_longer(parts: Parts) -> None:
    parts.devices.put(make_device("1", disabled=True, disabled_at_ms=NOW_MS))
    parts.clock.advance(31 * 60)
    await parts.revocation.reassert()
    assert "1" in (await parts.ended.load()).devices
    parts.ended.flush()
    parts.clock.advance(60 * 60)
    await parts.revocation.reassert()
    assert (await parts.ended.load()).devices == {}


async def test_the_loop_outlives_a_server_that_is_away(parts: Parts) -> None:
    await parts.credentials.revoke("v1", "a1", NOW_MS)
    parts.ended.available = False
    loop = spawn(parts.revocation.reassert_for_ever(0.01), "reassert")
    await asyncio.sleep(0.05)
    assert not loop.done()
    parts.ended.available = True
    assert await parts.control.read(1000) == [CredentialRevoked("a1", NOW_MS)]
    loop.cancel()
