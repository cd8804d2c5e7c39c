"""Downloads by link: what is refused, what is bounded, what breaks off. Over real HTTPS in
tests/integration/test_downloads.py."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.types import Message

from shared.domain.links import LIFE_MS, FileKind, Links
from shared.runtime.web_tracing import TracedRequests
from task_api.settings import TaskApiSettings
from tests.support.spans import KeptSpans, attributes
from tests.support.task_api import TaskApi

PERSON = "4508004291609636864"
FACE = b"\xff\xd8\xff\xe0 a face \xff\xd9"
FACE_SHA256 = hashlib.sha256(FACE).hexdigest()
PACKAGE = bytes(range(256)) * 40


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi(TaskApiSettings(max_downloads=2, download_wait_seconds=0.05))
    yield made
    made.metrics.close()


class Download:
    """One request for a link. The client stays until `gone` is set; it reads while `reads` is."""

    def __init__(self, app: Any, link: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(link)
        self._app = app
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "scheme": "https",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        self._incoming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        self.sent: list[Message] = []
        self.reads, self.gone = asyncio.Event(), asyncio.Event()
        self.reads.set()

    async def run(self) -> "Download":
        await self._app(self._scope, self._receive, self._send)
        return self

    async def _receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_whole(self) -> bool:
        """Whether its end was sent."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)


async def download(api: TaskApi, link: str, method: str = "GET", **headers: str) -> Download:
    return await Download(
        api.app, link, method, {name.replace("_", "-"): value for name, value in headers.items()}
    ).run()


async def face_link(api: TaskApi, person_id: str = PERSON) -> str:
    await api.faces.put(person_id, FACE, FACE_SHA256)
    return api.links.url(FileKind.FACE, person_id, api.clock.now_ms())


async def package_link(api: TaskApi, data: bytes = PACKAGE) -> str:
    async def upload() -> AsyncIterator[bytes]:
        yield data

    package = await api.firmware.add("v2", upload(), api.clock.now_ms())
    return api.links.url(FileKind.FIRMWARE, package.firmware_id, api.clock.now_ms())


# ── what is answered ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_t8_a_faces_link_serves_the_face_that_the_person_has_now(api: TaskApi) -> None:
    link = await face_link(api)
    answer = await download(api, link)
    assert (answer.status, answer.body, answer.is_whole) == (200, FACE, True)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(FACE))
    assert answer.headers["etag"] == f'"{FACE_SHA256}"'
    assert answer.headers["cache-control"] == "private"
    assert answer.headers["accept-ranges"] == "bytes"
    await api.faces.put(PERSON, b"another", "b" * 64)
    answer = await download(api, link)
    assert (answer.body, answer.headers["etag"]) == (b"another", f'"{"b" * 64}"')
    assert api.metrics.downloads == {"faces": 2, "firmware": 0}


async def test_t10_a_packages_link_serves_the_package_in_chunks(api: TaskApi) -> None:
    answer = await download(api, await package_link(api))
    assert (answer.status, answer.body, answer.is_whole) == (200, PACKAGE, True)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == f'"{hashlib.sha256(PACKAGE).hexdigest()}"'
    assert max(len(message.get("body", b"")) for message in answer.sent) == 1024
    assert api.metrics.downloads == {"faces": 0, "firmware": 1}


async def test_head_tells_the_same_without_a_body_and_knows_no_range(api: TaskApi) -> None:
    for link in (await face_link(api), await package_link(api)):
        whole = await download(api, link)
        for headers in ({}, {"range": "bytes=0-1"}, {"range": "bytes=99999-"}):
            head = await download(api, link, "HEAD", **headers)
            assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


