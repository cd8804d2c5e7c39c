"""A certificate that is renewed while a server runs is served to whoever connects from then on, over real TLS."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.runtime import certificates
from shared.runtime.certificates import follow_certificate
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.web import open_web
from stack.certificates import Certificates, load_certificates
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.02)


class Secret:
    """A Secret as Kubernetes mounts it: files are links into a folder that is changed for another one at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.certificate.symlink_to("..data/tls.crt")
        self.key.symlink_to("..data/tls.key")

    def write(self, certificate: Path, key: Path) -> None:
        self._written += 1
        version = self._folder / f"..{self._written}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate.read_bytes())
        (version / "tls.key").write_bytes(key.read_bytes())
        (self._folder / "..new").symlink_to(version.name)
        (self._folder / "..new").rename(self._folder / "..data")


@pytest.fixture
def issued(tmp_path: Path) -> list[Certificates]:
    """Two certificates of two authorities."""
    return [load_certificates(tmp_path / name) for name in ("old", "new")]


@pytest.fixture
def secret(tmp_path: Path, issued: list[Certificates]) -> Secret:
    folder = tmp_path / "mounted"
    folder.mkdir()
    secret = Secret(folder)
    secret.write(issued[0].certificate, issued[0].key)
    return secret


@asynccontextmanager
async def serving(secret: Secret) -> AsyncIterator[int]:
    """A server of nothing but handshakes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secret.certificate, secret.key)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    following = asyncio.ensure_future(follow_certificate(context, str(secret.certificate), str(secret.key)))
    async with server:
        await asyncio.sleep(0)  # it has seen the first ones
        yield server.sockets[0].getsockname()[1]
        assert not following.done()
        following.cancel()


async def trusted(port: int, ca: Path) -> bool:
    """Whether a new connection is shown a certificate of that authority."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context(cafile=str(ca)))
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    return True


async def test_a_renewed_secret_is_served_without_a_restart(secret: Secret, issued: list[Certificates]) -> None:
    old, new = issued
    async with serving(secret) as port:
        assert await trusted(port, old.ca)
        secret.write(new.certificate, new.key)
        await eventually(lambda: trusted(port, new.ca))
        assert not await trusted(port, old.ca)


async def test_a_key_that_does_not_fit_leaves_the_old_certificate_in_use_until_one_does(
    secret: Secret, issued: list[Certificates], caplog: pytest.LogCaptureFixture
) -> None:
    old, new = issued
    async with serving(secret) as port:
        with caplog.at_level(logging.WARNING):
            secret.write(new.certificate, old.key)
            await eventually(lambda: "cannot be used" in caplog.text)
        assert await trusted(port, old.ca)
        secret.write(new.certificate, new.key)
        await eventually(lambda: trusted(port, new.ca))


async def test_files_that_are_gone_leave_the_old_certificate_in_use(
    secret: Secret, issued: list[Certificates], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(secret) as port:
        with caplog.at_level(logging.WARNING):
            secret.key.unlink()
            await eventually(lambda: "cannot be used" in caplog.text)
        assert await trusted(port, issued[0].ca)


async def test_the_web_server_follows_its_certificate(secret: Secret, issued: list[Certificates]) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("nothing is asked")

    cert_file, key_file = str(secret.certificate), str(secret.key)
    async with open_web(Lifecycle(), app, "127.0.0.1", 0, tls_cert_file=cert_file, tls_key_file=key_file) as port:
        assert await trusted(port, issued[0].ca)
        secret.write(issued[1].certificate, issued[1].key)
        await eventually(lambda: trusted(port, issued[1].ca))
