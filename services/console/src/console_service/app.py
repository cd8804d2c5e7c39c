"""The console's web application: its routes, who may use them, what it says of itself."""

from fastapi import APIRouter, Depends, FastAPI

from console_service import openapi
from console_service.audit import Auditor
from console_service.metrics import ConsoleMetrics
from console_service.operators import operator_check
from console_service.presence import DevicePresence
from console_service.routes.attendance import attendance_routes
from console_service.routes.devices import device_routes
from console_service.routes.sites import site_routes
from console_service.routes.tasks import task_routes
from console_service.routes.vendors import vendor_routes
from console_service.session_client import SessionClient
from console_service.settings import ConsoleSettings
from shared.runtime.clock import Clock
from shared.runtime.problems import add_problem_handlers
from shared.runtime.web_guard import guard
from shared.stores.interfaces import (
    AttendanceStore,
    AuditStore,
    DeviceStore,
    PendingTasks,
    PictureStore,
    SiteStore,
    TaskStore,
)

API = "/api/v1"
OPENAPI_PATH = f"{API}/openapi.json"

DESCRIPTION = """What operators do: admit vendors, enter sites, say where terminals stand and what they are to do, look
at workers' passages.

Every route needs `Authorization: Bearer …`. Lists come in pages, `{items, next}`; give `next` as `cursor`, with the
same filters, for the following page. Errors are RFC 9457 problem documents. Every change is in the audit.

recordTime is in milliseconds since the epoch, as the terminals' standard has it; members ending in At are RFC 3339 in
UTC."""


class Console(FastAPI):
    """FastAPI with the console's description of itself."""

    def openapi(self) -> openapi.Schema:
        """The document served at OPENAPI_PATH."""
        return openapi.describe(self)


def create_app(
    settings: ConsoleSettings,
    *,
    session: SessionClient,
    devices: DeviceStore,
    presence: DevicePresence,
    sites: SiteStore,
    attendances: AttendanceStore,
    pictures: PictureStore,
    tasks: TaskStore,
    pending: PendingTasks,
    audit: AuditStore,
    clock: Clock,
    metrics: ConsoleMetrics,
) -> Console:
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
        telemetry=metrics.of_requests,
    )
    add_problem_handlers(app)
    guard(app, max_body_bytes=settings.max_body_bytes, deadline_seconds=settings.request_deadline_seconds)

    operators = APIRouter(prefix=API, dependencies=[Depends(operator_check(settings.admin_token))])
    auditor = Auditor(audit, clock, metrics)
    operators.include_router(vendor_routes(session, auditor))
    operators.include_router(site_routes(sites, auditor, clock))
    operators.include_router(device_routes(devices, presence, sites, session, auditor, clock))
    operators.include_router(task_routes(tasks, pending, devices, sites, auditor, clock, metrics))
    operators.include_router(attendance_routes(attendances, pictures))
    app.include_router(operators)

    @app.get("/", include_in_schema=False)
    async def show_where_to_start() -> dict[str, str]:
        return {"service": "console", "openapi": settings.public_base_url.rstrip("/") + OPENAPI_PATH}

    return app
