"""The console over stores in memory and a session that a test sets."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

import msgspec
from pydantic import SecretStr

from console_service.app import Console, create_app
from console_service.app import Parts as ConsoleParts
from console_service.device_sites import DeviceSites
from console_service.live_feed import LiveFeed
from console_service.metrics import ConsoleMetrics
from console_service.person_wishes import Identities
from console_service.planner import Planner
from console_service.presence import DevicePresence
from console_service.session_client import NewCredential, SessionClient, Vendor, VendorCredential, VendorPage
from console_service.settings import ConsoleSettings
from console_service.task_making import TaskMaker
from shared.domain.attendance import rfc3339
from shared.domain.devices import DeviceChange, changed
from shared.domain.links import Links
from shared.domain.operators import OperatorToken, Role
from shared.domain.presence import Presence
from shared.protocol.signatures import SignForm
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceQuery, AttendanceRecord
from shared.stores.memory import MemoryControlStream, MemoryDeviceStore, MemorySiteStore
from shared.stores.memory_attendance import MemoryAttendance, MemoryAttendanceStore, MemorySyntheticAttendanceStore
from shared.stores.memory_campaigns import MemoryCampaignStore
from shared.stores.memory_firmware import MemoryFirmwareStore
from shared.stores.memory_operators import MemoryAuditStore, MemoryOperatorTokenStore
from shared.stores.memory_persons import MemoryFaceStore, MemoryPersonStore
from shared.stores.memory_rosters import MemoryRosterStore
from shared.stores.memory_tasks import MemoryPendingTasks, MemoryTaskStore
from tests.support.asgi import Answer, call
from tests.support.live import ScriptedTopics

ADMIN_TOKEN = "0123456789abcdef0123456789abcdef"
NOW_MS = 1_795_503_600_000  # 2026-11-24T07:00:00Z
SEALING_KEYS = {"k1": b"1" * 32}
LINKS = Links(SEALING_KEYS, "https://devices.example")
SECRET = "5ec2e7" * 5 + "00"


class RecordingAttendanceStore(MemoryAttendanceStore):
    """Remembers what it was asked."""

    def __init__(self, memory: MemoryAttendance) -> None:
        super().__init__(memory)
        self.queries: list[AttendanceQuery] = []

    async def page(self, query: AttendanceQuery) -> Sequence[AttendanceRecord]:
        self.queries.append(query)
        return await super().page(query)

    def pages(self, query: AttendanceQuery) -> AsyncGenerator[Sequence[AttendanceRecord]]:
        self.queries.append(query)
        return super().pages(query)


class ScriptedSession(SessionClient):
    """session's interface, answering from memory."""

    def __init__(self) -> None:
        self.vendor_ids: list[str] = ["v1"]
        self.synthetic_ids: set[str] = set()
        self.calls: list[tuple[object, ...]] = []
        self.available = True
        self.devices = MemoryDeviceStore()

    async def create_vendor(
        self, name: str, sign_form: SignForm | None, time_window_seconds: int | None, *, synthetic: bool = False
    ) -> NewCredential:
        self._reach("create", name, sign_form, time_window_seconds, *([True] if synthetic else []))
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
                synthetic=vendor_id in self.synthetic_ids,
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


class RecordingRosterMarks:
    """RosterMarks that remembers what it was told: sites, or devices, in order, and the delay."""

    def __init__(self) -> None:
        self.marks: list[tuple[list[str], int]] = []
        self.device_marks: list[tuple[list[str], int]] = []
        self.available = True

    async def mark_sites(self, site_ids: Collection[str], after_ms: int = 0) -> None:
        if not self.available:
            raise Unavailable("MongoDB: AutoReconnect")
        self.marks.append((sorted(site_ids), after_ms))

    async def mark_devices(self, sns: Collection[str], after_ms: int = 0) -> None:
        if not self.available:
            raise Unavailable("MongoDB: AutoReconnect")
        self.device_marks.append((sorted(sns), after_ms))


