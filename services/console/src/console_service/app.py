"""The console's web application: its routes, who may use them, what it says of itself."""

import re

import msgspec
from fastapi import APIRouter, Depends, FastAPI

from console_service import openapi
from console_service.audit import Auditor
from console_service.erasure import Eraser
from console_service.live_feed import LiveFeed
from console_service.metrics import ConsoleMetrics
from console_service.operators import Operators, operator_check
from console_service.person_changes import PersonChanges
from console_service.person_faces import MAX_UPLOAD_BYTES
from console_service.person_import import MAX_IMPORT_BYTES
from console_service.person_wishes import Identities
from console_service.planner import Planner
from console_service.presence import DevicePresence
from console_service.routes.attendance import attendance_routes
from console_service.routes.audit import audit_routes
from console_service.routes.campaigns import MAKING_SECONDS, campaign_routes
from console_service.routes.campaigns import MAX_BODY_BYTES as MAX_CAMPAIGN_BYTES
from console_service.routes.devices import device_routes
from console_service.routes.export import export_routes
from console_service.routes.firmware import UPLOAD_SECONDS, firmware_routes
from console_service.routes.live import live_routes
from console_service.routes.person_faces import face_routes
from console_service.routes.persons import person_routes
from console_service.routes.rosters import roster_routes
from console_service.routes.sign_in import sign_in_routes
from console_service.routes.sites import site_routes
from console_service.routes.tasks import task_routes
from console_service.routes.tokens import token_routes
from console_service.routes.vendors import vendor_routes
from console_service.session_client import SessionClient
from console_service.settings import ConsoleSettings
from console_service.task_making import TaskMaker
from shared.domain.links import Links
from shared.runtime.clock import Clock
from shared.runtime.problems import add_problem_handlers
from shared.runtime.web_guard import Bounds, Exemption, guard
from shared.stores.campaign_interfaces import CampaignStore
from shared.stores.interfaces import (
    AttendanceStore,
    DeviceStore,
    PendingTasks,
    PictureStore,
    SiteStore,
    SyntheticAttendanceStore,
    TaskStore,
)
from shared.stores.operator_interfaces import AuditStore, OperatorTokenStore
from shared.stores.person_interfaces import FaceStore, FirmwareStore, PersonStore, RosterMarks
from shared.stores.roster_interfaces import RosterStore

API = "/api/v1"
OPENAPI_PATH = f"{API}/openapi.json"

EXEMPTIONS = (
    # Tasks may name 10,000 persons, and be made for every terminal of a site.
    Exemption(
        method="POST",
        path=re.compile(f"{API}/tasks"),
        bounds=Bounds(max_body_bytes=1_048_576, deadline_seconds=60),
    ),
    Exemption(
        method="PUT",
        path=re.compile(f"{API}/persons/[^/]+/face"),
        bounds=Bounds(max_body_bytes=MAX_UPLOAD_BYTES, deadline_seconds=30),
    ),
    # It sees to its own time: what was read when it ends is stored.
    Exemption(
        method="POST",
        path=re.compile(f"{API}/persons/import"),
        bounds=Bounds(max_body_bytes=MAX_IMPORT_BYTES, deadline_seconds=None),
    ),
    Exemption(
        method="POST",
        path=re.compile(f"{API}/campaigns"),
        bounds=Bounds(max_body_bytes=MAX_CAMPAIGN_BYTES, deadline_seconds=MAKING_SECONDS),
    ),
    # What streams lasts as long as its reader likes.
    Exemption(
        method="GET",
        path=re.compile(f"{API}/(live|attendance/export)"),
        bounds=Bounds(max_body_bytes=0, deadline_seconds=None),
    ),
)

DESCRIPTION = """What operators do: admit vendors, enter sites, say where terminals stand and what they are to do, look
at workers' passages.

Every route needs `Authorization: Bearer …`, or the cookie that POST /sign-in sets. A token has a role, viewer, operator
or admin, and may be bound to sites: it then sees nothing else. Lists come in pages, `{items, next}`; give `next` as
`cursor`, with the same filters, for the following page. Errors are RFC 9457 problem documents. Every change is in the
audit.

recordTime is in milliseconds since the epoch, as the terminals' standard has it; members ending in At are RFC 3339 in
UTC."""


