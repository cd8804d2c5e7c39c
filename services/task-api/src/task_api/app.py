"""task-api's web application: the device endpoint (T4) and the downloads as raw routes, behind the guard."""

from fastapi import FastAPI
from starlette.routing import Route

from shared.domain.links import PATH
from shared.runtime.problems import add_problem_handlers
from shared.runtime.web_guard import guard
from task_api.device_endpoint import PATH as DEVICE_PATH
from task_api.device_endpoint import DeviceEndpoint
from task_api.downloads import Downloads
from task_api.metrics import TaskApiMetrics
from task_api.settings import TaskApiSettings


def create_app(
    settings: TaskApiSettings, endpoint: DeviceEndpoint, downloads: Downloads, metrics: TaskApiMetrics
) -> FastAPI:
    """The application: 404 and 405 as problem documents, 413 for a body over the limit (E5)."""
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=metrics.of_requests)
    add_problem_handlers(app)
    app.router.add_route(DEVICE_PATH, endpoint.serve, methods=["POST"])
    # A person's id may hold a slash, and has its own in the path then
    app.router.routes.append(Route(f"{PATH}/{{kind}}/{{file_id:path}}", downloads, methods=["GET"]))
    # No deadline here: it would answer 503, which terminals never get (E5), and end long downloads
    guard(app, max_body_bytes=settings.max_body_bytes, deadline_seconds=None)
    return app
