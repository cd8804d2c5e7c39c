"""GET /live: what happens, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import BeforeValidator

from console_service.live_events import LiveKind
from console_service.live_feed import LiveFeed, Wanted
from console_service.operators import SITE_CHECKED, IsInForce, Viewing, check_site
from console_service.streaming import Streamed

MEDIA_TYPE = "text/event-stream"

EXAMPLE = """retry: 3120
:
id: AQADgAKBAoICAQMBAgMCAwECAw

event: presence
id: AQADgAKBAoICAQMBAgQCAwECAw
data: {"sn":"84E0F42C5D1A","vendorId":"v5f1c2a90b3d4e678","online":true,"state":"online",…}

event: sign-in
id: AQADgAKCAoICAQMBAgQCAwECAw
data: {"eventId":"0d6a3c7e-5f3a-5b1e-9a86-2d1f6a3c7e51","sn":"84E0F42C5D1A","personId":"4508004291609636864",…}

"""


def _split(values: object) -> object:
    """`types=sign-in,task` is `types=sign-in&types=task`."""
    return [part for value in values for part in str(value).split(",")] if isinstance(values, list) else values


Types = Annotated[
    list[LiveKind],
    BeforeValidator(_split),
    Query(max_length=10, description="Only events of these kinds; separated by commas, or given again and again"),
]
Filter = Annotated[str | None, Query(min_length=1, max_length=64)]


def live_routes(feed: LiveFeed) -> APIRouter:
    """The route /live."""
    router = APIRouter(tags=["live"])

    @router.get(
        "/live",
        summary="Look on",
        response_class=Response,
        responses={
            **SITE_CHECKED,
            200: {
                "description": "Server-sent events, without end",
                "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
            },
            400: {"description": "Last-Event-ID is none that this stream gave"},
        },
    )
    async def look_on(
        operator: Viewing,
        is_in_force: IsInForce,
        types: Types = list(LiveKind),  # noqa: B006  FastAPI copies it
        sn: Filter = None,
        site_id: Annotated[Filter, Query(alias="siteId")] = None,
        last_event_id: Annotated[
            str | None, Header(description="`id` of the last event that was read; goes on exactly after it")
        ] = None,
    ) -> Response:
        """Server-sent events from now on, or from Last-Event-ID. `sign-in` is an item of GET /attendance without
        hasImage and extra, which the platform may not have yet; `presence` says that a terminal came on line, went, or
        told something new of itself; `task` is a task's new state. siteId means where a sign-in happened, and where
        the terminal stands now in any other event.

        Nothing is lost and nothing doubled between two connections; but a sign-in that a terminal sent twice comes
        twice, with one eventId. `gap` says that Last-Event-ID is older than what the platform keeps: events are
        missing before the next one. Every 15 seconds at least there is a comment. The stream ends when the token is
        not in force any more, and when this console process leaves: connect again, with Last-Event-ID."""
        if site_id is not None:
            check_site(operator, site_id)
        wanted = Wanted(
            kinds=frozenset(types), sn=sn, site_ids=operator.site_ids if site_id is None else frozenset({site_id})
        )
        # nginx buffers an answer unless it is told not to
        return Streamed(feed.stream(wanted, last_event_id, is_in_force), MEDIA_TYPE, {"X-Accel-Buffering": "no"})

    return router
