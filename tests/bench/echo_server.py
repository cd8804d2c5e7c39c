"""The ceiling: a server on the same loop, on the same core, that answers without looking at what it was sent."""

import asyncio
import multiprocessing
import ssl
from functools import partial
from typing import NamedTuple, cast

import uvloop

from stack.certificates import Certificates
from tests.bench.benchmark_stack import CORES
from tests.bench.process_usage import Usage, pin

ANSWER = bytes.fromhex("10011a0b435f484541525442454154")
"""success and an apicode: what a terminal reads as an answer, 15 bytes."""
START_SECONDS = 60


class HttpsAnswer(NamedTuple):
    """What an echo over HTTPS answers, with the certificate that it shows."""

    body: bytes
    certificates: Certificates


class _Echo(asyncio.Protocol):
    """Cuts frames, as one must to know when to answer, and answers each with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._missing = 0
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        answers = 0
        if self._missing:
            taken = min(self._missing, len(data))
            self._missing -= taken
            data = data[taken:]
            answers += not self._missing
        data = self._rest + data
        position = 0
        while position < len(data):
            size, shift, at = 0, 0, position
            while at < len(data):
                byte = data[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if byte < 0x80:
                    break
            else:
                break
            position = at + size
            if position > len(data):
                self._missing = position - len(data)
                position = len(data)
            else:
                answers += 1
        self._rest = data[position:]
        if answers:
            self._transport.write((bytes([len(ANSWER)]) + ANSWER) * answers)


class _HttpsEcho(asyncio.Protocol):
    """The same for requests as prepared_requests.py writes them: Content-Length is the last of the headers."""

    def __init__(self, answer: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self._answer = head.encode() + answer
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while True:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found or len(rest) < (size := int(head.rpartition(b":")[2])):
                return
            self._rest = rest[size:]
            self._transport.write(self._answer)


def _serve(ports: "multiprocessing.Queue[int]", https: HttpsAnswer | None) -> None:
    async def serve() -> None:
        tls = None
        if https is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(https.certificates.certificate, https.certificates.key)
        protocol = _Echo if https is None else partial(_HttpsEcho, https.body)
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096, ssl=tls)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


class EchoServer:
    """The echo in a process of its own, on the core that ingress has; over HTTPS where it is given an answer."""

    def __init__(self, https: HttpsAnswer | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        ports: multiprocessing.Queue[int] = context.Queue()
        self._process = context.Process(target=_serve, args=(ports, https), daemon=True)
        self._process.start()
        self.to = [f"127.0.0.1:{ports.get(timeout=START_SECONDS)}"]
        assert self._process.pid is not None
        pin(self._process.pid, {CORES[0]})

    def usage(self) -> Usage:
        """Begins to count its CPU."""
        assert self._process.pid is not None
        return Usage({"echo": [self._process.pid]})

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.join()
