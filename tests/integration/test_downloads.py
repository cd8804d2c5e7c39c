"""Faces and packages over real HTTPS out of a real store: whole, in ranges, too slow, broken off."""

import asyncio
import hashlib
import logging
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from shared.domain.links import FileKind, Links
from shared.runtime import web
from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings, SealingSettings
from stack.mongo_part import MongoPart
from tests.support.session_values import NOW_MS
from tests.support.task_api_platform import SEALING_KEYS, Client, Platform, open_platform
from tests.support.waiting import eventually

FACE = b"\xff\xd8\xff\xe0 a face \xff\xd9"
DATA = bytes(range(256)) * 4096 + b"the end"


@pytest.fixture
async def platform(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[Platform]:
    async with open_platform(redis_settings, mongo_settings, kafka_settings, tmp_path) as platform:
        yield platform


def link_to(kind: FileKind, file_id: str, now_ms: int | None = None) -> URL:
    """A link of now, without scheme and host, exactly as it is written."""
    links = Links(SealingSettings(keys=SEALING_KEYS).parsed(), "")
    return URL(links.url(kind, file_id, time.time_ns() // 1_000_000 if now_ms is None else now_ms), encoded=True)


async def package_link(platform: Platform, data: bytes = DATA, times: int = 1) -> URL:
    async def upload() -> AsyncIterator[bytes]:
        for _ in range(times):
            yield data

    return link_to(FileKind.FIRMWARE, (await platform.firmware.add("v2", upload(), NOW_MS)).firmware_id)


async def get(client: Client, link: URL, **headers: str) -> tuple[int, bytes]:
    async with client.http.get(link, headers={name.replace("_", "-"): one for name, one in headers.items()}) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("person_id", ["4508004291609636864", "张三/a b", "a//b/", "50%2F?x=1#y", "a+b&c", "%"])
async def test_t8_a_face_is_served_whatever_characters_the_persons_id_has(platform: Platform, person_id: str) -> None:
    await platform.put_person(person_id, face=FACE)
    await platform.put_person("a", face=b"another's")
    async with platform.running() as client:
        assert await get(client, link_to(FileKind.FACE, person_id)) == (200, FACE)


async def test_t8_a_link_ends_and_a_forged_one_leads_nowhere(platform: Platform) -> None:
    await platform.put_person("1", face=FACE)
    async with platform.running() as client:
        a_day_ago = time.time_ns() // 1_000_000 - 24 * 3_600_000
        right = str(link_to(FileKind.FACE, "1"))
        for wrong in (str(link_to(FileKind.FACE, "1", a_day_ago)), right[:-1], right.split("?")[0]):
            status, body = await get(client, URL(wrong, encoded=True))
            assert (status, b"leads nowhere" in body) == (403, True)
        assert (await get(client, link_to(FileKind.FACE, "2")))[0] == 404
        assert (await get(client, link_to(FileKind.FIRMWARE, "1")))[0] == 404


async def test_t10_ranges_over_https_are_what_rfc_9110_says(platform: Platform) -> None:
    link, etag = await package_link(platform), f'"{hashlib.sha256(DATA).hexdigest()}"'
    async with platform.running() as client:
        assert await get(client, link) == (200, DATA)
        assert await get(client, link, range="bytes=262143-262144") == (206, DATA[262143:262145])
        assert await get(client, link, range="bytes=-7") == (206, b"the end")
        assert await get(client, link, range="bytes=0-1,3-4") == (200, DATA)
        assert await get(client, link, range="bytes=5-9", if_range=etag) == (206, DATA[5:10])
        assert await get(client, link, range="bytes=5-9", if_range='"other"') == (200, DATA)
        assert await get(client, link, if_none_match=etag) == (304, b"")
        assert (await get(client, link, range=f"bytes={len(DATA)}-"))[0] == 416
        async with client.http.head(link) as head:
            assert (head.status, head.headers["content-length"], head.headers["etag"]) == (200, str(len(DATA)), etag)
        async with client.http.get(link, headers={"range": "bytes=5-9"}) as answer:
            assert answer.headers["content-range"] == f"bytes 5-9/{len(DATA)}"
            assert answer.headers["cache-control"] == "private"


async def test_t10_a_download_that_broke_off_goes_on_where_it_was(platform: Platform) -> None:
    link = await package_link(platform, times=8)
    async with platform.running(max_downloads=1, download_wait_seconds=0.2) as client:
        async with client.http.get(link) as answer:
            etag, size = answer.headers["etag"], int(answer.headers["content-length"])
            received = await answer.content.readexactly(1_000_000)
            answer.close()

        async def resumed() -> bool:
            status, rest = await get(client, link, range=f"bytes={len(received)}-", if_range=etag)
            if status == 503:
                return False  # the one that broke off still has its place
            assert status == 206
            whole = received + rest
            assert (len(whole), f'"{hashlib.sha256(whole).hexdigest()}"') == (size, etag)
            return True

        await eventually(resumed, 5)


async def test_design_7_64_mib_are_served_without_being_in_memory(platform: Platform) -> None:
    link = await package_link(platform, bytes(1024 * 1024), 64)
    async with platform.running() as client:
        await get(client, link, range="bytes=0-9")
        tracemalloc.start()
        try:
            async with client.http.get(link) as answer:
                size = 0
                async for chunk in answer.content.iter_chunked(256 * 1024):
                    size += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size == 64 * 1024 * 1024
    assert peak < 8 * 1024 * 1024


async def send_raw(platform: Platform, client: Client, request: str) -> asyncio.StreamWriter:
    """Sends what no client of this platform would, and reads nothing."""
    tls = ssl.create_default_context(cafile=str(platform.certificates.ca))
    _, writer = await asyncio.open_connection("127.0.0.1", client.port, ssl=tls, limit=1024)
    writer.write(request.encode())
    await writer.drain()
    return writer


async def test_design_7_a_client_that_stops_reading_gives_its_place_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "UNREAD_SECONDS", 0.5)
    link = await package_link(platform, times=32)
    async with platform.running(max_downloads=1, download_wait_seconds=0.2) as client:
        writer = await send_raw(platform, client, f"GET {link} HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: _is_refused(client, link), 5)

        async def has_a_place() -> bool:
            return (await get(client, link, range="bytes=0-0"))[0] == 206

        began = time.monotonic()
        await eventually(has_a_place, 10)
        assert time.monotonic() - began < 5
        writer.transport.abort()


async def _is_refused(client: Client, link: URL) -> bool:
    async with client.http.get(link, headers={"range": "bytes=0-0"}) as answer:
        return answer.status == 503 and answer.headers["retry-after"] == "2"


async def test_design_12_mongodb_that_hangs_is_503_or_breaks_off_and_then_all_goes_on(
    platform: Platform, mongo_part: MongoPart
) -> None:
    link = await package_link(platform, times=32)
    platform.mongo_settings = platform.mongo_settings.model_copy(update={"timeout_ms": 500})
    async with platform.running(max_downloads=1, download_wait_seconds=0.2) as client:
        async with client.http.get(link) as answer:
            await answer.content.readexactly(1000)
            mongo_part.suspend()
            try:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
                assert (await get(client, link))[0] == 503
            finally:
                mongo_part.resume()

        async def again() -> bool:
            return (await get(client, link, range="bytes=0-0"))[0] == 206

        await eventually(again)


async def test_design_8_no_log_has_the_link(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("uvicorn.error").propagate = True
    await platform.put_person("person-1", face=FACE)
    async with platform.running() as client:
        link = link_to(FileKind.FACE, "person-1")
        for one in (link, URL(str(link)[:-1], encoded=True)):
            assert (await get(client, one))[0] in (200, 403)
        for broken in (f"GET {link} HTTP/9\r\n\r\n", f"GET {link}&\x7f\r\n\r\n", f"BREW {link} HTTP/1.1\r\n\r\n"):
            (await send_raw(platform, client, broken)).close()
        await asyncio.sleep(0.1)
    # The driver's own debugging shows what it sends; no service configures it so.
    shown = " ".join(one.getMessage() for one in caplog.records if not one.name.startswith("pymongo"))
    signature = link.query["signature"]
    assert len(signature) == 64
    assert signature[:-1] not in shown
