"""The development certificate: a TLS client that trusts the authority accepts it, for this machine's names alone."""

import datetime
import ssl
from pathlib import Path

import pytest

from stack import certificates
from stack.certificates import Certificates, load_certificates


def handshake(server_files: Certificates, trusted: Path, name: str) -> None:
    """Does a TLS handshake in memory; raises where the client refuses."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server_files.certificate, server_files.key)
    client_context = ssl.create_default_context(cafile=trusted)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_accepts_this_machine(tmp_path: Path, name: str) -> None:
    files = load_certificates(tmp_path)
    handshake(files, files.ca, name)


def test_a_client_refuses_another_name(tmp_path: Path) -> None:
    files = load_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, files.ca, "example.org")


def test_a_client_that_trusts_another_authority_refuses(tmp_path: Path) -> None:
    files, others = load_certificates(tmp_path / "one"), load_certificates(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, others.ca, "localhost")


def test_certificates_are_kept_and_made_anew_before_they_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_certificates(tmp_path).certificate.read_bytes()
    assert load_certificates(tmp_path).certificate.read_bytes() == first
    monkeypatch.setattr(certificates, "RENEWED_BEFORE_END", certificates.VALID + datetime.timedelta(days=1))
    assert load_certificates(tmp_path).certificate.read_bytes() != first