@pytest.mark.parametrize(
    ("value", "start", "end"), [("bytes=1-3", 1, 4), ("bytes=-5", 10235, 10240), ("bytes=1000-", 1000, 10240)]
)
async def test_t10_a_range_is_206_with_what_it_is(api: TaskApi, value: str, start: int, end: int) -> None:
    link = await package_link(api)
    answer = await download(api, link, range=value)
    assert (answer.status, answer.body) == (206, PACKAGE[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == f'"{hashlib.sha256(PACKAGE).hexdigest()}"'


async def test_a_range_of_a_face_is_206_too(api: TaskApi) -> None:
    answer = await download(api, await face_link(api), range="bytes=2-4")
    assert (answer.status, answer.body) == (206, FACE[2:5])


async def test_a_range_beyond_the_end_is_416_with_the_size(api: TaskApi) -> None:
    answer = await download(api, await package_link(api), range="bytes=10240-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10240")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("headers", [{"range": "bytes=0-1,5-6"}, {"range": "bytes=0-1", "if_range": '"older"'}])
async def test_several_ranges_and_ranges_of_an_older_file_are_the_whole_file(
    api: TaskApi, headers: dict[str, str]
) -> None:
    answer = await download(api, await package_link(api), **headers)
    assert (answer.status, answer.body) == (200, PACKAGE)


async def test_what_the_terminal_has_already_is_304_before_any_range(api: TaskApi) -> None:
    link = await face_link(api)
    for headers in ({}, {"range": "bytes=0-1"}):
        answer = await download(api, link, if_none_match=f'"{FACE_SHA256}"', **headers)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == f'"{FACE_SHA256}"'
    assert (await download(api, link, if_none_match='"other"')).status == 200


async def test_an_empty_package_is_served_as_such(api: TaskApi) -> None:
    answer = await download(api, await package_link(api, b""))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_t8_a_link_leads_there_until_it_ends(api: TaskApi) -> None:
    link = await face_link(api)
    api.clock.advance(LIFE_MS / 1000 - 1)
    assert (await download(api, link)).status == 200
    api.clock.advance(1)
    assert (await download(api, link)).status == 403


async def test_a_link_that_is_not_ours_is_403_whether_or_not_there_is_such_a_file(api: TaskApi) -> None:
    link = await face_link(api)
    there, missing = urlsplit(link), api.links.url(FileKind.FACE, "nobody", api.clock.now_ms())
    query = {name: values[0] for name, values in parse_qs(there.query).items()}
    later = str(int(query["expires"]) + 1)
    stranger = Links({"k1": b"2" * 32}, api.links.base_url).url(FileKind.FACE, PERSON, api.clock.now_ms())
    forged = [
        there.path,
        f"{there.path}?",
        link.replace("signature=", "signature=0"),
        link[:-1],
        link.replace(query["signature"], query["signature"].upper()),
        link.replace(query["expires"], later),
        link.replace("key=k1", "key=k2"),
        link.replace(PERSON, "4508004291609636865"),
        link.replace("/faces/", "/firmware/"),
        link.replace("/faces/", "/other/"),
        missing.replace(urlsplit(missing).query, there.query),
        stranger,
    ]
    answers = [await download(api, one) for one in forged]
    assert [answer.status for answer in answers] == [403] * len(forged)
    assert len({answer.body for answer in answers}) == 1


async def test_a_right_link_to_what_is_gone_is_404(api: TaskApi) -> None:
    link = await face_link(api)
    await api.faces.delete(PERSON)
    assert (await download(api, link)).status == 404
    assert (await download(api, api.links.url(FileKind.FIRMWARE, "unknown", api.clock.now_ms()))).status == 404


async def test_any_other_method_is_405(api: TaskApi) -> None:
    assert (await download(api, await face_link(api), "POST")).status == 405


async def test_design_12_mongodb_away_is_503_and_the_same_link_passes_later(api: TaskApi) -> None:
    link = await package_link(api)
    api.firmware.available = False
    answer = await download(api, link)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    api.firmware.available = True
    assert (await download(api, link)).status == 200


# ── what is bounded, and what breaks off ──────────────────────────────────────────────────────────────────────────


async def begin_two(api: TaskApi, link: str) -> tuple[list[Download], list[asyncio.Task[Download]]]:
    """As many as there may be, none of which is read yet."""
    slow = [Download(api.app, link) for _ in range(2)]
    for one in slow:
        one.reads.clear()
    running = [asyncio.ensure_future(one.run()) for one in slow]
    await asyncio.sleep(0.01)
    return slow, running


async def test_design_7_downloads_past_the_bound_are_503_until_one_has_ended(api: TaskApi) -> None:
    link = await package_link(api)
    slow, running = await begin_two(api, link)
    refused = await download(api, link)
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert api.metrics.refused_downloads == 1
    assert (await download(api, link[:-1])).status == 403  # and waits for no turn
    slow[0].reads.set()
    await running[0]
    assert (await download(api, link)).status == 200
    slow[1].reads.set()
    assert (await running[1]).body == PACKAGE


async def test_a_download_whose_turn_comes_in_time_was_only_late(api: TaskApi) -> None:
    link = await package_link(api)
    slow, running = await begin_two(api, link)
    waiting = asyncio.ensure_future(download(api, link))
    await asyncio.sleep(0.01)
    for one in slow:
        one.reads.set()
    assert ((await waiting).status, api.metrics.refused_downloads) == (200, 0)
    await asyncio.gather(*running)


async def test_faces_do_not_wait_for_packages(api: TaskApi) -> None:
    slow, running = await begin_two(api, await package_link(api))
    assert (await download(api, await face_link(api))).status == 200
    for one in slow:
        one.reads.set()
    await asyncio.gather(*running)


@pytest.mark.parametrize("end", ["cancelled", "refused"])
async def test_design_7_a_download_that_ends_badly_gives_its_place_back(api: TaskApi, end: str) -> None:
    link = await package_link(api)
    for _ in range(3):
        if end == "refused":
            assert (await download(api, link, range="bytes=99999-")).status == 416
            continue
        stuck = Download(api.app, link)
        stuck.reads.clear()
        running = asyncio.ensure_future(stuck.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (await download(api, link)).status == 200


async def test_a_terminal_that_hangs_up_is_read_for_no_longer(api: TaskApi) -> None:
    leaving = Download(api.app, await package_link(api))
    leaving.gone.set()
    await leaving.run()
    assert (len(leaving.body) <= 2048, leaving.is_whole) == (True, False)
    assert api.metrics.downloads["firmware"] == 0


async def test_a_package_whose_store_goes_away_breaks_off_without_its_end_and_without_the_link_in_the_log(
    api: TaskApi, caplog: pytest.LogCaptureFixture
) -> None:
    link = await package_link(api)
    broken = Download(api.app, link)
    broken.reads.clear()
    running = asyncio.ensure_future(broken.run())
    await asyncio.sleep(0.01)
    api.firmware.available = False
    broken.reads.set()
    await running
    assert (broken.status, broken.is_whole) == (200, False)
    assert len(broken.body) < len(PACKAGE)
    assert [record.getMessage() for record in caplog.records] == ["a download broke off: MemoryFirmwareStore: away"]
    assert api.metrics.downloads["firmware"] == 0


async def test_design_8_neither_log_nor_span_nor_answer_repeats_a_link(
    api: TaskApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = KeptSpans()
    link = await face_link(api)
    parts = urlsplit(link)
    secrets = [parts.query, *(value for (value,) in parse_qs(parts.query).values() if value != "k1"), PERSON]
    app = TracedRequests(api.app, kept.tracing, trusts_callers=False)
    bodies = [(await Download(app, one).run()).body for one in (link, link[:-1])]
    await api.faces.delete(PERSON)
    bodies.append((await Download(app, link).run()).body)
    spans = kept.all("GET /api/device/files/{kind}/{file_id}")
    assert [attributes(span)["http.response.status_code"] for span in spans] == [200, 403, 404]
    shown = f"{[dict(attributes(span)) for span in spans]} {caplog.text} {bodies}"
    assert not [secret for secret in secrets if secret in shown]
