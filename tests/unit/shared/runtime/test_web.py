import asyncio
import contextlib
import datetime
import ipaddress
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from shared.runtime import web
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.web import open_web
from tests.support.raw_http import exchange, request
from tests.support.waiting import eventually


def make_app(release: asyncio.Event | None = None) -> FastAPI:
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "site"}

    @app.get("/slow")
    async def slow() -> dict[str, bool]:
        assert release is not None
        await release.wait()
        return {"answered": True}

    return app


async def test_a_request_is_answered_without_a_server_header() -> None:
    async with (
        open_web(Lifecycle(), make_app(), "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/hello") as response,
    ):
        assert await response.json() == {"hello": "site"}
        assert "server" not in response.headers


async def test_a_taken_port_is_named_in_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with open_web(Lifecycle(), make_app(), "127.0.0.1", port):
                raise AssertionError("must not open")


async def test_a_missing_certificate_is_named_in_the_error(tmp_path: Path) -> None:
    cert = tmp_path / "absent.crt"
    with pytest.raises(OSError, match=r"absent\.crt"):
        async with open_web(Lifecycle(), make_app(), "127.0.0.1", 0, tls_cert_file=str(cert)):
            raise AssertionError("must not open")


async def test_signal_handlers_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with open_web(Lifecycle(), make_app(), "127.0.0.1", 0):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_request_in_work_is_answered_while_the_server_leaves() -> None:
    release = asyncio.Event()
    serving = open_web(Lifecycle(), make_app(release), "127.0.0.1", 0)
    port = await serving.__aenter__()
    async with aiohttp.ClientSession() as client:
        pending = asyncio.ensure_future(client.get(f"http://127.0.0.1:{port}/slow"))
        await asyncio.sleep(0.1)
        leaving = asyncio.ensure_future(serving.__aexit__(None, None, None))
        await asyncio.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        release.set()
        async with await pending as response:
            assert await response.json() == {"answered": True}
        await leaving


async def test_design_13_through_the_notice_it_accepts_and_sends_its_clients_elsewhere_and_then_it_refuses() -> None:
    serving = open_web(Lifecycle(), make_app(), "127.0.0.1", 0, notice_seconds=2)
    port = await serving.__aenter__()
    url = f"http://127.0.0.1:{port}/hello"
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as response:
            assert "connection" not in response.headers
        leaving = asyncio.ensure_future(serving.__aexit__(None, None, None))
        await asyncio.sleep(1.5)
        async with client.get(url) as response:
            assert await response.json() == {"hello": "site"}
            assert response.headers["connection"] == "close"
        async with asyncio.timeout(2):
            await leaving
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url)


async def test_a_request_that_never_ends_is_dropped_at_the_deadline() -> None:
    serving = open_web(Lifecycle(), make_app(asyncio.Event()), "127.0.0.1", 0, shutdown_seconds=1)
    port = await serving.__aenter__()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await serving.__aexit__(None, None, None)
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in await reader.read()
    writer.close()


async def read_to_end(port: int, *parts: bytes) -> bytes:
    """What the server answers until it closes; the parts are sent 20 ms apart."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            received = await reader.read()
    writer.close()
    return received


async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.2)
    request = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
    async with open_web(Lifecycle(), make_app(), "127.0.0.1", 0) as port:
        assert await read_to_end(port) == b""
        assert await read_to_end(port, b"GET /hello HTTP/1.1\r\nHos") == b""
        # the one after an answer, and the blank lines that may stand before one
        assert (await read_to_end(port, request, b"\r\n")).count(b"HTTP/1.1 200") == 1
        assert (await read_to_end(port, request, request, request[:9])).count(b"HTTP/1.1 200") == 2


async def test_design_7_connections_past_the_bound_are_closed_until_others_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 2)
    last = request("GET", "/hello")
    async with open_web(Lifecycle(), make_app(), "127.0.0.1", 0) as port:
        kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for one in kept:
            one.setblocking(False)
            one.send(request("GET", "/hello", keep_alive=True))
            assert (await asyncio.get_running_loop().sock_recv(one, 100)).startswith(b"HTTP/1.1 200")
        assert await exchange(port, last) == []
        for one in kept:
            one.close()

        async def is_served() -> bool:
            return [answer.status for answer in await exchange(port, last)] == [200]

        await eventually(is_served)


async def test_a_request_at_work_may_take_longer_than_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.1)
    release = asyncio.Event()
    async with open_web(Lifecycle(), make_app(release), "127.0.0.1", 0) as port:
        asyncio.get_running_loop().call_later(0.4, release.set)
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/slow") as response:
            assert await response.json() == {"answered": True}


async def test_a_head_without_end_is_cut_off() -> None:
    start, line = b"GET /hello HTTP/1.1\r\nHost: a\r\n", b"X-Filler: " + b"x" * 5000 + b"\r\n"
    async with open_web(Lifecycle(), make_app(), "127.0.0.1", 0) as port:
        assert await read_to_end(port, start, *[line] * 20, b"\r\n") == b""
        assert b"HTTP/1.1 200" in await read_to_end(port, start, *[line] * 3, b"Connection: close\r\n\r\n")


async def test_tls_is_served_where_a_certificate_is_given(tmp_path: Path) -> None:
    cert_file, key_file = _make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(cert_file))
    async with (
        open_web(
            Lifecycle(), make_app(), "127.0.0.1", 0, tls_cert_file=str(cert_file), tls_key_file=str(key_file)
        ) as port,
        aiohttp.ClientSession() as client,
        client.get(f"https://127.0.0.1:{port}/hello", ssl=trust) as response,
    ):
        assert await response.json() == {"hello": "site"}


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def make_endless_app(ended: asyncio.Event) -> FastAPI:
    app = FastAPI()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65_536)
                await asyncio.sleep(0)  # to a peer that is gone uvicorn's send neither waits nor fails
        finally:
            ended.set()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        return StreamingResponse(pieces())

    return app


async def test_design_7_a_peer_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "UNREAD_SECONDS", 0.2)
    ended = asyncio.Event()
    async with open_web(Lifecycle(), make_endless_app(ended), "127.0.0.1", 0) as port:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
            await asyncio.wait_for(ended.wait(), 5)


async def test_design_7_a_peer_that_reads_slowly_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "UNREAD_SECONDS", 0.5)
    ended = asyncio.Event()
    async with (
        open_web(Lifecycle(), make_endless_app(ended), "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/endless") as response,
    ):
        for _ in range(8):
            await asyncio.sleep(0.2)
            read = 0
            while read < 8_000_000:  # more than the kernel and both ends buffer
                read += len(await response.content.readany())
        assert not ended.is_set()