class Parts:
    """A console and everything behind it."""

    def __init__(
        self,
        session: SessionClient | None = None,
        *,
        admin_token: str = ADMIN_TOKEN,
        public_base_url: str = "https://console.example/base/",
        max_firmware_bytes: int = 10_000_000,
    ) -> None:
        self.session = ScriptedSession()
        self.devices = MemoryDeviceStore()
        self.session.devices = self.devices
        self.presence = ScriptedPresence()
        self.sites = MemorySiteStore()
        self.memory = MemoryAttendance()
        self.attendances = RecordingAttendanceStore(self.memory)
        self.synthetic = MemorySyntheticAttendanceStore()
        self.tasks = MemoryTaskStore()
        self.control = MemoryControlStream()
        self.pending = MemoryPendingTasks(self.control)
        self.audit = MemoryAuditStore()
        self.tokens = MemoryOperatorTokenStore()
        self.persons = MemoryPersonStore()
        self.faces = MemoryFaceStore()
        self.roster_marks = RecordingRosterMarks()
        self.firmware = MemoryFirmwareStore()
        self.campaigns = MemoryCampaignStore()
        self.clock = ManualClock(NOW_MS)
        self.metrics = ConsoleMetrics()
        self.rosters = MemoryRosterStore()
        self.maker = TaskMaker(self.tasks, self.pending, self.rosters, LINKS, self.clock, self.metrics)
        self.planner = Planner(
            self.rosters,
            self.roster_marks,
            self.tasks,
            self.persons,
            self.devices,
            self.maker,
            self.clock,
            self.metrics,
            settle_seconds=1,
        )
        self.topics = ScriptedTopics()
        self.stop = asyncio.Event()
        self.live = LiveFeed(
            self.topics.follow,
            DeviceSites(self.devices, self.clock),
            self.metrics,
            self.stop,
            max_connections=2,
            notice_seconds=0,
        )
        self.app: Console = create_app(
            ConsoleSettings(
                admin_token=SecretStr(admin_token),
                session_token=SecretStr("s" * 32),
                public_base_url=public_base_url,
                max_firmware_bytes=max_firmware_bytes,
            ),
            ConsoleParts(
                session=session or self.session,
                devices=self.devices,
                presence=DevicePresence(self.presence, self.presence),  # type: ignore[arg-type]  # the two methods that are called
                sites=self.sites,
                attendances=self.attendances,
                pictures=self.memory.picture_store,
                synthetic=self.synthetic,
                tasks=self.tasks,
                pending=self.pending,
                audit=self.audit,
                tokens=self.tokens,
                persons=self.persons,
                faces=self.faces,
                rosters=self.rosters,
                roster_marks=self.roster_marks,
                maker=self.maker,
                planner=self.planner,
                firmware=self.firmware,
                campaigns=self.campaigns,
                identities=Identities(SEALING_KEYS),
                links=LINKS,
                clock=self.clock,
                metrics=self.metrics,
                live=self.live,
            ),
        )

    async def make_token(self, role: Role, *site_ids: str) -> str:
        """The text of a new token, bound to the sites where there are any."""
        text = f"op_{secrets.token_urlsafe(32)}"
        await self.tokens.add(
            OperatorToken(
                token_id=f"t{len(await self.tokens.page(None, 999))}",
                digest=hashlib.sha256(text.encode()).hexdigest(),
                role=role,
                site_ids=frozenset(site_ids) or None,
                created_at_ms=NOW_MS,
            )
        )
        return text

    async def ask(
        self,
        method: str,
        target: str,
        *,
        json_body: object = None,
        token: str | None = ADMIN_TOKEN,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        chunks: int = 1,
        cut_off: bool = False,
    ) -> Answer:
        """One request to /api/v1, with the admin's token unless another is given."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return await call(
            self.app,
            method,
            f"/api/v1{target}",
            headers=sent,
            body=body,
            json_body=json_body,
            chunks=chunks,
            cut_off=cut_off,
        )


def check_problem(answer: Answer, status: int) -> str:
    """Asserts that the answer is a problem document of this status; gives its detail."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    return str(document["detail"])
