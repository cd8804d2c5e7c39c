"""Terminals that misbehave: each is bounded and ended, and none costs another connection its answers (rule 7)."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from stack.certificates import load_certificates
from stack.ports import free_port
from terminal_simulator.wire import encode_frame, encode_varint
from tests.support.builders import make_heartbeat, make_sign_in
from tests.support.ingress import HOST, Ingress, Parts, running_ingress
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

MIB = 1024 * 1024


@asynccontextmanager
async def neighbour(ingress: Ingress, parts: Parts) -> AsyncIterator[Callable[[], int]]:
    """A terminal that beats and signs in all the while; every request of it must succeed, within a second."""
    secret, sn = parts.vendor.access_secret, "sn-neighbour"
    answered = 0

    async def work(terminal: Terminal, token: str) -> None:
        nonlocal answered
        while True:
            for message in (make_heartbeat(secret, sn, token), make_sign_in(secret, sn, token)):
                await terminal.send(message)
                assert (await terminal.receive(1)).success
                answered += 1
            await asyncio.sleep(0.01)

    async with ingress.connect() as terminal:
        task = asyncio.ensure_future(work(terminal, await terminal.authenticate(parts.vendor, sn)))
        try:
            yield lambda: answered
            before = answered
            await eventually(lambda: answered > before or task.done(), 5)
            assert not task.done()
        finally:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass


@pytest.mark.parametrize(
    ("bytes_sent", "what"),
    [
        (b"\x05\xff\xff\xff\xff\xff" + b"garbage" * 1000, "frame is not a Protobuf message"),
        (b"\x0e\x0a\x0c\xff\xfe\xfd\xfc" + b"x" * 8, "frame is not a Protobuf message"),
        (encode_varint(4 * MIB + 1) + b"x" * MIB, "frame over the size limit"),
        (b"\x81\x80\x80\x80\x80\x00" + b"x" * 1000, "longer than 5 bytes"),
        (b"\xff\xff\xff\xff\x7f", "frame over the size limit"),
    ],
    ids=["garbage", "not-utf-8", "too-long", "length-of-6-bytes", "length-above-32-bits"],
)
async def test_f3_f4_a_frame_that_cannot_be_understood_is_answered_400_02_and_closed(
    ingress: Ingress, parts: Parts, bytes_sent: bytes, what: str
) -> None:
    async with neighbour(ingress, parts), ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, "sn-bad")
        beat = make_heartbeat(parts.vendor.access_secret, "sn-bad", token)
        await terminal.send_raw(encode_frame(beat) + bytes_sent)
        assert (await terminal.receive()).success  # what came before the fault has its answer
        answer = await terminal.receive()
        assert (answer.errorcode, answer.apicode, answer.version) == ("400_02", "", "v1.0.0")
        assert what in answer.errmsg
        assert await terminal.closed_by_peer()
    assert (await ingress.metrics())['tcp_ingress_closed_connections_total{reason="fault"}'] == 1


async def test_f5_the_answer_to_a_fault_waits_for_the_sign_in_before_it(parts: Parts) -> None:
    async with running_ingress(parts, commit_gather_ms=300) as ingress, ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, "sn-bad")
        message = make_sign_in(parts.vendor.access_secret, "sn-bad", token)
        await terminal.send_raw(encode_frame(message) + b"\x01\xff")
        assert (await terminal.receive()).apicode == "C_SIGN_IN"
        assert (await terminal.receive()).errorcode == "400_02"
        assert await terminal.closed_by_peer()


async def test_f4_half_a_frame_then_silence_is_closed_by_its_size_and_a_slow_one_is_not(parts: Parts) -> None:
    bounds = running_ingress(parts, half_frame_seconds=1, half_frame_bytes_per_second=1000)
    async with bounds as ingress, neighbour(ingress, parts):
        async with ingress.connect() as silent, ingress.connect() as slow:
            token = await slow.authenticate(parts.vendor, "sn-slow")
            await silent.send_raw(encode_varint(10) + b"half")
            frame = encode_frame(
                make_sign_in(parts.vendor.access_secret, "sn-slow", token, picture=b"\xff\xd8\xff" * 700)
            )
            assert len(frame) > 2500  # so it may take 1 s and 2.5 s more
            started = asyncio.get_running_loop().time()
            for start in range(0, len(frame), 500):
                await slow.send_raw(frame[start : start + 500])
                await asyncio.sleep(0.4)
            assert asyncio.get_running_loop().time() - started > 2
            assert (await slow.receive()).success
            assert await silent.closed_by_peer()
        assert (await ingress.metrics())['tcp_ingress_closed_connections_total{reason="half_frame"}'] == 1


async def test_f4_half_a_frame_that_takes_the_room_of_others_gets_less_time(parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-waits"
    bounds = running_ingress(parts, max_held_bytes=2 * MIB, half_frame_seconds=2, half_frame_bytes_per_second=1000)
    async with bounds as ingress, neighbour(ingress, parts):  # noqa: SIM117 (opened in turn)
        async with ingress.connect() as first, ingress.connect() as second, ingress.connect() as waits:
            token = await waits.authenticate(parts.vendor, sn)
            for greedy in (first, second):
                await greedy.send_raw(encode_varint(4 * MIB) + b"x" * (MIB + 100_000))
            await asyncio.sleep(1.2)
            picture = b"\xff\xd8\xff" + bytes(MIB)
            async with asyncio.timeout(8):  # the frames announced would have had an hour each
                assert (await waits.ask(make_sign_in(secret, sn, token, picture=picture))).success
            assert (await ingress.metrics())["tcp_ingress_held_bytes"] < 2 * MIB


async def test_a_client_that_never_reads_is_bounded_and_cut_off(parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-never-reads"
    async with running_ingress(parts, write_seconds=1) as ingress, neighbour(ingress, parts):
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect((HOST, ingress.port))
            silent.setblocking(False)
            async with ingress.connect() as helper:
                token = await helper.authenticate(parts.vendor, sn)
            burst = encode_frame(make_heartbeat(secret, sn, token)) * 500
            loop = asyncio.get_running_loop()
            sent = 0
            try:
                async with asyncio.timeout(20):
                    while True:
                        await loop.sock_sendall(silent, burst)
                        sent += len(burst)
            except ConnectionError:
                pass  # cut off
            # it was not read for ever: what it could send is what the kernel's buffers and ours hold
            assert 0 < sent < 64 * MIB
        await asyncio.sleep(0.1)
        metrics = await ingress.metrics()
        assert metrics['tcp_ingress_closed_connections_total{reason="unread"}'] == 1


async def test_idle_connections_are_closed_and_those_that_never_authenticated_sooner(parts: Parts) -> None:
    async with running_ingress(parts, unauthenticated_seconds=1, idle_seconds=3) as ingress:
        async with ingress.connect() as stranger, ingress.connect() as idle, ingress.connect() as beating:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await idle.authenticate(parts.vendor, "sn-idle")
            token = await beating.authenticate(parts.vendor, "sn-beating")
            await stranger.ask(b"")  # requests that are refused keep nobody alive
            assert await stranger.closed_by_peer()
            assert 0.9 < loop.time() - started < 2.9
            for _ in range(6):
                await asyncio.sleep(0.5)
                assert (await beating.ask(make_heartbeat(parts.vendor.access_secret, "sn-beating", token))).success
            assert await idle.closed_by_peer()
            assert (await beating.ask(make_heartbeat(parts.vendor.access_secret, "sn-beating", token))).success
        metrics = await ingress.metrics()
        assert metrics['tcp_ingress_closed_connections_total{reason="idle"}'] == 1
        assert metrics['tcp_ingress_closed_connections_total{reason="unauthenticated"}'] == 1


async def test_design_7_connections_are_limited_per_address_and_in_total(parts: Parts) -> None:
    async with running_ingress(parts, max_connections_per_address=3, max_connections=5) as ingress:

        async def open_from(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(HOST, ingress.port, local_addr=(address, 0))

        async def is_served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            try:
                writer.write(encode_frame(b""))
                return bool(await asyncio.wait_for(reader.read(1), 2))
            except ConnectionError:
                return False

        opened = [await open_from("127.0.0.1") for _ in range(4)]
        assert [await is_served(*one) for one in opened] == [True, True, True, False]
        opened += [await open_from("127.0.0.2") for _ in range(3)]
        assert [await is_served(*one) for one in opened[4:]] == [True, True, False]
        metrics = await ingress.metrics()
        assert metrics['tcp_ingress_refused_connections_total{bound="address"}'] == 1
        assert metrics['tcp_ingress_refused_connections_total{bound="total"}'] == 1
        assert metrics["tcp_ingress_connections"] == 5
        for _, writer in opened:
            writer.close()
        await asyncio.sleep(0.1)
        reader, writer = await open_from("127.0.0.1")
        assert await is_served(reader, writer)  # places are given back
        writer.close()


async def test_t3_tls_is_served_beside_plain(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = load_certificates(tmp_path_factory.mktemp("tls"))
    tls_port = free_port()
    trusting = ssl.create_default_context(cafile=str(files.ca))
    outdated = ssl.create_default_context(cafile=str(files.ca))
    outdated.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.1 is deprecated is the point
        outdated.minimum_version = outdated.maximum_version = ssl.TLSVersion.TLSv1_1
    secret, sn = parts.vendor.access_secret, "sn-tls"
    async with running_ingress(
        parts, tls_port=tls_port, tls_cert_file=str(files.certificate), tls_key_file=str(files.key)
    ) as ingress:
        async with ingress.connect() as plain, connect(HOST, tls_port, tls=trusting) as secured:
            token = await secured.authenticate(parts.vendor, sn)
            assert (await plain.ask(make_heartbeat(secret, sn, token))).success
            picture = b"\xff\xd8\xff" + bytes(2_000_000)
            assert (await secured.ask(make_sign_in(secret, sn, token, picture=picture))).success
            await secured.send_raw(b"\x01\xff")
            assert (await secured.receive()).errorcode == "400_02"
            assert await secured.closed_by_peer()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(HOST, tls_port, tls=ssl.create_default_context()):
                pass
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connect(HOST, tls_port, tls=outdated):
                pass
