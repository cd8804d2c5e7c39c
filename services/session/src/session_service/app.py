"""The session service's web application: its routes, its token, what it says of itself."""

from fastapi import APIRouter, Depends, FastAPI

from session_service.authenticate import Authenticator
from session_service.devices import Devices
from session_service.metrics import SessionMetrics
from session_service.revocation import Revocation
from session_service.routes import PREFIX, authentication_routes, device_routes, token_check, vendor_routes
from session_service.settings import SessionSettings
from session_service.vendors import Vendors
from shared.runtime.problems import add_problem_handlers
from shared.runtime.web_guard import guard

# The guard's deadline is the last resort: by then a group has long answered each of its calls.
_GUARD_MARGIN_SECONDS = 1.0


def create_app(
    settings: SessionSettings,
    *,
    authenticator: Authenticator,
    vendors: Vendors,
    revocation: Revocation,
    devices: Devices,
    metrics: SessionMetrics,
) -> FastAPI:
    """The application over its parts."""
    app = FastAPI(
        title="Session service, internal",
        version="1",
        docs_url=None,  # its pages load their scripts from foreign hosts
        redoc_url=None,
        redirect_slashes=False,
        telemetry=metrics.of_requests,
    )
    add_problem_handlers(app)
    guard(
        app,
        max_body_bytes=settings.max_body_bytes,
        deadline_seconds=settings.request_deadline_seconds + _GUARD_MARGIN_SECONDS,
    )
    internal = APIRouter(prefix=PREFIX, dependencies=[Depends(token_check(settings.internal_token))])
    internal.include_router(authentication_routes(authenticator, settings.max_group))
    internal.include_router(vendor_routes(vendors, revocation))
    internal.include_router(device_routes(devices))
    app.include_router(internal)
    return app
