"""The stores of credentials, devices, sessions, endings and the control stream in dicts: for unit tests, and for
reading how a store must behave. `available = False` makes every call of a store raise Unavailable."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

import msgspec

from shared.domain.control import ControlEntry, CredentialRevoked, DeviceChanged, DeviceDisabled, SessionReplaced
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import Device, SiteSpan, site_at, stands_at
from shared.domain.sessions import ENDED_LIFE_MS, TOKEN_LIFE_MS, Ended, Session
from shared.domain.sites import Site
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import FailureCount, NewSession


class _Memory:
    available = True

    def _reach(self) -> None:
        if not self.available:
            raise Unavailable(f"{type(self).__name__}: made unavailable")


class MemoryCredentialStore(_Memory):
    """CredentialStore in dicts."""

    def __init__(self) -> None:
        self._vendors: dict[str, Vendor] = {}
        self._credentials: dict[str, Credential] = {}

    async def add_vendor(self, vendor: Vendor) -> None:
        self._reach()
        self._vendors[vendor.vendor_id] = vendor

    async def vendors(self, after: str | None, limit: int) -> Sequence[Vendor]:
        self._reach()
        return [self._vendors[key] for key in _page(self._vendors, after, limit)]

    async def vendor(self, vendor_id: str) -> Vendor | None:
        self._reach()
        return self._vendors.get(vendor_id)

    async def add_credential(self, credential: Credential) -> None:
        self._reach()
        self._credentials[credential.access_id] = credential

    async def credentials_of(self, vendor_ids: Sequence[str]) -> dict[str, list[Credential]]:
        self._reach()
        by_age = sorted(self._credentials.values(), key=lambda one: (one.created_at_ms, one.access_id))
        return {vendor_id: [one for one in by_age if one.vendor_id == vendor_id] for vendor_id in vendor_ids}

    async def find_credentials(self, access_ids: Sequence[str]) -> dict[str, tuple[Credential, Vendor]]:
        self._reach()
        found = [self._credentials[access_id] for access_id in access_ids if access_id in self._credentials]
        return {one.access_id: (one, self._vendors[one.vendor_id]) for one in found if one.vendor_id in self._vendors}

    async def revoke(self, vendor_id: str, access_id: str, at_ms: int) -> Credential | None:
        self._reach()
        credential = self._credentials.get(access_id)
        if credential is None or credential.vendor_id != vendor_id:
            return None
        if credential.revoked_at_ms is None:
            credential = msgspec.structs.replace(credential, revoked_at_ms=at_ms)
            self._credentials[access_id] = credential
        return credential

    async def revoked_since(self, since_ms: int) -> Sequence[Credential]:
        self._reach()
        return [
            one for one in self._credentials.values() if one.revoked_at_ms is not None and one.revoked_at_ms >= since_ms
        ]


class MemoryDeviceStore(_Memory):
    """DeviceStore in a dict; `put` is what an operator would have done."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._unsettled: set[str] = set()

    def put(self, device: Device) -> None:
        """Stores a device as it is given."""
        self._devices[device.sn] = device

    async def find(self, sns: Sequence[str]) -> dict[str, Device]:
        self._reach()
        return {sn: self._devices[sn] for sn in sns if sn in self._devices}

    async def register(self, devices: Sequence[Device]) -> dict[str, Device]:
        self._reach()
        return {device.sn: self._devices.setdefault(device.sn, device) for device in devices}

    async def page(self, after: str | None, limit: int) -> Sequence[Device]:
        self._reach()
        return [self._devices[key] for key in _page(self._devices, after, limit)]

    async def page_at_sites(
        self, site_ids: Collection[str], now_ms: int, after: str | None, limit: int
    ) -> Sequence[Device]:
        self._reach()
        there_now = [one.sn for one in self._devices.values() if stands_at(one, now_ms)[0] in site_ids]
        return [self._devices[key] for key in _page(there_now, after, limit)]

    async def replace(self, earlier: Device, device: Device) -> bool:
        self._reach()
        if self._devices[device.sn].changed_at_ms != earlier.changed_at_ms:
            return False
        self._devices[device.sn] = device
        self._unsettled.add(device.sn)
        return True

    async def unsettled(self, changed_until_ms: int, limit: int) -> Sequence[Device]:
        self._reach()
        found = [self._devices[sn] for sn in self._unsettled]
        due = [device for device in found if (device.changed_at_ms or 0) <= changed_until_ms]
        return sorted(due, key=lambda device: device.changed_at_ms or 0)[:limit]

    async def settle(self, device: Device) -> None:
        self._reach()
        if self._devices[device.sn].changed_at_ms == device.changed_at_ms:
            self._unsettled.discard(device.sn)

    async def at_site(self, site_id: str, now_ms: int) -> Sequence[Device]:
        self._reach()
        there_now = [one for one in self._devices.values() if site_at(one.site_history, now_ms)[0] == site_id]
        return sorted(there_now, key=lambda device: device.sn)

    async def disabled_since(self, since_ms: int) -> Sequence[Device]:
        self._reach()
        return [
            one for one in self._devices.values() if one.disabled_at_ms is not None and one.disabled_at_ms >= since_ms
        ]