class Console(FastAPI):
    """FastAPI with the console's description of itself."""

    def openapi(self) -> openapi.Schema:
        """The document served at OPENAPI_PATH."""
        return openapi.describe(self)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes work with."""

    session: SessionClient
    devices: DeviceStore
    presence: DevicePresence
    sites: SiteStore
    attendances: AttendanceStore
    pictures: PictureStore
    synthetic: SyntheticAttendanceStore
    tasks: TaskStore
    pending: PendingTasks
    audit: AuditStore
    tokens: OperatorTokenStore
    persons: PersonStore
    faces: FaceStore
    rosters: RosterStore
    roster_marks: RosterMarks
    maker: TaskMaker
    planner: Planner
    firmware: FirmwareStore
    campaigns: CampaignStore
    identities: Identities
    links: Links
    """Of the terminals: for the tasks that are pushed."""
    live: LiveFeed
    clock: Clock
    metrics: ConsoleMetrics


def create_app(settings: ConsoleSettings, parts: Parts) -> Console:
    """The application over its parts."""
    app = Console(
        title="Site access console",
        version="1",
        description=DESCRIPTION,
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # its pages load their scripts from foreign hosts
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # it would redirect to the Host header's address
        telemetry=parts.metrics.of_requests,
    )
    add_problem_handlers(app)
    guard(
        app,
        max_body_bytes=settings.max_body_bytes,
        deadline_seconds=settings.request_deadline_seconds,
        exemptions=(*EXEMPTIONS, _upload_of_firmware(settings.max_firmware_bytes)),
    )

    tokens = Operators(settings.admin_token, parts.tokens, parts.clock, settings.token_remembered_ms)
    operators = APIRouter(prefix=API, dependencies=[Depends(operator_check(tokens))])
    auditor = Auditor(parts.audit, parts.clock, parts.metrics)
    operators.include_router(vendor_routes(parts.session, auditor))
    operators.include_router(site_routes(parts.sites, auditor, parts.clock))
    operators.include_router(
        roster_routes(parts.rosters, parts.tasks, parts.persons, parts.devices, parts.planner, auditor, parts.clock)
    )
    operators.include_router(
        device_routes(
            parts.devices, parts.presence, parts.sites, parts.session, parts.roster_marks, auditor, parts.clock
        )
    )
    operators.include_router(
        task_routes(
            parts.tasks,
            parts.pending,
            parts.devices,
            parts.sites,
            parts.persons,
            parts.firmware,
            parts.roster_marks,
            parts.maker,
            auditor,
            parts.clock,
        )
    )
    operators.include_router(
        export_routes(parts.attendances, auditor, parts.clock, parts.metrics, settings.max_exports)
    )
    operators.include_router(attendance_routes(parts.attendances, parts.pictures, parts.synthetic))
    changes = PersonChanges(parts.persons, parts.sites, parts.roster_marks, parts.identities, parts.clock)
    eraser = Eraser(parts.persons, parts.faces, parts.attendances)
    operators.include_router(person_routes(parts.persons, changes, parts.identities, eraser, auditor, parts.clock))
    operators.include_router(face_routes(parts.persons, parts.faces, changes, parts.identities, auditor, parts.clock))
    operators.include_router(firmware_routes(parts.firmware, auditor, parts.clock))
    operators.include_router(
        campaign_routes(parts.campaigns, parts.firmware, parts.devices, parts.sites, auditor, parts.clock)
    )
    operators.include_router(live_routes(parts.live))
    operators.include_router(token_routes(parts.tokens, parts.sites, auditor, parts.clock))
    operators.include_router(audit_routes(parts.audit))
    app.include_router(operators)
    app.include_router(sign_in_routes(tokens, settings.public_base_url.rstrip("/") + API), prefix=API)

    @app.get("/", include_in_schema=False)
    async def show_where_to_start() -> dict[str, str]:
        return {"service": "console", "openapi": settings.public_base_url.rstrip("/") + OPENAPI_PATH}

    return app


def _upload_of_firmware(max_bytes: int) -> Exemption:
    bounds = Bounds(max_body_bytes=max_bytes, deadline_seconds=UPLOAD_SECONDS)
    return Exemption(method="POST", path=re.compile(f"{API}/firmware"), bounds=bounds)
