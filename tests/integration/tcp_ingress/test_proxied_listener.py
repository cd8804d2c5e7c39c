"""Terminals behind a load balancer that puts a PROXY header before their connections (design rule 7)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.protocol.frames import encode_frame
from stack.certificates import Certificates, load_certificates
from stack.ports import free_port
from tcp_ingress import proxied_listener
from tests.support.listening import HOST, Listening, listening, message
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

BEAT, SIGN_IN = message("C_HEARTBEAT"), message("C_SIGN_IN")
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 7000\r\n"
V1_OTHER = b"PROXY TCP4 203.0.113.8 198.51.100.1 56324 7000\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_TLV = SIGNATURE + bytes.fromhex("21 11 0017 cb007107 c6336401 dc04 1b58 04 0001 ff 05 0004 00010203")
V2_TCP6 = SIGNATURE + bytes.fromhex(
    "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dc041b58"
)
V2_LOCAL = SIGNATURE + bytes.fromhex("20 00 0000")


@pytest.fixture
async def running() -> AsyncIterator[Listening]:
    async with listening(proxy_trusted_networks="192.0.2.0/24, 127.0.0.0/8") as running:
        yield running


async def address_of(terminal: Terminal, running: Listening) -> str:
    """Where the platform takes the terminal to be."""
    assert (await terminal.ask(SIGN_IN)).success
    return running.handlers.addresses.pop()


@pytest.mark.parametrize(
    ("header", "address"),
    [(V1, "203.0.113.7"), (V2_TLV, "203.0.113.7"), (V2_TCP6, "2001:db8::1"), (V2_LOCAL, HOST)],
    ids=["v1", "v2 with TLVs", "v2 over IPv6", "v2 LOCAL"],
)
async def test_the_true_address_is_the_headers_and_the_first_frame_may_be_in_the_same_segment(
    running: Listening, header: bytes, address: str
) -> None:
    async with connect(HOST, running.port) as terminal:
        await terminal.send_raw(header + encode_frame(SIGN_IN) + encode_frame(BEAT)[:3])
        assert (await terminal.receive()).apicode == "C_SIGN_IN"
        assert running.handlers.addresses == [address]
        await terminal.send_raw(encode_frame(BEAT)[3:])
        assert (await terminal.receive()).apicode == "C_HEARTBEAT"
    await eventually(lambda: len(running.server) == 0)


async def test_a_header_may_arrive_in_pieces(running: Listening) -> None:
    async with connect(HOST, running.port) as terminal:
        for start in range(0, len(V2_TLV), 5):
            await terminal.send_raw(V2_TLV[start : start + 5])
            await asyncio.sleep(0.01)
        assert await address_of(terminal, running) == "203.0.113.7"


async def test_design_7_the_bound_per_address_counts_terminals_and_not_the_load_balancer() -> None:
    async with (
        listening(proxy_trusted_networks=f"{HOST}/32", max_connections_per_address=1) as running,
        connect(HOST, running.port) as first,
        connect(HOST, running.port) as second,
        connect(HOST, running.port) as third,
    ):
        await first.send_raw(V1)
        assert await address_of(first, running) == "203.0.113.7"
        await second.send_raw(V1_OTHER)
        assert await address_of(second, running) == "203.0.113.8"
        await third.send_raw(V1)
        assert await third.closed_by_peer()
        assert running.metrics.refused["address"] == 1


@pytest.mark.parametrize(
    "data", [encode_frame(BEAT), b"PROXY TCP4 nowhere\r\n", SIGNATURE + b"\x31\x11\0\0"], ids=["none", "v1", "v2"]
)
async def test_a_trusted_address_without_a_proper_header_is_closed(running: Listening, data: bytes) -> None:
    async with connect(HOST, running.port) as terminal:
        await terminal.send_raw(data)
        assert await terminal.closed_by_peer()
    assert running.metrics.refused["proxy_header"] == 1
    assert len(running.server) == 0


async def test_a_header_that_does_not_come_is_not_waited_for_for_long(
    running: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied_listener, "HEADER_SECONDS", 0.3)
    async with connect(HOST, running.port) as silent, connect(HOST, running.port) as other:
        await silent.send_raw(V1[:10])
        await other.send_raw(V1)
        assert (await other.ask(BEAT)).success
        assert await silent.closed_by_peer(2)
    async with connect(HOST, running.port) as gone:
        await gone.send_raw(V1[:10])
    await eventually(lambda: running.metrics.refused["proxy_header"] == 2)


async def test_design_7_connections_whose_header_has_not_come_are_bounded(
    running: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied_listener, "MAX_ARRIVING", 2)
    async with connect(HOST, running.port) as first, connect(HOST, running.port), connect(HOST, running.port) as third:
        assert await third.closed_by_peer(2)
        assert running.metrics.refused["total"] == 1
        await first.send_raw(V1)
        assert (await first.ask(BEAT)).success


@pytest.mark.parametrize("header", [V1, V2_TLV], ids=["v1", "v2"])
@pytest.mark.parametrize("networks", ["192.0.2.0/24", ""], ids=["of another network", "of none"])
async def test_f4_a_header_from_an_untrusted_address_is_a_broken_frame(networks: str, header: bytes) -> None:
    async with listening(proxy_trusted_networks=networks) as running, connect(HOST, running.port) as liar:
        await liar.send_raw(header + encode_frame(SIGN_IN) * 3)
        assert (await liar.receive()).errorcode == "400_02"
        assert await liar.closed_by_peer()
        assert running.handlers.addresses == []
        async with connect(HOST, running.port) as honest:
            assert await address_of(honest, running) == HOST


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return load_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def tls_listening(certificates: Certificates) -> AsyncIterator[Listening]:
    async with listening(
        port=0,
        tls_port=free_port(),
        tls_cert_file=str(certificates.certificate),
        tls_key_file=str(certificates.key),
        proxy_trusted_networks="127.0.0.0/8",
    ) as running:
        yield running


async def test_t3_the_header_comes_before_the_tls_handshake(certificates: Certificates) -> None:
    trust = ssl.create_default_context(cafile=certificates.ca)
    async with tls_listening(certificates) as running:
        connected = await asyncio.to_thread(socket.create_connection, (HOST, running.port))
        connected.sendall(V2_TLV)
        reader, writer = await asyncio.open_connection(sock=connected, ssl=trust, server_hostname="localhost")
        async with Terminal(reader, writer) as terminal:
            assert await address_of(terminal, running) == "203.0.113.7"


async def test_t3_the_handshake_may_begin_in_the_headers_segment(certificates: Certificates) -> None:
    trust = ssl.create_default_context(cafile=certificates.ca)
    async with tls_listening(certificates) as running:
        answer, _ = await asyncio.gather(asyncio.to_thread(ask_over_tls, running.port, trust), asyncio.sleep(0))
        assert b"C_SIGN_IN" in answer
        assert running.handlers.addresses == ["203.0.113.7"]


def ask_over_tls(port: int, trust: ssl.SSLContext) -> bytes:
    """A TLS client by hand, whose first segment holds the header and the first bytes of the handshake."""
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(arrived, leaving, server_hostname="localhost")
    with socket.create_connection((HOST, port), timeout=5) as connected:

        def exchange() -> None:
            connected.sendall(leaving.read())
            arrived.write(connected.recv(65536))

        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        connected.sendall(V1 + leaving.read())
        arrived.write(connected.recv(65536))
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                exchange()
        tls.write(encode_frame(SIGN_IN))
        while True:
            try:
                return tls.read(65536)
            except ssl.SSLWantReadError:
                exchange()


async def test_t3_rubbish_instead_of_the_handshake_harms_nobody(certificates: Certificates) -> None:
    trust = ssl.create_default_context(cafile=certificates.ca)
    async with tls_listening(certificates) as running:
        async with connect(HOST, running.port) as rude:
            await rude.send_raw(V1 + encode_frame(SIGN_IN) * 5)
            assert await until_closed(rude)
        assert b"C_SIGN_IN" in await asyncio.to_thread(ask_over_tls, running.port, trust)


async def until_closed(terminal: Terminal) -> bool:
    """True where the platform closes; a TLS alert may come before."""
    try:
        await terminal.receive(5)
    except ConnectionError:
        return True
    return False


async def test_design_13_leaving_closes_what_is_arriving_and_accepts_no_more(running: Listening) -> None:
    async with connect(HOST, running.port) as silent, connect(HOST, running.port) as served:
        await silent.send_raw(V1[:10])
        await served.send_raw(V1)
        assert (await served.ask(BEAT)).success
        running.leaves.set()
        assert await served.closed_by_peer()
        await served.close()
        assert await silent.closed_by_peer()
        async with asyncio.timeout(3):
            await running.left.wait()
        with pytest.raises(ConnectionRefusedError):
            async with connect(HOST, running.port):
                raise AssertionError("accepted after the drain")