class MemorySiteStore(_Memory):
    """SiteStore in a dict."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}

    async def add(self, site: Site) -> None:
        self._reach()
        self._sites[site.site_id] = site

    async def find(self, site_ids: Sequence[str]) -> dict[str, Site]:
        self._reach()
        return {site_id: self._sites[site_id] for site_id in site_ids if site_id in self._sites}

    async def page(self, after: str | None, limit: int) -> Sequence[Site]:
        self._reach()
        return [self._sites[key] for key in _page(self._sites, after, limit)]


class MemoryControlStream(_Memory):
    """ControlStream in a list, for one reader; `lose` is what a flush or a trim past the reader would have done."""

    def __init__(self) -> None:
        self.malformed = 0
        self._unread: list[ControlEntry] = []
        self._lost = True
        self._changed = asyncio.Event()

    def lose(self) -> None:
        """Forgets what was not read."""
        self._unread.clear()
        self._lost = True
        self._changed.set()

    async def publish(self, entry: ControlEntry) -> None:
        self._reach()
        self._unread.append(entry)
        self._changed.set()

    async def read(self, block_ms: int) -> Sequence[ControlEntry] | None:
        self._reach()
        if not self._lost and not self._unread:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), block_ms / 1000)
            except TimeoutError:
                return []
        if self._lost:
            self._lost = False
            self._unread.clear()
            return None
        entries, self._unread = self._unread, []
        return entries


class MemorySessionStore(_Memory):
    """SessionStore in dicts with times of expiry."""

    def __init__(self, clock: Clock, control: MemoryControlStream) -> None:
        self._clock = clock
        self._control = control
        self._sessions: dict[str, tuple[Session, int]] = {}
        self._token_of: dict[str, str] = {}
        self._accepted_signs: dict[str, int] = {}
        self._failures: dict[str, tuple[int, int]] = {}

    async def open_many(self, new: Sequence[NewSession]) -> Sequence[Session | None]:
        self._reach()
        return [await self._open(one) for one in new]

    async def _open(self, new: NewSession) -> Session | None:
        now = self._clock.now_ms()
        if self._accepted_signs.get(new.sign, now) > now:
            return None
        self._accepted_signs[new.sign] = now + new.replay_window_ms
        session = new.session
        earlier = self._token_of.get(session.sn)
        if earlier is not None and self._sessions.pop(earlier)[1] > now:
            await self._control.publish(SessionReplaced(session.sn, earlier))
        self._sessions[session.token] = session, now + TOKEN_LIFE_MS
        self._token_of[session.sn] = session.token
        return session

    async def find(self, tokens: Sequence[str]) -> Sequence[Session | None]:
        self._reach()
        now = self._clock.now_ms()
        found = [self._sessions.get(token) for token in tokens]
        return [one[0] if one is not None and one[1] > now else None for one in found]

    async def renew(self, sessions: Sequence[tuple[str, str]]) -> None:
        self._reach()
        now = self._clock.now_ms()
        for token, _sn in sessions:
            session, expires_at_ms = self._sessions.get(token, (None, 0))
            if session is not None and expires_at_ms > now:
                self._sessions[token] = session, now + TOKEN_LIFE_MS

    async def update_device(self, sn: str, site_history: tuple[SiteSpan, ...], time_window_seconds: int | None) -> None:
        self._reach()
        token = self._token_of.get(sn, "")
        session, expires_at_ms = self._sessions.get(token, (None, 0))
        if session is None or expires_at_ms <= self._clock.now_ms():
            return
        updated = msgspec.structs.replace(session, site_history=site_history, time_window_seconds=time_window_seconds)
        if updated != session:
            self._sessions[token] = updated, expires_at_ms
            await self._control.publish(DeviceChanged(sn))

    async def count_failures(self, sources: Sequence[str], window_ms: int) -> Sequence[FailureCount]:
        self._reach()
        return [self._count_failure(source, window_ms) for source in sources]

    def _count_failure(self, source: str, window_ms: int) -> FailureCount:
        now = self._clock.now_ms()
        count, ends_at_ms = self._failures.get(source, (0, now))
        if ends_at_ms <= now:
            count, ends_at_ms = 0, now + window_ms
        self._failures[source] = count + 1, ends_at_ms
        return FailureCount(count + 1, ends_at_ms - now)


class MemoryEndedStore(_Memory):
    """EndedStore in dicts; `flush` is what FLUSHALL would have done."""

    def __init__(self, clock: Clock, control: MemoryControlStream) -> None:
        self._clock = clock
        self._control = control
        self._credentials: dict[str, int] = {}
        self._devices: dict[str, int] = {}

    def flush(self) -> None:
        """Forgets everything."""
        self._credentials.clear()
        self._devices.clear()

    async def end_credential(self, access_id: str) -> None:
        self._reach()
        if access_id not in self._credentials:
            self._credentials[access_id] = self._clock.now_ms()
            await self._control.publish(CredentialRevoked(access_id, self._credentials[access_id]))

    async def end_device(self, sn: str, disabled_at_ms: int) -> None:
        self._reach()
        if self._devices.get(sn, -1) < disabled_at_ms:
            self._devices[sn] = disabled_at_ms
            await self._control.publish(DeviceDisabled(sn, disabled_at_ms))

    async def load(self) -> Ended:
        self._reach()
        oldest = self._clock.now_ms() - ENDED_LIFE_MS
        self._credentials = {key: at_ms for key, at_ms in self._credentials.items() if at_ms >= oldest}
        self._devices = {key: at_ms for key, at_ms in self._devices.items() if at_ms >= oldest}
        return Ended(dict(self._credentials), dict(self._devices))


def _page(keys: Iterable[str], after: str | None, limit: int) -> list[str]:
    return sorted(key for key in keys if key > (after or ""))[:limit]
