"""The console over stores in memory and a session that a test sets."""

from collections.abc import Mapping, Sequence

import msgspec
from pydantic import SecretStr

from console_service.app import Console, create_app
from console_service.metrics import ConsoleMetrics
from console_service.presence import DevicePresence
from console_service.session_client import NewCredential, SessionClient, Vendor, VendorCredential, VendorPage
from console_service.settings import ConsoleSettings
from shared.domain.attendance import rfc3339
from shared.domain.audit import AuditEntry, AuditOutcome
from shared.domain.devices import DeviceChange, changed
from shared.domain.presence import Presence
from shared.protocol.signatures import SignForm
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceQuery, AttendanceRecord
from shared.stores.memory import MemoryControlStream, MemoryDeviceStore, MemorySiteStore
from shared.stores.memory_attendance import MemoryAttendance, MemoryAttendanceStore
from shared.stores.memory_tasks import MemoryPendingTasks, MemoryTaskStore
from tests.support.asgi import Answer, call

ADMIN_TOKEN = "0123456789abcdef0123456789abcdef"
NOW_MS = 1_795_503_600_000  # 2026-11-24T07:00:00Z
SECRET = "5ec2e7" * 5 + "00"


class RecordingAttendanceStore(MemoryAttendanceStore):
    """Remembers what it was asked."""

    def __init__(self, memory: MemoryAttendance) -> None:
        super().__init__(memory)
        self.queries: list[AttendanceQuery] = []

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]:
        self.queries.append(query)
        return await super().page(query)


class MemoryAuditStore:
    """AuditStore in a dict."""

    def __init__(self) -> None:
        self.entries: dict[str, AuditEntry] = {}
        self.begins = True
        self.finishes = True

    async def begin(self, entry: AuditEntry) -> None:
        if not self.begins:
            raise Unavailable("MongoDB: AutoReconnect")
        self.entries[entry.audit_id] = entry

    async def finish(self, audit_id: str, outcome: AuditOutcome, target: str | None) -> None:
        if not self.finishes:
            raise Unavailable("MongoDB: AutoReconnect")
        self.entries[audit_id] = msgspec.structs.replace(self.entries[audit_id], outcome=outcome, target=target)

    def only(self) -> AuditEntry:
        """The one entry that there is."""
        (entry,) = self.entries.values()
        return entry


class ScriptedSession(SessionClient):
    """session's interface, answering from memory."""

    def __init__(self) -> None:
        self.vendor_ids: list[str] = ["v1"]
        self.calls: list[tuple[object, ...]] = []
        self.available = True
        self.devices = MemoryDeviceStore()

    async def create_vendor(
        self, name: str, sign_form: SignForm | None, time_window_seconds: int | None
    ) -> NewCredential:
        self._reach("create", name, sign_form, time_window_seconds)
        return self._credential("v9", name)

    async def vendors(self, after: str | None, limit: int) -> VendorPage:
        self._reach("list", after, limit)
        ids = [vendor_id for vendor_id in self.vendor_ids if vendor_id > (after or "")]
        moment = rfc3339(NOW_MS)
        items = [
            Vendor(
                vendor_id=vendor_id,
                name="Gate Works",
                sign_form=None,
                time_window_seconds=None,
                created_at=moment,
                credentials=[VendorCredential(access_id="a1", created_at=moment, revoked_at=None)],
            )
            for vendor_id in ids[:limit]
        ]
        return VendorPage(items=items, next=ids[limit - 1] if len(ids) > limit else None)

    async def add_credential(self, vendor_id: str) -> NewCredential | None:
        self._reach("add", vendor_id)
        return self._credential(vendor_id, "Gate Works") if vendor_id in self.vendor_ids else None

    async def revoke(self, vendor_id: str, access_id: str) -> bool:
        self._reach("revoke", vendor_id, access_id)
        return vendor_id in self.vendor_ids and access_id == "a1"

    async def change_device(self, sn: str, change: Mapping[str, str | int | None]) -> bool:
        self._reach("change", sn, dict(change))
        device = (await self.devices.find([sn])).get(sn)
        if device is None:
            return False
        self.devices.put(changed(device, msgspec.convert(change, DeviceChange), NOW_MS))
        return True

    def _reach(self, *call: object) -> None:
        self.calls.append(call)
        if not self.available:
            raise Unavailable("session: ClientConnectorError")

    def _credential(self, vendor_id: str, name: str) -> NewCredential:
        return NewCredential(vendor_id=vendor_id, name=name, access_id="a2", access_key="k" * 32, access_secret=SECRET)


class ScriptedPresence:
    """PresenceRecordStore and PresenceStore, as far as the console asks."""

    def __init__(self) -> None:
        self.records: dict[str, Presence] = {}
        self.seen: dict[str, int] = {}
        self.available = True
        self.fault: Unavailable | None = None

    async def find(self, sns: Sequence[str]) -> dict[str, Presence]:
        if not self.available:
            raise Unavailable("MongoDB: AutoReconnect")
        return {sn: self.records[sn] for sn in sns if sn in self.records}

    async def last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        if self.fault is not None:
            raise self.fault
        return {sn: self.seen[sn] for sn in sns if sn in self.seen}


class Parts:
    """A console and everything behind it."""

    def __init__(self, session: SessionClient | None = None) -> None:
        self.session = ScriptedSession()
        self.devices = MemoryDeviceStore()
        self.session.devices = self.devices
        self.presence = ScriptedPresence()
        self.sites = MemorySiteStore()
        self.memory = MemoryAttendance()
        self.attendances = RecordingAttendanceStore(self.memory)
        self.tasks = MemoryTaskStore()
        self.control = MemoryControlStream()
        self.pending = MemoryPendingTasks(self.control)
        self.audit = MemoryAuditStore()
        self.clock = ManualClock(NOW_MS)
        self.metrics = ConsoleMetrics()
        self.app: Console = create_app(
            ConsoleSettings(
                admin_token=SecretStr(ADMIN_TOKEN),
                session_token=SecretStr("s" * 32),
                public_base_url="https://console.example/base/",
            ),
            session=session or self.session,
            devices=self.devices,
            presence=DevicePresence(self.presence, self.presence),  # type: ignore[arg-type]  # the two methods that are called
            sites=self.sites,
            attendances=self.attendances,
            pictures=self.memory.picture_store,
            tasks=self.tasks,
            pending=self.pending,
            audit=self.audit,
            clock=self.clock,
            metrics=self.metrics,
        )

    async def ask(
        self,
        method: str,
        target: str,
        *,
        json_body: object = None,
        token: str | None = ADMIN_TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to /api/v1, with the admin's token unless another is given."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return await call(self.app, method, f"/api/v1{target}", headers=sent, json_body=json_body)


def check_problem(answer: Answer, status: int) -> str:
    """Asserts that the answer is a problem document of this status; gives its detail."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    return str(document["detail"])
