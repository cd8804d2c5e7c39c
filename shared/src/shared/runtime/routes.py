"""Which route a request was for: what may be told of its path."""

from starlette.types import Scope


def route_of(scope: Scope) -> str | None:
    """The route's path, with the names of its parameters in place of their values; None where there is none."""
    # A route inside a router knows its own part of the path alone; FastAPI keeps the whole one here.
    whole = scope.get("fastapi", {}).get("effective_route_context")
    route: str | None = getattr(whole or scope.get("route"), "path_format", None)
    return route
