"""TLS over its life: a certificate renewed while terminals are connected."""

import shutil
import ssl

import pytest

from shared.runtime import certificates
from stack.certificates import load_certificates
from stack.ports import free_port
from tests.support.builders import make_heartbeat
from tests.support.ingress import HOST, Parts, running_ingress
from tests.support.terminal import connect
from tests.support.waiting import eventually


async def test_a_renewed_certificate_is_shown_to_new_connections_and_disturbs_no_old_one(
    parts: Parts, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.05)
    old, new = (load_certificates(tmp_path_factory.mktemp(name)) for name in ("old", "new"))
    port, secret, sn = free_port(), parts.vendor.access_secret, "sn-renewed"
    trusts_old, trusts_new = (ssl.create_default_context(cafile=str(files.ca)) for files in (old, new))

    async def new_is_shown() -> bool:
        try:
            async with connect(HOST, port, tls=trusts_new):
                return True
        except ssl.SSLCertVerificationError:
            return False

    files = {"tls_cert_file": str(old.certificate), "tls_key_file": str(old.key)}
    async with (
        running_ingress(parts, None, None, tls_port=port, **files),
        connect(HOST, port, tls=trusts_old) as terminal,
    ):
        token = await terminal.authenticate(parts.vendor, sn)
        assert not await new_is_shown()
        shutil.copy(new.key, old.key)
        shutil.copy(new.certificate, old.certificate)
        await eventually(new_is_shown)
        assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
        async with connect(HOST, port, tls=trusts_new) as later:
            assert (await later.ask(make_heartbeat(secret, sn, token))).success
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(HOST, port, tls=trusts_old):
                pass
