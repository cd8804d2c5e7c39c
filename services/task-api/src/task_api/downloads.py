"""GET of faces and packages by the links that tasks and pages of persons carry (T8, T10): who has the link needs no
token. Streamed, with ranges; neither link nor file name is ever logged."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from shared.domain.links import PATH, FileKind, Links
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem, unavailable_response
from shared.runtime.telemetry_names import HTTP_SERVER_SPAN
from shared.runtime.tracing import current_span
from shared.runtime.unavailable import Unavailable
from shared.stores.person_interfaces import FaceStore, FirmwareStore
from task_api.byte_ranges import NotSatisfiable, Span, is_unchanged, wanted_span
from task_api.metrics import TaskApiMetrics
from task_api.settings import TaskApiSettings

log = logging.getLogger(__name__)

ROUTE = f"{PATH}/{{kind}}/{{file_id}}"

CHUNK_BYTES = 256 * 1024

_KINDS = {kind.value: kind for kind in FileKind}


class _File(msgspec.Struct, frozen=True, kw_only=True):
    size: int
    sha256: str
    content_type: str
    read: Callable[[int, int], AsyncIterator[bytes]]
    """The bytes [start, start + length) in chunks."""


class Downloads:
    """The ASGI application behind the links; `kind` and `file_id` are parameters of its route."""

    def __init__(
        self,
        links: Links,
        faces: FaceStore,
        firmware: FirmwareStore,
        clock: Clock,
        metrics: TaskApiMetrics,
        settings: TaskApiSettings,
    ) -> None:
        self._links = links
        self._faces = faces
        self._firmware = firmware
        self._clock = clock
        self._metrics = metrics
        self._wait_seconds = settings.download_wait_seconds
        # A campaign's packages take long: faces do not wait for them.
        self._places = {kind: asyncio.Semaphore(settings.max_downloads) for kind in FileKind}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Problem, Unavailable, before it has answered."""
        request = Request(scope, receive)
        if (span := current_span()) is not None:  # which route it is only FastAPI's own would tell
            span.set("http.route", ROUTE)
            span.rename(HTTP_SERVER_SPAN.format(method=request.method, route=ROUTE))
        kind = self._checked_kind(request)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._places[kind].acquire()
        except TimeoutError:
            self._metrics.refused_downloads += 1
            refusal = unavailable_response("too much is being downloaded; please try again")
            await refusal(scope, receive, send)
            return
        try:
            await self._answer(request, kind, send)
        finally:
            self._places[kind].release()

    def _checked_kind(self, request: Request) -> FileKind:
        """What the link leads to. One answer for all that is wrong with it: it tells nobody what there is."""
        kind, query = _KINDS.get(request.path_params["kind"]), request.query_params
        if kind is not None and self._links.is_valid(
            kind,
            request.path_params["file_id"],
            expires=query.get("expires", ""),
            key_id=query.get("key", ""),
            signature=query.get("signature", ""),
            now_ms=self._clock.now_ms(),
        ):
            return kind
        raise Problem(403, "this link leads nowhere, or no longer")

    async def _answer(self, request: Request, kind: FileKind, send: Send) -> None:
        file = await self._find(kind, request.path_params["file_id"])
        etag = f'"{file.sha256}"'
        headers = {"ETag": etag, "Cache-Control": "private", "Accept-Ranges": "bytes"}
        if is_unchanged(request.headers, etag):
            await _begin(send, 304, headers)
            await send({"type": "http.response.body"})
            return
        span = None
        if request.method == "GET":  # a range means nothing to HEAD (14.2)
            try:
                span = wanted_span(request.headers, etag, file.size)
            except NotSatisfiable as error:
                whole = {**headers, "Content-Range": f"bytes */{file.size}"}
                raise Problem(416, "the range has none of the file's bytes", whole) from error
        headers["Content-Type"] = file.content_type
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size}"
        status = 200 if span is None else 206
        start, end = span or Span(0, file.size)
        headers["Content-Length"] = str(end - start)
        await _begin(send, status, headers)
        if request.method == "GET" and not await _send_all(request, send, file.read(start, end - start)):
            return
        await send({"type": "http.response.body"})
        self._metrics.downloads[kind] += 1

    async def _find(self, kind: FileKind, file_id: str) -> _File:
        if kind is FileKind.FACE:
            face = await self._faces.find(file_id)
            if face is not None:
                data, sha256 = face
                return _File(size=len(data), sha256=sha256, content_type="image/jpeg", read=partial(_chunks_of, data))
        else:
            package = (await self._firmware.find([file_id])).get(file_id)
            if package is not None:
                return _File(
                    size=package.size,
                    sha256=package.sha256,
                    content_type="application/octet-stream",
                    read=partial(self._firmware.read, file_id),
                )
        raise Problem(404, "what this link led to is no longer there")


async def _begin(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _send_all(request: Request, send: Send, chunks: AsyncIterator[bytes]) -> bool:
    """False where it broke off; what Content-Length promised and did not come tells the terminal. How long one
    that does not read is waited for is shared.runtime.web's."""
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if await request.is_disconnected():
                return False
    except Unavailable as error:
        log.warning("a download broke off: %s", error)
        return False
    return True


async def _chunks_of(data: bytes, start: int, length: int) -> AsyncIterator[bytes]:
    for first in range(start, start + length, CHUNK_BYTES):
        yield data[first : min(first + CHUNK_BYTES, start + length)]
